"""Positions in a column that grows: as SQL, as words that sort, and as JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from mlops_assets.errors import SchemaError, SourceError

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_assets.config.sql import SqlIncremental

_SQL_TYPES = {"integer": "bigint", "timestamptz": "timestamptz", "timestamp": "timestamp"}
_FLOORS = {"integer": str(-(2**63))}
_CEILINGS = {"integer": str(2**63 - 1)}
_MOMENT = "%Y-%m-%dT%H:%M:%S.%f"
_WORD = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)\.(\d{6})")
_INTEGER_WORD = re.compile(r"([np])(\d{19})")


@dataclass(frozen=True)
class Positions:
    """How the positions of one column are written.

    A position is text: a whole number, or a moment like ``2025-01-01T00:00:00.000000`` (UTC).
    Words of positions sort as the positions do, and may stand in a slice's name.

    Attributes:
        kind: Of the column.
    """

    kind: Literal["integer", "timestamptz", "timestamp"]

    @property
    def sql_type(self) -> str:
        """The PostgreSQL type in which positions are compared."""
        return _SQL_TYPES[self.kind]

    @property
    def floor(self) -> str:
        """Below all positions: values up to here are never taken."""
        return _FLOORS.get(self.kind, "0001-01-01T00:00:00.000000")

    @property
    def ceiling(self) -> str:
        """The last position: values above are never taken."""
        return _CEILINGS.get(self.kind, "9999-12-31T23:59:59.999999")

    def as_text(self, column: str) -> str:
        """SQL of a column's value as a position."""
        if self.kind == "integer":
            return f"({column})::text"
        return f"to_char({column}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"

    def word(self, position: str) -> str:
        """The position as a word that sorts."""
        if self.kind == "integer":
            value = int(position)
            return f"p{value:019d}" if value >= 0 else f"n{value + 2**63:019d}"
        return re.sub("[-:]", "", position)

    def position(self, word: str, where: str) -> str:
        """The position that a word was made of.

        Raises:
            SourceError: It is a word of another kind of column.
        """
        if self.kind == "integer" and (match := _INTEGER_WORD.fullmatch(word)):
            value = int(match[2])
            return str(value if match[1] == "p" else value - 2**63)
        if self.kind != "integer" and (match := _WORD.fullmatch(word)):
            year, month, day, hour, minute, second, micro = match.groups()
            return f"{year}-{month}-{day}T{hour}:{minute}:{second}.{micro}"
        raise SourceError(
            "the rows taken so far were counted by a column of another type",
            where=where,
            found=f"a slice that ends at {word}",
            expected=f"a position of a column of type {self.kind}",
            fix="give the source another name, so that it starts anew",
        )

    def start(self, written: int | str | None, where: str) -> str:
        """The position that ``start:`` means.

        Raises:
            SchemaError: It does not fit the column.
        """
        if written is None:
            return self.floor
        if isinstance(written, int) == (self.kind == "integer"):
            if isinstance(written, int):
                return str(max(-(2**63), min(written, 2**63 - 1)))
            moment = datetime.fromisoformat(written)
            if moment.tzinfo is not None:
                moment = moment.astimezone(UTC)
            return moment.strftime(_MOMENT).rjust(26, "0")
        raise SchemaError(
            "`start` does not fit the column",
            where=where,
            found=repr(written),
            expected="a whole number" if self.kind == "integer" else "a moment",
        )


def positions_of(spec: SqlIncremental, schema: pa.Schema, where: str) -> Positions:
    """How the positions of the incremental column are written.

    Raises:
        SchemaError: The column is not there, or cannot be counted by.
    """
    import pyarrow as pa

    from mlops_assets.tables.contract import require_columns

    require_columns([spec.column], schema.names, where, "incremental column")
    kind = schema.field(spec.column).type
    if pa.types.is_integer(kind):
        return Positions("integer")
    if pa.types.is_timestamp(kind):
        return Positions("timestamptz" if kind.tz else "timestamp")
    raise SchemaError(
        "rows cannot be taken in slices by this column",
        where=where,
        found=f"{spec.column}, a column of type {kind}",
        expected="smallint, integer, bigint, timestamp or timestamp with time zone",
        fix="name another column, or cast it in a query",
    )
