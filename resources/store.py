"""The store: immutable, versioned data sets and bundles, seen through manifests only.

A version becomes visible when its manifest appears, and not before; manifests are numbered and
created only if absent. Whatever is killed, a reader sees the old or the new complete version.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from mlops_assets.errors import EnvironmentProblemError
from resources.garbage import Removed
from resources.manifest import Draft, FileEntry, Manifest


class Store(Protocol):
    """Collections of immutable versions, and small keys that are created once."""

    uri: str

    def stage(self, collection: str) -> Path:
        """A new private folder, on the file system where the version will lie."""
        ...

    def staging(self, collection: str) -> AbstractContextManager[Path]:
        """:meth:`stage` for a block; what was not published is gone after it."""
        ...

    def publish(self, collection: str, staged: Path, draft: Draft) -> Manifest:
        """Make a staged folder the collection's newest version.

        Raises:
            StoreError: It could not be written; nothing is visible.
        """
        ...

    def publish_as(self, collection: str, name: str, staged: Path, draft: Draft) -> Manifest:
        """Publish a staged folder under a name, unless the name is taken.

        Raises:
            AlreadyExistsError: The name is taken; what was staged is gone.
            StoreError: It could not be written; nothing is visible.
        """
        ...

    def combine(self, collection: str, files: Sequence[FileEntry], draft: Draft) -> Manifest:
        """Make files of published versions, given with their folders, the newest version."""
        ...

    def names(self, collection: str) -> list[str]:
        """Names of all versions that have one, in order; their manifests are not read."""
        ...

    def named(self, collection: str, name: str) -> Manifest:
        """The version of that name.

        Raises:
            StoreError: There is none.
        """
        ...

    def named_all(self, places: Iterable[tuple[str, str]]) -> list[Manifest]:
        """The versions of these collections and names, in this order.

        Raises:
            StoreError: One of them is not there.
        """
        ...

    def republish(
        self, manifest: Manifest, *, inputs_digest: str | None, metadata: dict[str, Any]
    ) -> Manifest:
        """Make the data of a published version the newest version, without copying them."""
        ...

    def latest(self, collection: str) -> Manifest | None:
        """The newest version."""
        ...

    def version(self, collection: str, sequence: int) -> Manifest:
        """The version of that number.

        Raises:
            StoreError: There is none.
        """
        ...

    def manifests(self, collection: str) -> list[Manifest]:
        """All versions, oldest first."""
        ...

    def find(self, collection: str, data_version: str) -> Manifest | None:
        """The newest version with this content."""
        ...

    def path(self, manifest: Manifest) -> Path:
        """The version's folder, for one that has all its files there.

        Raises:
            StoreError: Files are missing, were added, or have another size.
        """
        ...

    def files(self, manifest: Manifest) -> list[Path]:
        """The version's files, wherever they lie.

        Raises:
            StoreError: Files are missing, or have another size.
        """
        ...

    def addresses(self, manifest: Manifest) -> list[str]:
        """The version's files as paths or ``s3://`` addresses that other machines can read."""
        ...

    def inspect(self, manifest: Manifest) -> None:
        """Look whether a version's files are there in their sizes, without reading them.

        Raises:
            StoreError: Files are missing, or have another size.
        """
        ...

    def verify(self, manifest: Manifest) -> None:
        """Read every byte of a version.

        Raises:
            StoreError: A file is missing or was changed; in a local folder, or was added.
        """
        ...

    def create(self, key: str, body: bytes) -> None:
        """Create a key, durably, with its whole content.

        Raises:
            AlreadyExistsError: The key is taken.
        """
        ...

    def read(self, key: str) -> bytes:
        """Content of a key.

        Raises:
            StoreError: There is no such key.
        """
        ...

    def read_all(self, keys: Sequence[str]) -> list[bytes]:
        """Contents of keys, in their order; from S3 many at a time.

        Raises:
            StoreError: One of them is not there.
        """
        ...

    def keys(self, prefix: str) -> list[str]:
        """All keys below a prefix, in order."""
        ...

    def everything(self, below: str = "") -> list[str]:
        """All keys below a prefix, or in the store, in order: manifests and data too."""
        ...

    def manifest_at(self, key: str) -> Manifest:
        """The version whose manifest is this key.

        Raises:
            DamagedManifestError: It is damaged.
            StoreError: There is none.
        """
        ...

    def forget(self, key: str) -> None:
        """Ask for a key again when it is next read."""
        ...

    def collect_garbage(
        self, older_than: timedelta, *, below: str = "", dry_run: bool = False
    ) -> list[Removed]:
        """Remove what killed writers left: never what is visible or younger than that.

        Args:
            older_than: The age.
            below: Only what lies below this prefix.
            dry_run: Only say what would be removed.

        Returns:
            What was removed, relative to the store's root.

        Raises:
            StoreError: The store is away, or a manifest is damaged; nothing is removed.
        """
        ...


def open_store(uri: str | Path, *, cache: Path | None = None) -> Store:
    """The store at a path, or at a ``file://`` or ``s3://`` address.

    A folder is created when it is first written; a bucket has to be there.

    Args:
        uri: The address.
        cache: Folder for local copies of what lies in S3; by default in the settings' ``home``.

    Raises:
        EnvironmentProblemError: This version knows no store of that kind.
    """
    text = str(uri)
    if text.startswith("s3://"):
        from resources.s3_store import S3Store
        from resources.settings import Settings

        return S3Store(text, cache=cache or Settings.from_environment().home / "cache")
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    elif "://" in text:
        raise EnvironmentProblemError(
            "this version knows no store of that kind",
            where="MLOPS_STORE_URI",
            found=f"{text.partition('://')[0]}://…",
            expected="a path, or a file:// or s3:// address",
            fix="set MLOPS_STORE_URI to a folder or to s3://<bucket>/<prefix>",
        )
    from resources.local_store import LocalStore

    return LocalStore(Path(text))
