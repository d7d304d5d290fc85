"""Columns of a feature table as arrays: vectorised, no loops over rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mlops_assets.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

MISSING_INDEX = 0
"""Index of a missing category: null or empty text."""
UNSEEN_INDEX = 1
"""Index of a category that training did not see, or saw too seldom."""
FIRST_KNOWN_INDEX = 2


def require_columns(table: pa.Table, names: Sequence[str]) -> None:
    """Refuse a table without these columns.

    Raises:
        SchemaError: Some are missing.
    """
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise SchemaError(
            f"the table lacks {', '.join(missing)}",
            where="features",
            found=table.column_names,
            expected=list(names),
        )


def numeric_matrix(
    table: pa.Table, names: Sequence[str], rows: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """float32 ``[N, len(names)]``; missing values are NaN.

    Raises:
        SchemaError: A column is missing or holds no numbers.
    """
    require_columns(table, names)
    count = table.num_rows if rows is None else len(rows)
    matrix = np.empty((len(names), count), dtype=np.float32)
    for place, name in enumerate(names):
        values = _floats(table, name)
        matrix[place] = values if rows is None else values[rows]
    return np.ascontiguousarray(matrix.T)


def _floats(table: pa.Table, name: str) -> NDArray[np.float32]:
    import pyarrow as pa

    column = table[name]
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        try:
            column = column.cast(pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SchemaError(
                "a numeric input holds no numbers",
                where=f"features column {name}",
                found=column.type,
                expected="a number",
            ) from error
    # Arrow writes nulls of integers as NaN too, in a float64 array.
    values: NDArray[np.float32] = column.to_numpy().astype(np.float32, copy=False)
    return values


def text_codes(
    table: pa.Table, name: str, rows: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], list[str]]:
    """Codes into the distinct texts of a column; null is the empty text.

    Raises:
        SchemaError: The column is missing.
    """
    import pyarrow as pa

    require_columns(table, [name])
    column = table[name].cast(pa.large_string()).fill_null("")
    if rows is not None:
        column = column.take(pa.array(rows))
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes: NDArray[np.int64] = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, encoded.dictionary.to_pylist()


def category_indices(
    table: pa.Table, name: str, vocabulary: Sequence[str], rows: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Indices of a column's values: missing, unseen or ``FIRST_KNOWN_INDEX`` + place."""
    codes, texts = text_codes(table, name, rows)
    known = {text: place for place, text in enumerate(vocabulary, FIRST_KNOWN_INDEX)}
    known[""] = MISSING_INDEX
    lookup = np.array([known.get(text, UNSEEN_INDEX) for text in texts], dtype=np.int64)
    return lookup[codes] if len(lookup) else np.empty(0, dtype=np.int64)
