"""Which versions have which content and lie in which folder, told by names alone.

<collection>/_by_content/<version>~<content>~<folder>    created once, after the version's manifest

A listing answers without reading a manifest. A version without an entry is one from before there
was an index, or one whose writer was killed after its manifest: it is read when somebody looks,
and gets its entry then. So an entry that is missing costs one read, once, and nothing is wrong
meanwhile; no entry is ever changed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

INDEX = "_by_content"
_ELSEWHERE = "elsewhere"
_ENTRY = re.compile(r"([A-Za-z0-9_.-]+)~([0-9a-f]{32})~([A-Za-z0-9-]+)")


@dataclass(frozen=True)
class IndexEntry:
    """What the index says of a version.

    Attributes:
        version: Its number or name, as in the name of its manifest.
        mark: What its content is called in the index.
        folder: Its folder's name; None when its files lie in other versions' folders.
    """

    version: str
    mark: str
    folder: str | None


def content_mark(data_version: str) -> str:
    """What a content is called in the index."""
    return hashlib.sha256(data_version.encode()).hexdigest()[:32]


def entry_key(collection: str, version: str, data_version: str, location: str) -> str:
    """Key of a version's entry."""
    folder = location.rpartition("/")[2] or _ELSEWHERE
    return f"{collection}/{INDEX}/{version}~{content_mark(data_version)}~{folder}"


def read_entry(name: str) -> IndexEntry | None:
    """What the name of an entry says, without its folder; None when it is no entry's."""
    match = _ENTRY.fullmatch(name)
    if match is None:
        return None
    return IndexEntry(match[1], match[2], None if match[3] == _ELSEWHERE else match[3])


def read_entries(names: Iterable[str]) -> dict[int, str]:
    """The content's mark by the version's number, from the names of a collection's entries."""
    found = filter(None, map(read_entry, names))
    return {int(entry.version): entry.mark for entry in found if entry.version.isdigit()}
