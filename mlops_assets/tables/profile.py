"""One pass over a table: statistics of every column and a fingerprint of the whole content."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from resources.store import Column

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType

Kind = Literal["number", "text", "time", "boolean", "other"]
Value = int | float | str | bool | None

_DISTINCT_ERROR = 0.05
_LOW_HALF = 0xFFFFFFFF


@dataclass(frozen=True)
class ColumnStatistics:
    """Statistics of a column; a statistic that does not exist is None.

    Attributes:
        column: Its name.
        type: Its Spark SQL type.
        nulls: Missing values.
        nans: Values that are not a number (floating point only).
        infinite: Infinite values (floating point only).
        distinct: Different values, approximately (5 %); exact when 0 or 1.
        min: Smallest value; times in ISO 8601 (UTC). Not for text, not for personal data. The
            statistics of a floating-point column are those of its finite values.
        max: Largest value.
        mean: Mean of a numeric column; of a boolean one, the share that is true.
        std: Sample standard deviation; 0 for a single value.
        min_length: Shortest text, in characters.
        max_length: Longest text.
    """

    column: str
    type: str
    nulls: int
    nans: int | None = None
    infinite: int | None = None
    distinct: int | None = None
    min: Value = None
    max: Value = None
    mean: float | None = None
    std: float | None = None
    min_length: int | None = None
    max_length: int | None = None


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


def profile(df: DataFrame, *, pii: Collection[str] = ()) -> TableProfile:
    """Profile a table in one aggregation.

    Args:
        df: The table.
        pii: Columns with personal data: only counts are taken from them, no values.
    """
    from pyspark.sql import functions as sf

    fields = df.schema.fields
    wanted: list[Expression] = [sf.count(sf.lit(1)).alias("rows")]
    names: list[tuple[int, str]] = []
    for position, field in enumerate(fields):
        expressions = _statistics(quoted(field.name), field.dataType, hidden=field.name in pii)
        wanted += [e.alias(f"{position}_{name}") for name, e in expressions.items()]
        names += [(position, name) for name in expressions]
    wanted += [e.alias(f"hash_{i}") for i, e in enumerate(_fingerprint(fields))]
    row = df.agg(*wanted).collect()[0]
    values: list[dict[str, Any]] = [{} for _ in fields]
    for position, name in names:
        values[position][name] = row[f"{position}_{name}"]
    rows = int(row["rows"])
    columns = tuple(Column(name=f.name, type=f.dataType.simpleString()) for f in fields)
    return TableProfile(
        rows=rows,
        columns=columns,
        statistics=tuple(
            _assemble(column, rows, found) for column, found in zip(columns, values, strict=True)
        ),
        data_version=data_version(columns, rows, [int(row[f"hash_{i}"] or 0) for i in range(4)]),
    )


def quoted(name: str) -> str:
    """A column's name as Spark SQL reads it, whatever is in it."""
    return f"`{name.replace('`', '``')}`"


def kind_of(data_type: DataType) -> Kind:
    """Which statistics a type has."""
    from pyspark.sql import types as st

    if isinstance(data_type, st.NumericType):
        return "number"
    if isinstance(data_type, st.StringType):
        return "text"
    if isinstance(data_type, st.DateType | st.TimestampType | st.TimestampNTZType):
        return "time"
    return "boolean" if isinstance(data_type, st.BooleanType) else "other"


def data_version(columns: Sequence[Column], rows: int, sums: Sequence[int]) -> str:
    """Digest of a table from the sums of its rows' hashes."""
    shape = [(column.name, column.type) for column in columns]
    body = json.dumps({"columns": shape, "rows": rows, "sums": list(sums)})
    return f"sha256:{hashlib.sha256(body.encode()).hexdigest()}"


def _statistics(name: str, data_type: DataType, *, hidden: bool) -> dict[str, Expression]:
    from pyspark.sql import functions as sf
    from pyspark.sql import types as st

    column = sf.col(name)
    found = {"present": sf.count(column)}
    kind = kind_of(data_type)
    if kind == "other":
        return found
    found["distinct"] = sf.approx_count_distinct(column, _DISTINCT_ERROR)
    if hidden:
        return found
    if kind == "text":
        length = sf.length(column)
        return found | {"min_length": sf.min(length), "max_length": sf.max(length)}
    if isinstance(data_type, st.DoubleType | st.FloatType):
        # NaN is greater than every number in Spark's order, so one comparison leaves it out too.
        column = sf.when(sf.abs(column) < float("inf"), column)
        found |= {"finite": sf.count(column), "nans": sf.count_if(sf.isnan(sf.col(name)))}
    found |= {"min": sf.min(column), "max": sf.max(column)}
    if kind == "time":
        return found
    number = column.cast("double") if kind == "number" else column.cast("int").cast("double")
    found["mean"] = sf.avg(number)
    if kind == "number":
        found["std"] = sf.stddev_samp(number)
    return found


def _fingerprint(fields: Sequence[Any]) -> list[Expression]:
    """Sums over two 64-bit hashes of each row, by halves, so that no sum overflows.

    Spark's row hash skips nulls; a flag for each column keeps ``(null, 1)`` from ``(1, null)``.
    """
    from pyspark.sql import functions as sf

    parts: list[Expression] = []
    for field in fields:
        column = sf.col(quoted(field.name))
        parts += [_hashable(column, field.dataType), column.isNull()]
    hashes = [sf.xxhash64(*parts), sf.xxhash64(sf.lit("second"), *reversed(parts))]
    sums = []
    for value in hashes:
        sums.append(sf.sum(value.bitwiseAND(sf.lit(_LOW_HALF))))
        sums.append(sf.sum(sf.shiftrightunsigned(value, 32)))
    return sums


def _hashable(column: Expression, data_type: DataType) -> Expression:
    """Nested values as text: Spark hashes no maps, and skips nulls inside the others."""
    from pyspark.sql import functions as sf
    from pyspark.sql import types as st

    if isinstance(data_type, st.ArrayType | st.StructType | st.MapType):
        return sf.to_json(column, {"ignoreNullFields": "false", "sortKeys": "true"})
    return column


def _assemble(column: Column, rows: int, found: Mapping[str, Any]) -> ColumnStatistics:
    present = int(found["present"])
    nans: int | None = found.get("nans")
    infinite = None if nans is None else present - nans - int(found["finite"])
    std = found.get("std")
    if std is None and found.get("mean") is not None and "std" in found:
        std = 0.0
    return ColumnStatistics(
        column=column.name,
        type=column.type,
        nulls=rows - present,
        nans=nans,
        infinite=infinite,
        distinct=found.get("distinct"),
        min=_plain(found.get("min")),
        max=_plain(found.get("max")),
        mean=_plain(found.get("mean")),
        std=_plain(std),
        min_length=found.get("min_length"),
        max_length=found.get("max_length"),
    )


def _plain(value: Any) -> Any:
    """A value that JSON can hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return float(value)
