"""Metrics for each value of a column: where is the model good, and where not?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlops_assets.errors import EvaluationError

Measure = Callable[[NDArray[np.int64]], Mapping[str, Any]]

MAX_VALUES = 20
"""Values shown of a column; the rest share one row."""
MAX_ROWS = 400
"""Rows of all columns together, so that a result stays small."""
NUMBER_BINS = 5
"""A number with more than :data:`MAX_VALUES` values is cut into so many bins of equal mass."""
MAX_TEXT = 80
MISSING = "(missing)"
OTHER = "(other)"


@dataclass(frozen=True)
class _Slice:
    value: str
    kind: str
    rows: NDArray[np.int64]


def slice_rows(
    table: pa.Table,
    columns: Sequence[str],
    measure: Measure,
    *,
    pii: Collection[str] = (),
) -> list[dict[str, Any]]:
    """One row for each value of each column, the largest first.

    Args:
        table: The test rows.
        columns: Columns to slice by.
        measure: Metrics of some rows, given by their numbers in ``table``.
        pii: Columns with personal data.

    Returns:
        Rows with ``column``, ``value``, ``kind`` (``value``, ``range``, ``missing`` or
        ``other``), ``rows``, ``share`` of all test rows, and what ``measure`` returned. At most
        :data:`MAX_VALUES` rows for a column; the values beyond are measured together.

    Raises:
        EvaluationError: A column is missing, or holds personal data.
    """
    _check(table, columns, pii)
    if table.num_rows == 0 or not columns:
        return []
    limit = max(2, min(MAX_VALUES, MAX_ROWS // len(columns)))
    return [
        {
            "column": column,
            "value": part.value,
            "kind": part.kind,
            "rows": len(part.rows),
            "share": len(part.rows) / table.num_rows,
            **measure(part.rows),
        }
        for column in columns[: MAX_ROWS // 2]
        for part in _parts(table[column], limit)
    ]


def _check(table: pa.Table, columns: Sequence[str], pii: Collection[str]) -> None:
    hidden = {name.lower() for name in pii}
    for column in columns:
        if column.lower() in hidden:
            raise EvaluationError(
                f"{column} holds personal data, and a slice would show its values",
                where="evaluation.slices",
                fix="slice by another column",
            )
        if column not in table.column_names:
            raise EvaluationError(
                f"the column {column} to slice by is missing",
                where="evaluation.slices",
                found=", ".join(table.column_names),
                fix="select it in the query, or take it out of evaluation.slices",
            )


def _parts(values: pa.ChunkedArray, limit: int) -> list[_Slice]:
    """The column's values with their row numbers, by size; then the rest, then the missing."""
    codes, names, kind = _encode(values, limit)
    order = np.argsort(codes, kind="stable")
    present = order[codes[order] >= 0]
    counts = np.bincount(codes[present], minlength=len(names))
    by_code = np.split(present, np.cumsum(counts)[:-1]) if len(names) else []
    ranked = np.argsort(-counts, kind="stable")
    missing = np.flatnonzero(codes < 0)
    room = limit - (len(missing) > 0)
    shown = ranked if len(ranked) <= room else ranked[: room - 1]
    parts = [_Slice(names[code], kind, by_code[code]) for code in shown if counts[code]]
    if len(shown) < len(ranked):
        rest = np.sort(np.concatenate([by_code[code] for code in ranked[len(shown) :]]))
        parts.append(_Slice(f"{OTHER[:-1]}: {len(ranked) - len(shown):,} values)", "other", rest))
    if len(missing):
        parts.append(_Slice(MISSING, "missing", missing))
    return parts


def _encode(values: pa.ChunkedArray, limit: int) -> tuple[NDArray[np.int64], list[str], str]:
    """Code of each row (-1 = missing), the name of each code, and what the codes are."""
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    encoded = values.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    if _is_number(values.type) and len(encoded.dictionary) > limit:
        return _encode_ranges(values)
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, [_text(value) for value in encoded.dictionary.to_pylist()], "value"


def _encode_ranges(values: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str], str]:
    numbers = pc.cast(values, pa.float64()).to_numpy()
    known = np.isfinite(numbers)
    inner = np.quantile(numbers[known], np.linspace(0, 1, NUMBER_BINS + 1)[1:-1], method="higher")
    edges = np.unique(inner)
    codes = np.where(known, np.searchsorted(edges, numbers, side="right"), -1).astype(np.int64)
    texts = [f"{edge:.4g}" for edge in edges]
    if len(set(texts)) < len(texts):
        texts = [f"{edge:.12g}" for edge in edges]
    middle = [f"{low} to < {high}" for low, high in pairwise(texts)]
    return codes, [f"< {texts[0]}", *middle, f"≥ {texts[-1]}"], "range"


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)
    )


def _text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"
    text = " ".join(str(value).split())
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
