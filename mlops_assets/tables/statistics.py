"""Statistics of one column, gathered batch by batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlops_assets.tables.fingerprint import DistinctSketch
from resources.manifest import Column

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["number", "float", "text", "time", "boolean", "other"]
Value = int | float | str | bool | None


@dataclass(frozen=True)
class ColumnStatistics:
    """Statistics of a column; a statistic that does not exist is None.

    Attributes:
        column: Its name.
        type: Its Spark SQL type.
        nulls: Missing values.
        nans: Values that are not a number (floating point only).
        infinite: Infinite values (floating point only).
        distinct: Different values, exact up to 2,048, then approximately (5 %).
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


class ColumnSummary:
    """Gathers a column's statistics.

    Args:
        column: The column.
        hidden: Take counts only, no values.
    """

    def __init__(self, column: Column, *, hidden: bool = False) -> None:
        self.column = column
        self.hidden = hidden
        self.kind: Kind = "other"
        self.nulls = 0
        self.nans = 0
        self.infinite = 0
        self.smallest: Any = None
        self.largest: Any = None
        self.moments = Moments()
        self.distinct = DistinctSketch()

    def add(self, array: pa.Array, hashes: np.ndarray[Any, np.dtype[np.uint64]]) -> None:
        """Take in some values and their hashes."""
        import pyarrow.compute as pc

        self.kind = kind_of(array.type)
        self.nulls += array.null_count
        if array.null_count:
            present = pc.is_valid(array).to_numpy(zero_copy_only=False)
            array, hashes = array.drop_null(), hashes[present]
        if len(array) == 0 or self.kind == "other":
            return
        self.distinct.add(hashes)
        if not self.hidden:
            self._add_values(array)

    def merge(self, other: ColumnSummary) -> None:
        """Take in what another one has gathered of the same column."""
        self.kind = other.kind if self.kind == "other" else self.kind
        self.nulls += other.nulls
        self.nans += other.nans
        self.infinite += other.infinite
        if other.smallest is not None:
            self._widen(other.smallest, other.largest)
        self.moments.merge(other.moments)
        self.distinct.merge(other.distinct)

    def statistics(self) -> ColumnStatistics:
        """What was gathered."""
        shown = not self.hidden
        is_float = self.kind == "float" and shown
        is_text = self.kind == "text"
        has_range = shown and not is_text
        return ColumnStatistics(
            column=self.column.name,
            type=self.column.type,
            nulls=self.nulls,
            nans=self.nans if is_float else None,
            infinite=self.infinite if is_float else None,
            distinct=None if self.kind == "other" else self.distinct.count(),
            min=_plain(self.smallest) if has_range else None,
            max=_plain(self.largest) if has_range else None,
            mean=_plain(self.moments.mean) if self.moments.count else None,
            std=_plain(self.moments.std) if self.moments.count and self._has_spread else None,
            min_length=self.smallest if is_text else None,
            max_length=self.largest if is_text else None,
        )

    @property
    def _has_spread(self) -> bool:
        return self.kind in ("number", "float")

    def _add_values(self, array: pa.Array) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.kind == "text":
            array = pc.utf8_length(array)
        elif self.kind == "float":
            values = array.to_numpy(zero_copy_only=False)
            finite = values[np.isfinite(values)].astype(np.float64)
            nans = int(np.isnan(values).sum())
            self.nans += nans
            self.infinite += len(values) - len(finite) - nans
            array = pa.array(finite)
        if len(array):
            self._add_range(array)
        if self.kind in ("number", "float", "boolean"):
            numeric = array.cast(pa.int8()) if self.kind == "boolean" else array
            self.moments.add(numeric.cast(pa.float64(), safe=False).to_numpy())

    def _add_range(self, array: pa.Array) -> None:
        import pyarrow.compute as pc

        found = pc.min_max(_comparable(array))
        self._widen(_scalar(found["min"]), _scalar(found["max"]))

    def _widen(self, low: Any, high: Any) -> None:
        self.smallest = low if self.smallest is None else min(self.smallest, low)
        self.largest = high if self.largest is None else max(self.largest, high)


class Moments:
    """Mean and spread of numbers that come in parts (Chan, Golub, LeVeque 1979)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def add(self, values: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        """Take in some numbers."""
        count = len(values)
        if count == 0:
            return
        mean = float(values.mean())
        self._add(count, mean, float(np.square(values - mean).sum()))

    def merge(self, other: Moments) -> None:
        """Take in the numbers that another one has seen."""
        if other.count:
            self._add(other.count, other.mean, other._squares)

    def _add(self, count: int, mean: float, squares: float) -> None:
        total = self.count + count
        step = mean - self.mean
        self._squares += squares + step * step * self.count * count / total
        self.mean += step * count / total
        self.count = total

    @property
    def std(self) -> float:
        """Sample standard deviation, 0 for fewer than two numbers."""
        return math.sqrt(self._squares / (self.count - 1)) if self.count > 1 else 0.0


def kind_of(data_type: pa.DataType) -> Kind:
    """Which statistics an Arrow type has."""
    import pyarrow as pa

    if pa.types.is_boolean(data_type):
        return "boolean"
    if pa.types.is_floating(data_type):
        return "float"
    if pa.types.is_integer(data_type) or pa.types.is_decimal(data_type):
        return "number"
    if pa.types.is_string(data_type) or pa.types.is_large_string(data_type):
        return "text"
    if pa.types.is_timestamp(data_type) or pa.types.is_date(data_type):
        return "time"
    return "other"


def _comparable(array: pa.Array) -> pa.Array:
    """Moments as numbers: Arrow's own conversion to Python ends at the year 9999."""
    import pyarrow as pa

    if pa.types.is_timestamp(array.type):
        return array.cast(pa.timestamp("us")) if array.type.unit != "us" else array
    return array


def _scalar(value: pa.Scalar) -> Any:
    import pyarrow as pa

    if pa.types.is_timestamp(value.type):
        return np.datetime64(value.value, "us")
    if pa.types.is_date32(value.type):
        return np.datetime64(value.value, "D")
    return value.as_py()


def _plain(value: Any) -> Any:
    """A value that JSON can hold."""
    if isinstance(value, np.datetime64):
        return str(value).removesuffix(".000000")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    return float(value)
