"""Rows of the inference log and of the labels, read from the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from mlops_assets.monitoring.register import Part
from mlops_assets.monitoring.windows import Window

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class WindowRows:
    """The requests of one window.

    Attributes:
        table: One row for each request, columns as in the stream.
        duplicates: Rows that repeated a request and were left out.
    """

    table: pa.Table
    duplicates: int


def spans(parts: Sequence[Part]) -> list[tuple[datetime, datetime]]:
    """First and last time of each part that has rows."""
    return [(part.start, part.end) for part in parts if part.start and part.end]


def read_window(
    parts: Sequence[Part], window: Window, *, time: str, request_id: str
) -> WindowRows | None:
    """The requests of a window; only the parts that overlap it are opened.

    They are in the order of their times, however they arrived, so that what is computed from them
    does not depend on that. Of a repeated request the earliest row counts.

    Returns:
        None when there are no parts at all.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet

    if not parts:
        return None
    inside = (pc.field(time) >= window.start) & (pc.field(time) < window.end)
    tables = [
        pyarrow.parquet.read_table(part.path, filters=inside, partitioning=None)
        for part in parts
        if part.start and part.end and part.start < window.end and part.end >= window.start
    ]
    if not tables:
        schema = pyarrow.parquet.read_schema(parts[0].path)
        return WindowRows(schema.empty_table(), 0)
    arrived = pa.concat_tables(tables, promote_options="permissive")
    table = arrived.sort_by([(time, "ascending"), (request_id, "ascending")])
    first = _first_of_each(table[request_id])
    kept = table if len(first) == table.num_rows else table.take(first)
    return WindowRows(kept, table.num_rows - kept.num_rows)


def read_labels(parts: Sequence[Part], keys: pa.ChunkedArray, join: str) -> pa.Table:
    """The labels of these keys, the one that was taken last for each.

    A later correction of a label replaces it.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet

    wanted = keys.combine_chunks()
    found = []
    for part in parts:
        table = pyarrow.parquet.read_table(part.path, partitioning=None)
        found.append(table.filter(pc.is_in(table[join], value_set=wanted)))
    if not found:
        return pa.table({join: pa.nulls(0, pa.string())})
    whole = pa.concat_tables(found, promote_options="permissive")
    newest_first = whole.take(pa.array(range(whole.num_rows - 1, -1, -1), pa.int64()))
    return newest_first.take(_first_of_each(newest_first[join]))


def _first_of_each(values: pa.ChunkedArray) -> pa.Array:
    """Row numbers of the first appearance of each value."""
    import numpy as np
    import pyarrow as pa

    encoded = values.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    _, first = np.unique(codes, return_index=True)
    return pa.array(np.sort(first))
