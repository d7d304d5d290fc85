"""Which versions have which content, told by names alone.

<collection>/_by_content/<number>-<content>    created once, after the version's manifest

A listing answers without reading a manifest. A version without an entry is one from before there
was an index, or one whose writer was killed after its manifest: it is read when somebody looks,
and gets its entry then. So an entry that is missing costs one read, once, and nothing is wrong
meanwhile; no entry is ever changed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

INDEX = "_by_content"
_ENTRY = re.compile(r"(\d{6,})-([0-9a-f]{32})")


def content_mark(data_version: str) -> str:
    """What a content is called in the index."""
    return hashlib.sha256(data_version.encode()).hexdigest()[:32]


def entry_key(collection: str, number: int, data_version: str) -> str:
    """Key of a version's entry."""
    return f"{collection}/{INDEX}/{number:06d}-{content_mark(data_version)}"


def read_entries(names: Iterable[str]) -> dict[int, str]:
    """The content's mark by the version's number, from the names of a collection's entries."""
    found = (_ENTRY.fullmatch(name) for name in names)
    return {int(match[1]): match[2] for match in found if match}
