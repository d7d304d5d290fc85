"""The store in a local folder.

<root>/<collection>/manifests/000001.json    numbered, created once, never changed
<root>/<collection>/data/<name>/…            the files of a version
<root>/.staging/…                            what is being written
"""

from __future__ import annotations

import errno
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mlops_assets.errors import AlreadyExistsError, StoreError
from resources import durable
from resources.store import Draft, FileEntry, Manifest

_STAGING = ".staging"
_MANIFESTS = "_manifests"
_DATA = "_data"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*")
_LOCATION = re.compile(rf"{_KEY.pattern}/{_DATA}/[A-Za-z0-9-]+")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class LocalStore:
    """A :class:`~resources.store.Store` in a folder of one file system."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.uri = str(self.root)

    def stage(self, collection: str) -> Path:
        """A new private folder."""
        name = _checked(collection).replace("/", "~")
        path = self.root / _STAGING / f"{name}~{uuid.uuid4().hex}"
        with _explained(path):
            durable.make_directory(path)
        return path

    @contextmanager
    def staging(self, collection: str) -> Iterator[Path]:
        """:meth:`stage` for a block; what was not published is gone after it."""
        path = self.stage(collection)
        try:
            with _explained(path, only_within=True):
                yield path
        finally:
            durable.remove_tree(path)

    def publish(self, collection: str, staged: Path, draft: Draft) -> Manifest:
        """Sync the staged files, move the folder to its place, then let a manifest appear."""
        with _explained(staged):
            files = _seal(staged)
            name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}"
            location = f"{_checked(collection)}/{_DATA}/{name}"
            target = self.root / location
            try:
                durable.move_directory(staged, target)
                return self._append(collection, location, files, draft)
            except BaseException:
                if not self._is_referenced(collection, location):
                    durable.remove_tree(target)
                raise

    def republish(
        self, manifest: Manifest, *, inputs_digest: str | None, metadata: dict[str, Any]
    ) -> Manifest:
        """A new manifest for data that are there."""
        draft = Draft(
            data_version=manifest.data_version,
            inputs_digest=inputs_digest,
            rows=manifest.rows,
            columns=manifest.columns,
            metadata=metadata,
        )
        with _explained(self.root / manifest.location):
            return self._append(manifest.collection, manifest.location, manifest.files, draft)

    def latest(self, collection: str) -> Manifest | None:
        """The newest version."""
        numbers = self._numbers(collection)
        return self._load(collection, numbers[-1]) if numbers else None

    def manifests(self, collection: str) -> list[Manifest]:
        """All versions, oldest first."""
        return [self._load(collection, number) for number in self._numbers(collection)]

    def find(self, collection: str, data_version: str) -> Manifest | None:
        """The newest version with this content."""
        for number in reversed(self._numbers(collection)):
            manifest = self._load(collection, number)
            if manifest.data_version == data_version:
                return manifest
        return None

    def path(self, manifest: Manifest) -> Path:
        """The version's folder, with exactly the files of the manifest in their sizes."""
        return self._inspect(manifest, lambda path, entry: path.stat().st_size == entry.bytes)

    def verify(self, manifest: Manifest) -> None:
        """Compare every file's SHA-256."""
        self._inspect(manifest, lambda path, entry: durable.file_digest(path) == entry.sha256)

    def create(self, key: str, body: bytes) -> None:
        """Create a key with its whole content, unless it is taken."""
        path = self.root / _checked(key)
        with _explained(path):
            try:
                durable.create_file(path, body, scratch=self.root / _STAGING)
            except FileExistsError as error:
                raise AlreadyExistsError("the name is taken", where=key) from error

    def read(self, key: str) -> bytes:
        """Content of a key."""
        path = self.root / _checked(key)
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise StoreError("there is no such key", where=path) from error

    def keys(self, prefix: str) -> list[str]:
        """All keys below a prefix, in order."""
        folder = self.root / _checked(prefix)
        return sorted(
            path.relative_to(self.root).as_posix() for path in folder.rglob("*") if path.is_file()
        )

    def collect_garbage(self, older_than: timedelta) -> list[str]:
        """Remove old staging folders and old data folders that no manifest names."""
        before = time.time() - older_than.total_seconds()
        # Data folders are listed before manifests are read: one published meanwhile is named.
        folders = list(self.root.glob(f"**/{_DATA}/*"))
        named = {manifest.location for manifest in self._all_manifests()}
        unnamed = [p for p in folders if p.relative_to(self.root).as_posix() not in named]
        leftovers = list((self.root / _STAGING).glob("*"))
        removed = [path for path in [*leftovers, *unnamed] if _remove_if_old(path, before)]
        return sorted(path.relative_to(self.root).as_posix() for path in removed)

    def _append(
        self, collection: str, location: str, files: tuple[FileEntry, ...], draft: Draft
    ) -> Manifest:
        while True:
            sequence = (self._numbers(collection) or [0])[-1] + 1
            manifest = Manifest(
                **draft.model_dump(),
                collection=collection,
                sequence=sequence,
                location=location,
                created_at=datetime.now(UTC),
                files=files,
            )
            body = manifest.model_dump_json(indent=1).encode()
            path = self._manifest_path(collection, sequence)
            try:
                durable.create_file(path, body, scratch=self.root / _STAGING)
            except FileExistsError:
                continue  # another publisher took the number
            return manifest

    def _inspect(self, manifest: Manifest, is_intact: Callable[[Path, FileEntry], bool]) -> Path:
        folder = self.root / _checked(manifest.location, _LOCATION)
        expected = {entry.path for entry in manifest.files}
        found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        if missing := sorted(expected - found):
            raise _damage(manifest, folder / missing[0], "a file is missing")
        if added := sorted(found - expected):
            raise _damage(manifest, folder / added[0], "a file was added after publication")
        for entry in manifest.files:
            if not is_intact(folder / entry.path, entry):
                raise _damage(manifest, folder / entry.path, "a file was changed or cut short")
        return folder

    def _numbers(self, collection: str) -> list[int]:
        folder = self.root / _checked(collection) / _MANIFESTS
        return sorted(int(path.stem) for path in folder.glob("[0-9]*.json"))

    def _manifest_path(self, collection: str, sequence: int) -> Path:
        return self.root / _checked(collection) / _MANIFESTS / f"{sequence:06d}.json"

    def _load(self, collection: str, sequence: int) -> Manifest:
        return _parse(self._manifest_path(collection, sequence))

    def _all_manifests(self) -> Iterator[Manifest]:
        for path in self.root.glob(f"**/{_MANIFESTS}/[0-9]*.json"):
            yield _parse(path)

    def _is_referenced(self, collection: str, location: str) -> bool:
        return any(manifest.location == location for manifest in self.manifests(collection))


def _checked(name: str, form: re.Pattern[str] = _KEY) -> str:
    """A collection, key or location that stays inside the store."""
    if not form.fullmatch(name):
        raise StoreError(
            "not a name that the store can hold",
            found=repr(name),
            expected="words of letters, digits, '_', '-' and '.', joined by '/'",
        )
    return name


def _seal(staged: Path) -> tuple[FileEntry, ...]:
    try:
        entries = durable.sync_tree(staged)
    except ValueError as error:
        raise StoreError(
            "only plain files can be published", where=staged, found=str(error)
        ) from error
    return tuple(FileEntry(path=path, bytes=size, sha256=sha) for path, size, sha in entries)


def _parse(path: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise StoreError(
            "the manifest cannot be read",
            where=path,
            found=f"{error.error_count()} problems, the first: {error.errors()[0]['msg']}",
            fix="restore the file from a backup; manifests are never changed by the engine",
        ) from error


def _remove_if_old(path: Path, before: float) -> bool:
    try:
        if durable.newest_change(path) >= before:
            return False
    except FileNotFoundError:
        return False  # published or discarded by its owner meanwhile
    if path.is_dir():
        durable.remove_tree(path)
    else:
        path.unlink(missing_ok=True)
    return True


def _damage(manifest: Manifest, where: Path, problem: str) -> StoreError:
    return StoreError(
        problem,
        where=where,
        expected=f"version {manifest.sequence} of {manifest.collection} as it was published",
        fix="restore the file, or make the version again with `mlops run --force`",
    )


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
