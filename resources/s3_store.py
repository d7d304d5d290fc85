"""The store in S3; what is read or written passes through a local cache.

Nothing is renamed in S3: files go straight to their folder, where nobody sees them until a
manifest, written with a condition that its key is free, names them.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from mlops_assets.errors import AlreadyExistsError, StoreError
from resources import durable
from resources.garbage import DATA, Removed
from resources.local_store import LocalStore, seal
from resources.manifest import Draft, FileEntry, Manifest
from resources.manifest_names import (
    checked,
    checked_location,
    checked_path,
    checked_version_name,
    locations_of,
)
from resources.manifest_store import ManifestStore, damage
from resources.s3 import S3Place
from resources.s3_client import MissingError, endpoint
from resources.s3_documents import Documents
from resources.s3_folder import S3Folder
from resources.s3_garbage import describe, old_probes, old_uploads, throw_away, unnamed_data

T = TypeVar("T")
R = TypeVar("R")

_PARALLEL = 16


class S3Store(ManifestStore):
    """A :class:`~resources.store.Store` below a prefix of a bucket.

    Args:
        uri: ``s3://<bucket>/<prefix>``.
        cache: Folder for what is being written, and for copies of what was read. It may be
            removed whenever nothing runs.
    """

    def __init__(self, uri: str, *, cache: Path) -> None:
        self.place = S3Place.parse(uri)
        self.uri = self.place.uri
        name = hashlib.sha256(f"{self.uri} {endpoint()}".encode()).hexdigest()[:16]
        self._local = LocalStore(cache / f"s3-{name}")

    def stage(self, collection: str) -> Path:
        """A new private folder on this machine."""
        return self._local.stage(collection)

    def path(self, manifest: Manifest) -> Path:
        """A local folder with the version's files, fetched where they are not here yet."""
        self._fetch(manifest)
        return self._local.path(manifest)

    def files(self, manifest: Manifest) -> list[Path]:
        """Local copies of the version's files."""
        self._fetch(manifest)
        return self._local.files(manifest)

    def addresses(self, manifest: Manifest) -> list[str]:
        """``s3://`` addresses of the version's files."""
        return [f"{self.uri}/{_key(entry)}" for entry in manifest.entries]

    def inspect(self, manifest: Manifest) -> None:
        """Look at listings of the version's folders."""
        sizes: dict[str, int] = {}
        for location in sorted({str(entry.location) for entry in manifest.entries}):
            listed = self.place.listing(f"{checked_location(location)}/")
            sizes |= {self.place.name(item.key): item.bytes for item in listed}
        for entry in manifest.entries:
            if sizes.get(_key(entry)) != entry.bytes:
                problem = "a file is missing, or was changed or cut short"
                raise damage(manifest, f"{self.uri}/{_key(entry)}", problem)

    def verify(self, manifest: Manifest) -> None:
        """Read every byte from S3 again and compare.

        Files that the manifest does not name are nobody's: an executor's attempt may end late.
        """
        self._together(
            lambda entry: self._fetch_file(manifest, entry, keep=self._is_here(entry)),
            manifest.entries,
        )

    @contextmanager
    def folder(self, collection: str) -> Iterator[S3Folder]:
        """A new folder that other machines fill, for a block; gone after it if not published."""
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}"
        made = S3Folder(self.place, f"{checked(collection)}/{DATA}/{name}")
        try:
            yield made
        finally:
            if not made.is_named:
                with suppress(StoreError):  # what is left is garbage, and collected as such
                    made.discard()

    def publish_folder(
        self, collection: str, folder: S3Folder, draft: Draft, name: str | None = None
    ) -> Manifest:
        """Make what other machines wrote the newest version, or the one of that name.

        Raises:
            AlreadyExistsError: The name is taken.
            StoreError: The manifest could not be written.
        """
        given = None if name is None else checked_version_name(collection, name)
        folder.sweep()
        folder.is_named = True  # also by a manifest that is on its way when its writer gives up
        if given is None:
            return self._append(collection, folder.location, folder.entries, draft)
        try:
            return self._create_manifest(collection, given, folder.location, folder.entries, draft)
        except AlreadyExistsError:
            folder.is_named = False
            raise

    def create(self, key: str, body: bytes) -> None:
        """Create a key with its whole content, unless it is taken."""
        self._create(checked(key), body)

    def read(self, key: str) -> bytes:
        """Content of a key."""
        return self._read(checked(key))

    def keys(self, prefix: str) -> list[str]:
        """All keys below a prefix, in order."""
        return self._keys(checked(prefix))

    def everything(self, below: str = "") -> list[str]:
        """All keys below a prefix, or in the store, in order; copies are not looked at."""
        return sorted(self.place.name(i.key) for i in self.place.listing(_below(below)))

    def collect_garbage(
        self, older_than: timedelta, *, below: str = "", dry_run: bool = False
    ) -> list[Removed]:
        """Remove old data that no manifest names, and uploads that never ended."""
        before = datetime.now(UTC) - older_than
        prefix = _below(below)
        folders, late = unnamed_data(self.place, prefix, before)
        if folders or late:
            # They were listed before manifests are: one published meanwhile is named.
            for manifest in self._each_manifest(self.everything(below), note=not dry_run):
                for location in locations_of(manifest):
                    folders.pop(location, None)
                for entry in manifest.entries if late else ():
                    late.pop(_key(entry), None)
        objects = [*late.values(), *old_probes(self.place, before)]
        uploads = old_uploads(self.place, prefix, before)
        if not dry_run:
            self.place.delete([key for folder in folders.values() for key in folder.keys])
            self.place.delete([self.place.name(item.key) for item in objects])
            for upload in uploads:
                throw_away(upload)
        return sorted(
            [Removed(name, folder.bytes) for name, folder in folders.items()]
            + [Removed(self.place.name(item.key), item.bytes) for item in objects]
            + [describe(self.place, upload) for upload in uploads]
        )

    def _keys(self, prefix: str) -> list[str]:
        return sorted(self.place.name(i.key) for i in self.place.listing(f"{prefix}/"))

    def _fetch(self, manifest: Manifest) -> None:
        self._touch(manifest)
        missing = [entry for entry in manifest.entries if not self._is_here(entry)]
        if missing:
            self._together(lambda entry: self._fetch_file(manifest, entry), missing)

    def _touch(self, manifest: Manifest) -> None:
        """Let copies be used now: those that nobody used for long are removed (`mlops clean`)."""
        for location in locations_of(manifest) - {""}:
            with suppress(FileNotFoundError):
                os.utime(self._local.root / checked_location(location))

    def _is_here(self, entry: FileEntry) -> bool:
        path = self._local.root / _key(entry)
        return path.is_file() and path.stat().st_size == entry.bytes

    def _fetch_file(self, manifest: Manifest, entry: FileEntry, *, keep: bool = True) -> None:
        """Copy a file here, whole and unchanged or not at all; or only look whether it is."""
        scratch = self._local.root / ".staging"
        durable.make_directory(scratch)
        draft = scratch / f"{uuid.uuid4().hex}.part"
        try:
            try:
                with self._writing(scratch):
                    self.place.download(_key(entry), draft)
            except MissingError as error:
                raise damage(manifest, f"{self.uri}/{_key(entry)}", "a file is missing") from error
            if draft.stat().st_size != entry.bytes or durable.file_digest(draft) != entry.sha256:
                where = f"{self.uri}/{_key(entry)}"
                raise damage(manifest, where, "a file was changed or cut short")
            if keep:
                target = self._local.root / _key(entry)
                durable.make_directory(target.parent)
                draft.rename(target)
        finally:
            draft.unlink(missing_ok=True)

    def _discard(self, staged: Path) -> None:
        durable.remove_tree(staged)

    def _place(self, staged: Path, location: str) -> tuple[FileEntry, ...]:
        files = seal(staged)
        self._upload(staged, location, files)
        durable.move_directory(staged, self._local.root / location)
        return files

    def _upload(self, staged: Path, location: str, files: Sequence[FileEntry]) -> None:
        self._together(lambda e: self.place.upload(staged / e.path, f"{location}/{e.path}"), files)

    def _withdraw(self, location: str) -> None:
        durable.remove_tree(self._local.root / location)
        self.place.delete(self._keys(location))

    def _is_referenced(self, collection: str, location: str, name: str | None) -> bool:
        """Taken for granted: a manifest whose writer gave up may still be on its way."""
        return True

    def _create(self, key: str, body: bytes) -> None:
        self.place.create(key, body)

    def _read(self, key: str) -> bytes:
        """What was created is never changed, so it is asked for once."""
        return _DOCUMENTS.get(self.place, key)

    def forget(self, key: str) -> None:
        """Ask for a key again when it is next read."""
        _DOCUMENTS.forget(self.place, key)

    def _together(self, function: Callable[[T], R], things: Sequence[T]) -> list[R]:
        with ThreadPoolExecutor(_PARALLEL) as pool:
            return list(pool.map(function, things))

    def _listed(self, folder: str) -> list[str]:
        return [key.removeprefix(f"{folder}/") for key in self._keys(folder)]

    def _writing(self, where: Path) -> AbstractContextManager[None]:
        return self._local._writing(where)


_DOCUMENTS = Documents()


def _below(prefix: str) -> str:
    return f"{checked(prefix)}/" if prefix else ""


def _key(entry: FileEntry) -> str:
    return f"{checked_location(entry.location)}/{checked_path(entry)}"
