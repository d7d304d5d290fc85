"""One pass over a table's Parquet files: statistics of every column, identity of the content.

It is read by Arrow, batch by batch, and not by Spark: an aggregation of that width costs Spark
about ten times as much processor time, most of it compiling.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.tables.fingerprint import Fingerprint, hash_values
from mlops_assets.tables.statistics import ColumnStatistics, ColumnSummary
from resources.store import Column

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 1 << 17


@dataclass(frozen=True)
class TableProfile:
    """What one pass learned about a table.

    Attributes:
        rows: Number of rows.
        columns: The columns, in order.
        statistics: One for each column, in the same order.
        data_version: ``sha256:<hex>`` of column names, types and rows. The rows' order does not
            matter; how often a row occurs does.
    """

    rows: int
    columns: tuple[Column, ...]
    statistics: tuple[ColumnStatistics, ...]
    data_version: str

    def column(self, name: str) -> ColumnStatistics:
        """Statistics of one column.

        Raises:
            KeyError: There is no such column.
        """
        for statistics in self.statistics:
            if statistics.column == name:
                return statistics
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """JSON with finite numbers only."""
        return {
            "rows": self.rows,
            "columns": [column.model_dump() for column in self.columns],
            "statistics": [asdict(statistics) for statistics in self.statistics],
            "data_version": self.data_version,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> TableProfile:
        """What :meth:`to_dict` wrote."""
        return cls(
            rows=document["rows"],
            columns=tuple(Column(**column) for column in document["columns"]),
            statistics=tuple(ColumnStatistics(**item) for item in document["statistics"]),
            data_version=document["data_version"],
        )


def profile(
    files: Sequence[Path], columns: Sequence[Column], *, pii: Collection[str] = ()
) -> TableProfile:
    """Profile a table in one pass; memory does not grow with its rows.

    Args:
        files: Its Parquet files.
        columns: Its columns, in their order, with Spark SQL's names of their types.
        pii: Columns with personal data: only counts are taken from them, no values.
    """
    fingerprint = Fingerprint()
    summaries = [ColumnSummary(column, hidden=column.name in pii) for column in columns]
    for batch in _batches(files):
        hashed = [hash_values(array) for array in batch.columns]
        for summary, array, hashes in zip(summaries, batch.columns, hashed, strict=True):
            summary.add(array, hashes)
        fingerprint.add(hashed, batch.num_rows)
    return TableProfile(
        rows=fingerprint.rows,
        columns=tuple(columns),
        statistics=tuple(summary.statistics() for summary in summaries),
        data_version=fingerprint.data_version(columns),
    )


def _batches(files: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    for file in files:
        with pq.ParquetFile(file) as parquet:
            yield from parquet.iter_batches(batch_size=_BATCH_ROWS)
