"""Rows of a database session as Parquet files, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import StoreError
from mlops_assets.sources.sql_types import select_list, target_schema, to_target

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_assets.config.sql import SqlSource
    from mlops_assets.sources.sql_relation import Relation

_FILE_ROWS = 5_000_000
"""A file is closed after so many rows, so that Spark reads a large table in parallel."""


@dataclass
class Copied:
    """What was written.

    Attributes:
        rows: Number of rows.
        latest: Newest value of the time column, as it is stored (UTC).
    """

    rows: int = 0
    latest: Any = None


def write_rows(
    relation: Relation,
    spec: SqlSource,
    *,
    ending: str = "",
    folder: Path,
    where: str,
    keep_empty: bool = False,
) -> Copied:
    """Stream rows into ``part-00000.parquet``, …; after an error none of the files is left.

    Args:
        relation: What is read.
        spec: The source.
        ending: SQL that follows: ``WHERE``, ``ORDER BY``.
        folder: An empty folder.
        where: The source, for messages.
        keep_empty: Write a file without rows when there are none.

    Raises:
        SourceError: The database cannot be read to the end.
        SchemaError: Columns or values do not fit.
        StoreError: The disk is full.
    """
    target = target_schema(relation.schema, spec.columns, where)
    sql = f"SELECT {select_list(relation.schema, target)} FROM {relation.sql} {ending}"
    copied = Copied()
    writer = _Writer(folder, target)
    try:
        for batch in _regrouped(relation.session.batches(sql), spec.fetch_rows):
            stored = to_target(batch, target, where)
            copied.rows += stored.num_rows
            copied.latest = _latest(copied.latest, stored, spec.time_column)
            writer.write(stored)
        writer.close(keep_empty=keep_empty)
    except BaseException:
        writer.discard()
        raise
    return copied


class _Writer:
    """Files of a bounded number of rows."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder = folder
        self._schema = schema
        self._files: list[Path] = []
        self._open: Any = None
        self._rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        if self._open is None or self._rows >= _FILE_ROWS:
            self._next()
        with _writing(self._folder):
            self._open.write_batch(batch, row_group_size=max(1, batch.num_rows))
        self._rows += batch.num_rows

    def close(self, *, keep_empty: bool) -> None:
        if keep_empty and not self._files:
            self._next()
        self._finish()

    def discard(self) -> None:
        with suppress(StoreError, OSError):
            self._finish()
        for file in self._files:
            file.unlink(missing_ok=True)

    def _next(self) -> None:
        import pyarrow.parquet as pq

        self._finish()
        file = self._folder / f"part-{len(self._files):05d}.parquet"
        self._files.append(file)
        with _writing(self._folder):
            self._open = pq.ParquetWriter(file, self._schema, compression="snappy")
        self._rows = 0

    def _finish(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            with _writing(self._folder):
                opened.close()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn errors of the disk into a StoreError."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            "the rows cannot be written",
            where=folder,
            found=error.strerror or str(error),
            fix="free some space; nothing was published",
        ) from error


def _regrouped(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of a given size; the driver counts bytes."""
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        start = 0
        while count + batch.num_rows - start >= rows:
            taken = rows - count
            yield pa.concat_batches([*held, batch.slice(start, taken)])
            start += taken
            held, count = [], 0
        if start < batch.num_rows:
            held.append(batch.slice(start))
            count += batch.num_rows - start
    if held:
        yield pa.concat_batches(held)


def _latest(before: Any, batch: pa.RecordBatch, column: str | None) -> Any:
    import pyarrow.compute as pc

    if column is None or column not in batch.schema.names:
        return before
    newest = pc.max(batch.column(column)).as_py()
    return before if newest is None or (before is not None and before >= newest) else newest
