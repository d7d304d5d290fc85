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
from resources.manifest import Column

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


class TableSummary:
    """Gathers a table's profile; what was gathered of its parts can be put together.

    Args:
        columns: Its columns, in their order, with Spark SQL's names of their types.
        pii: Columns with personal data: only counts are taken from them, no values.
    """

    def __init__(self, columns: Sequence[Column], pii: Collection[str] = ()) -> None:
        self._columns = tuple(columns)
        self._fingerprint = Fingerprint()
        self._summaries = [ColumnSummary(column, hidden=column.name in pii) for column in columns]

    def add_file(self, file: Path) -> None:
        """Take in a Parquet file's rows."""
        for batch in _batches(file):
            hashed = [hash_values(array) for array in batch.columns]
            for summary, array, hashes in zip(self._summaries, batch.columns, hashed, strict=True):
                summary.add(array, hashes)
            self._fingerprint.add(hashed, batch.num_rows)

    def merge(self, other: TableSummary) -> None:
        """Take in what another one has gathered of other rows with the same columns."""
        self._fingerprint.merge(other._fingerprint)
        for mine, theirs in zip(self._summaries, other._summaries, strict=True):
            mine.merge(theirs)

    def profile(self) -> TableProfile:
        """What was gathered."""
        return TableProfile(
            rows=self._fingerprint.rows,
            columns=self._columns,
            statistics=tuple(summary.statistics() for summary in self._summaries),
            data_version=self._fingerprint.data_version(self._columns),
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
    found = TableSummary(columns, pii)
    for file in files:
        found.add_file(file)
    return found.profile()


def _batches(file: Path) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as parquet:
        yield from parquet.iter_batches(batch_size=_BATCH_ROWS)
