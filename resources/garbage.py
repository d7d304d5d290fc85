"""What is garbage in a store: data folders that no manifest names and that nobody fills any more.

A data folder is named by a manifest of its own collection, or it is garbage. What the index of
contents says is enough to keep a folder; to remove one, every manifest is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from resources.content_index import INDEX, read_entry

DATA = "_data"
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, order=True)
class Removed:
    """Something that was removed, or would be.

    Attributes:
        name: Where it was, relative to the store's root.
        bytes: How much it held.
    """

    name: str
    bytes: int


@dataclass
class DataFolder:
    """A folder of one version's files, as a listing shows it.

    Attributes:
        keys: Its files.
        bytes: Their size.
        newest: When the last of them was written.
    """

    keys: list[str] = field(default_factory=list)
    bytes: int = 0
    newest: datetime = _NEVER

    def add(self, key: str, size: int, changed: datetime) -> None:
        """Count one file."""
        self.keys.append(key)
        self.bytes += size
        self.newest = max(self.newest, changed)


def folder_of(key: str) -> str | None:
    """The data folder that a key lies in."""
    head, found, tail = key.partition(f"/{DATA}/")
    return f"{head}/{DATA}/{tail.partition('/')[0]}" if found else None


def indexed_folders(keys: Iterable[str]) -> set[str]:
    """Data folders that the index of contents knows as versions'."""
    folders = set()
    for key in keys:
        collection, found, name = key.partition(f"/{INDEX}/")
        entry = read_entry(name) if found else None
        if entry is not None and entry.folder is not None:
            folders.add(f"{collection}/{DATA}/{entry.folder}")
    return folders
