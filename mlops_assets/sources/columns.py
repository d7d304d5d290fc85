"""Which columns slices have, without opening each of their files again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.manifest import Manifest

COLUMNS_DIGEST = "columns_digest"
"""Where a slice's metadata keep the identity of its files' columns; older slices lack it."""
File = TypeVar("File")


def columns_digest(schema: pa.Schema) -> str:
    """The same for schemas that are equal but for their metadata."""
    text = schema.to_string(show_field_metadata=False, show_schema_metadata=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def columns_of(folder: Path) -> dict[str, str]:
    """What a new slice's metadata say of its columns; nothing where it has no rows.

    One writer writes all files of a slice, so the first one speaks for them.
    """
    import pyarrow.parquet as pq

    first = min(folder.glob("*.parquet"), default=None)
    return {} if first is None else {COLUMNS_DIGEST: columns_digest(pq.read_schema(first))}


def representatives(slices: Iterable[tuple[Manifest, Sequence[File]]]) -> list[File]:
    """Files that together have all columns: one of each kind, all of slices that do not say.

    Args:
        slices: Slices with rows, and the Parquet files of each.
    """
    found: list[File] = []
    known: set[str] = set()
    for manifest, files in slices:
        kind = manifest.metadata.get(COLUMNS_DIGEST)
        if kind is None:
            found += files
        elif kind not in known:
            known.add(kind)
            found += files[:1]
    return found
