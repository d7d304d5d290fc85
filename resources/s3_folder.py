"""A folder in S3 that other machines fill, before a manifest makes it a version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops_assets.errors import StoreError
from resources import durable
from resources.manifest import FileEntry
from resources.s3 import S3Place


@dataclass
class S3Folder:
    """Where executors write; nobody sees it until a manifest names it.

    Attributes:
        place: The store's place.
        location: The folder, relative to the store's root.
        entries: The files that count, in the order of their names.
        rows: How many rows they hold.
        is_named: Whether a manifest may name it.
    """

    place: S3Place
    location: str
    entries: tuple[FileEntry, ...] = ()
    rows: int = 0
    is_named: bool = False

    def address(self, entry: FileEntry) -> str:
        """A file's address."""
        return f"{self.place.uri}/{self.location}/{entry.path}"

    def put(self, path: Path, name: str) -> FileEntry:
        """Copy a file of this machine into the folder, where it does not count.

        Raises:
            StoreError: S3 cannot be written.
        """
        self.place.upload(path, f"{self.location}/{name}")
        return FileEntry(path=name, bytes=path.stat().st_size, sha256=durable.file_digest(path))

    def settle(self, entries: Sequence[FileEntry], rows: int) -> None:
        """Say which files count; the others, which attempts that failed left, are removed.

        Args:
            entries: The files that count.
            rows: How many rows they hold.

        Raises:
            StoreError: A file that counts is not there in its size.
        """
        self.entries = tuple(sorted(entries, key=lambda entry: entry.path))
        self.rows = rows
        listed = {self._path(i.key): i.bytes for i in self.place.listing(f"{self.location}/")}
        for entry in self.entries:
            if listed.pop(entry.path, None) != entry.bytes:
                raise StoreError(
                    "a file that an executor wrote is not there as it was written",
                    where=self.address(entry),
                    expected=f"{entry.bytes:,} bytes",
                    fix="run again; nothing was published",
                )
        self.place.delete([f"{self.location}/{path}" for path in listed])

    def sweep(self) -> None:
        """Remove what attempts wrote since :meth:`settle`."""
        counted = {entry.path for entry in self.entries}
        listed = map(self._path, (i.key for i in self.place.listing(f"{self.location}/")))
        self.place.delete([f"{self.location}/{path}" for path in listed if path not in counted])

    def discard(self) -> None:
        """Remove everything in it."""
        found = [self._path(item.key) for item in self.place.listing(f"{self.location}/")]
        self.place.delete([f"{self.location}/{path}" for path in found])

    def _path(self, key: str) -> str:
        return self.place.name(key).removeprefix(f"{self.location}/")
