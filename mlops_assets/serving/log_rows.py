"""Logged rows as a table: every column has one kind of values, whatever single rows hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBER = "a number"
_UNFIT = (ValueError, TypeError, OverflowError, NotImplementedError)
"""What Arrow raises for values that fit no column, or not one and the same."""


def as_table(rows: Sequence[Mapping[str, Any]]) -> tuple[pa.Table, list[str]]:
    """Rows as columns; what a row lacks is null.

    Where values of a column are of several kinds, the most common one stays, and rows with another
    one are left out.

    Args:
        rows: At least one.

    Returns:
        The table, and for each row that is not in it why. Values are not told.
    """
    import pyarrow as pa

    names = list(dict.fromkeys(name for row in rows for name in row))
    problems: list[str] = []
    try:
        return _table(names, rows), problems
    except _UNFIT:
        kinds = {n: Counter(filter(None, (_kind(row.get(n)) for row in rows))) for n in names}
    wanted = {name: found.most_common(1)[0][0] for name, found in kinds.items() if found}
    good = []
    for row in rows:
        problem = next(filter(None, (_problem(row, n, kind) for n, kind in wanted.items())), None)
        if problem is None:
            good.append(row)
        else:
            problems.append(problem)
    try:
        return _table(names, good), problems
    except _UNFIT:
        return pa.table({}), [*problems, *(["the rows do not fit one another"] * len(good))]


def _table(names: list[str], rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    import pyarrow as pa

    return pa.table({name: _column([row.get(name) for row in rows]) for name in names})


def _column(values: list[Any]) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values)
    except pa.ArrowInvalid:
        if {_kind(value) for value in values} - {None} != {_NUMBER}:
            raise
        # A whole number beside fractions is too long to be one itself.
        return pa.array([None if value is None else float(value) for value in values])


def _problem(row: Mapping[str, Any], name: str, wanted: str) -> str | None:
    found = _kind(row.get(name))
    if found in {None, wanted}:
        return None
    return f"{name}: found {found}, expected {wanted}, as in most of the others"


def _kind(value: Any) -> str | None:
    import pyarrow as pa

    try:
        kind = pa.array([value]).type
    except _UNFIT:
        return f"a {type(value).__name__} that cannot be stored"
    if pa.types.is_null(kind):
        return None
    inner = kind.value_type if pa.types.is_list(kind) else kind
    is_number = pa.types.is_integer(inner) or pa.types.is_floating(inner)
    word = "number" if is_number else str(inner)
    return f"a list of {word}s" if pa.types.is_list(kind) else f"a {word}"
