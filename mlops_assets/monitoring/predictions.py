"""Logged predictions as arrays and profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from mlops_assets.training.bundle import Bundle


def classes_of(bundle: Bundle) -> tuple[str, ...]:
    """The classes of a multiclass model, in the order of its answers; else none."""
    return tuple(bundle.schema.classes) if bundle.schema.task == "multiclass" else ()


def prediction_array(table: pa.Table, column: str, bundle: Bundle) -> NDArray[np.float64]:
    """Predictions ``[N]``, or ``[N, classes]`` of a multiclass model.

    Answers that are missing or of another length are NaN.
    """
    classes = len(classes_of(bundle))
    if not classes:
        values: NDArray[np.float64] = table[column].to_numpy().astype(np.float64, copy=False)
        return values
    rows = [
        row if row is not None and len(row) == classes else [np.nan] * classes
        for row in table[column].to_pylist()
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, classes)


def chosen_profile(values: NDArray[np.float64], classes: Sequence[str]) -> dict[str, Any]:
    """The most probable classes as a categorical profile."""
    known = values[np.isfinite(values).all(1)]
    counts = np.bincount(known.argmax(1), minlength=len(classes)).tolist() if len(known) else []
    return _categorical(dict(zip(classes, counts, strict=False)), len(values))


def reference_profile(bundle: Bundle, profile: Mapping[str, Any]) -> Mapping[str, Any]:
    """A reference's predictions; those of a multiclass model as the chosen classes."""
    if profile["kind"] != "probabilities":
        return profile
    counts = dict(zip(bundle.schema.classes, profile["chosen"], strict=True))
    return _categorical(counts, profile["count"])


def _categorical(counts: Mapping[str, int], rows: int) -> dict[str, Any]:
    known = {name: count for name, count in counts.items() if count}
    total = sum(known.values())
    return {
        "kind": "categorical",
        "count": rows,
        "missing": 1 - total / rows if rows else 0.0,
        "rare": 0.0,
        "distinct": len(known),
        "pii": False,
        "counts": known,
        "other": 0,
    }
