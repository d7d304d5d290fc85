"""The store in a local folder.

<root>/<collection>/…     as in :mod:`resources.manifest_store`
<root>/.staging/…         what is being written
"""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from mlops_assets.errors import AlreadyExistsError, StoreError
from resources import durable
from resources.garbage import Removed, folder_of, indexed_folders
from resources.manifest import FileEntry, Manifest
from resources.manifest_names import checked, checked_location, checked_path, locations_of
from resources.manifest_store import ManifestStore, damage

_STAGING = ".staging"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class LocalStore(ManifestStore):
    """A :class:`~resources.store.Store` in a folder of one file system."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.uri = str(self.root)

    def stage(self, collection: str) -> Path:
        """A new private folder on the store's file system."""
        name = checked(collection).replace("/", "~")
        path = self.root / _STAGING / f"{name}~{uuid.uuid4().hex}"
        with _explained(path):
            durable.make_directory(path)
        return path

    def path(self, manifest: Manifest) -> Path:
        """The version's folder, with exactly the files of the manifest in their sizes."""
        folder = self.root / checked_location(manifest.location)
        expected = {entry.path for entry in manifest.files if entry.location is None}
        found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        if added := sorted(found - expected):
            raise damage(manifest, folder / added[0], "a file was added after publication")
        self.files(manifest)
        return folder

    def files(self, manifest: Manifest) -> list[Path]:
        """The version's files, in the sizes of the manifest."""
        return self._inspect(manifest, lambda path, entry: path.stat().st_size == entry.bytes)

    def addresses(self, manifest: Manifest) -> list[str]:
        """Paths of the version's files; other machines need them on a shared file system."""
        return [str(path) for path in self.files(manifest)]

    def inspect(self, manifest: Manifest) -> None:
        """Look at the sizes of the version's files."""
        if manifest.location:
            self.path(manifest)
        else:
            self.files(manifest)

    def verify(self, manifest: Manifest) -> None:
        """Compare every file's SHA-256."""
        if manifest.location:
            self.path(manifest)
        self._inspect(manifest, lambda path, entry: durable.file_digest(path) == entry.sha256)

    def create(self, key: str, body: bytes) -> None:
        """Create a key with its whole content, unless it is taken."""
        self._create(checked(key), body)

    def read(self, key: str) -> bytes:
        """Content of a key."""
        return self._read(checked(key))

    def keys(self, prefix: str) -> list[str]:
        """All keys below a prefix, in order."""
        return sorted(
            (Path(folder) / name).relative_to(self.root).as_posix()
            for folder, _, names in os.walk(self.root / checked(prefix), onerror=_unreadable)
            for name in names
        )

    def everything(self, below: str = "") -> list[str]:
        """All keys below a prefix, or in the store, in order; but what is being written."""
        if below:
            return self.keys(below)
        names = sorted(p.name for p in self.root.iterdir()) if self.root.is_dir() else []
        return [key for name in names if name != _STAGING for key in self.keys(name)]

    def collect_garbage(
        self, older_than: timedelta, *, below: str = "", dry_run: bool = False
    ) -> list[Removed]:
        """Remove old staging folders and old data folders that no manifest names."""
        before = time.time() - older_than.total_seconds()
        keys = self.everything(below)
        unknown = set(filter(None, map(folder_of, keys))) - indexed_folders(keys)
        unnamed = {name for name in unknown if _is_old(self.root / name, before)}
        if unnamed:
            # They were listed before manifests are: one published meanwhile is named.
            for manifest in self._each_manifest(self.everything(below), note=not dry_run):
                unnamed -= locations_of(manifest)
        staged = {f"{_STAGING}/{path.name}" for path in (self.root / _STAGING).glob("*")}
        found = [Removed(name, _size(self.root / name)) for name in staged | unnamed]
        is_gone = _is_old if dry_run else _remove_if_old
        return sorted(removed for removed in found if is_gone(self.root / removed.name, before))

    def _inspect(
        self, manifest: Manifest, is_intact: Callable[[Path, FileEntry], bool]
    ) -> list[Path]:
        paths = []
        for entry in manifest.entries:
            path = self.root / checked_location(entry.location) / checked_path(entry)
            if not path.is_file():
                raise damage(manifest, path, "a file is missing")
            if not is_intact(path, entry):
                raise damage(manifest, path, "a file was changed or cut short")
            paths.append(path)
        return paths

    def _discard(self, staged: Path) -> None:
        durable.remove_tree(staged)

    def _place(self, staged: Path, location: str) -> tuple[FileEntry, ...]:
        with _explained(staged):
            files = seal(staged)
            durable.move_directory(staged, self.root / location)
        return files

    def _withdraw(self, location: str) -> None:
        durable.remove_tree(self.root / location)

    def _create(self, key: str, body: bytes) -> None:
        path = self.root / key
        with _explained(path):
            try:
                durable.create_file(path, body, scratch=self.root / _STAGING)
            except FileExistsError as error:
                raise AlreadyExistsError("the name is taken", where=key) from error

    def _read(self, key: str) -> bytes:
        path = self.root / key
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise StoreError(
                "there is no such key",
                where=path,
                fix="restore it from a backup: the engine removes nothing that it names",
            ) from error

    def _listed(self, folder: str) -> list[str]:
        walk = os.walk(self.root / folder, onerror=_unreadable)
        return next(walk, ("", [], []))[2]

    def _writing(self, where: Path) -> AbstractContextManager[None]:
        return _explained(where, only_within=True)


def seal(staged: Path) -> tuple[FileEntry, ...]:
    """Make a staged folder's files durable, and say what they are.

    Raises:
        StoreError: There is a link or a special file.
    """
    try:
        entries = durable.sync_tree(staged)
    except ValueError as error:
        raise StoreError(
            "only plain files can be published", where=staged, found=str(error)
        ) from error
    return tuple(FileEntry(path=path, bytes=size, sha256=sha) for path, size, sha in entries)


def _unreadable(error: OSError) -> None:
    """A folder that cannot be listed is not an empty one."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise StoreError(
            "the store cannot be read",
            where=error.filename,
            found=error.strerror,
            fix="check the owner and the permissions of the folder",
        ) from error


def _is_old(path: Path, before: float) -> bool:
    try:
        return durable.newest_change(path) < before
    except FileNotFoundError:
        return False  # published or discarded by its owner meanwhile


def _remove_if_old(path: Path, before: float) -> bool:
    if not _is_old(path, before):
        return False
    with _explained(path):
        if path.is_dir():
            durable.remove_tree(path)
        else:
            path.unlink(missing_ok=True)
    return True


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder, as far as they are still there."""
    inside = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    size = 0
    for file in inside if path.is_dir() else [path]:
        with suppress(FileNotFoundError):
            size += file.lstat().st_size
    return size


@contextmanager
def _explained(where: Path, *, only_within: bool = False) -> Iterator[None]:
    """Turn an operating system's refusal into a StoreError that says what to do."""
    try:
        yield
    except OSError as error:
        full = error.errno in _FULL
        place = Path(error.filename or where)
        if only_within and not full and not place.is_relative_to(where):
            raise  # the block's own trouble, not the store's
        raise StoreError(
            "the disk is full" if full else "the store cannot be written",
            where=place,
            found=error.strerror or str(error),
            fix="free space, then run again; nothing was published"
            if full
            else "check the folder and its permissions; nothing was published",
        ) from error
