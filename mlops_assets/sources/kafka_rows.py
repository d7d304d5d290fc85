"""Messages that are decoded one at a time into columns by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from mlops_assets.sources.kafka_arrow import Decoded, arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]
_FLOAT32_END = 2.0**128 - 2.0**103
"""The first number that rounds to infinity in four bytes."""


class PoisonError(Exception):
    """A message cannot be read; the text says why, without its values."""


class RowDecoder:
    """Messages as rows, held to the declared types.

    Args:
        columns: Declared Spark SQL types.
        parse: Reads one message; raises PoisonError.
    """

    def __init__(self, columns: Mapping[str, str], parse: Callable[[bytes], Row]) -> None:
        self._columns = dict(columns)
        self._schema = arrow_schema(columns)
        self._parse = parse

    def decode(self, values: list[bytes]) -> Decoded:
        """Read messages."""
        rejected: dict[int, str] = {}
        rows: list[int] = []
        read: list[Row] = []
        for index, value in enumerate(values):
            try:
                read.append(self._parse(value))
                rows.append(index)
            except PoisonError as error:
                rejected[index] = str(error)
        table = self._table(read)
        if table is None:
            reasons = [self._reason(row) for row in read]
            rejected |= {rows[i]: reason for i, reason in enumerate(reasons) if reason}
            rows = [rows[i] for i, reason in enumerate(reasons) if not reason]
            fitting = [row for row, reason in zip(read, reasons, strict=True) if not reason]
            table = self._table(fitting) or self._schema.empty_table()
        return Decoded(table, rows, rejected)

    def _table(self, rows: list[Row]) -> pa.Table | None:
        """The rows, or None when a value does not fit its column."""
        import pyarrow as pa

        columns = [self._column([row.get(f.name) for row in rows], f) for f in self._schema]
        if any(column is None for column in columns):
            return None
        return pa.Table.from_arrays(columns, schema=self._schema)

    def _column(self, values: list[Any], field: pa.Field) -> pa.Array | None:
        import pyarrow as pa

        if not all(_is_of(value, field.type) for value in values):
            return None
        try:
            return pa.array(values, field.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            return None

    def _reason(self, row: Row) -> str | None:
        for field in self._schema:
            if self._column([row.get(field.name)], field) is None:
                return f"{field.name} is not {self._columns[field.name]}"
        return None


def _is_of(value: Any, kind: pa.DataType) -> bool:
    """Whether a value is of a type's own kind: Arrow would take bytes for text, True for 1."""
    import pyarrow as pa

    if value is None:
        return True
    if pa.types.is_boolean(kind):
        return isinstance(value, bool)
    if pa.types.is_integer(kind):
        return isinstance(value, int) and not isinstance(value, bool)
    if pa.types.is_floating(kind):
        return isinstance(value, int | float) and _fits_float(value, kind.bit_width)
    if pa.types.is_string(kind):
        return isinstance(value, str)
    if pa.types.is_binary(kind):
        return isinstance(value, bytes)
    if pa.types.is_list(kind):
        return isinstance(value, list) and all(_is_of(v, kind.value_type) for v in value)
    if pa.types.is_struct(kind):
        return isinstance(value, dict) and all(_is_of(value.get(f.name), f.type) for f in kind)
    if pa.types.is_date(kind):
        return isinstance(value, date) and not isinstance(value, datetime)  # no time is cut off
    return not isinstance(value, bool | int | float | str)


def _fits_float(value: float, bits: int) -> bool:
    """Whether a number stays one; an infinity that was sent is one."""
    if isinstance(value, bool):
        return False
    return bits == 64 or not math.isfinite(value) or abs(value) < _FLOAT32_END
