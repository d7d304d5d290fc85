"""What the plots draw: bounded numbers, no single rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]

MAX_POINTS = 101
HISTOGRAM_BINS = 40
GRID = 24
MAX_CLASSES = 25
OTHER_CLASSES = "(other)"


def curves(task: str, y: Array, p: Floats, classes: Sequence[str] = ()) -> dict[str, Any]:
    """The curves of a task, for prepared labels and predictions.

    Returns:
        Binary: ``roc`` and ``pr``, or nothing where only one class is there. Multiclass:
        ``confusion``. Regression: ``residuals`` and ``predicted_vs_actual``. Empty without rows.
    """
    if len(y) == 0:
        return {}
    if task == "multiclass":
        return {"confusion": confusion(y, p, classes)}
    if task == "regression":
        return {"residuals": residuals(y, p), "predicted_vs_actual": predicted_vs_actual(y, p)}
    return {"roc": roc(y, p), "pr": precision_recall(y, p)} if y.min() != y.max() else {}


def roc(y: Array, p: Floats) -> dict[str, list[float]]:
    """False and true positive rates, thinned to :data:`MAX_POINTS` evenly along the curve."""
    from sklearn.metrics import roc_curve

    fpr, tpr, _ = roc_curve(y, p)
    kept = _along(fpr, tpr)
    return {"fpr": _rounded(fpr[kept]), "tpr": _rounded(tpr[kept])}


def precision_recall(y: Array, p: Floats) -> dict[str, list[float]]:
    """Recall (rising) and precision, thinned in the same way."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(y, p)
    precision, recall = precision[::-1], recall[::-1]
    kept = _along(recall, precision)
    return {"recall": _rounded(recall[kept]), "precision": _rounded(precision[kept])}


def residuals(y: Array, p: Floats) -> dict[str, list[float] | list[int]]:
    """Histogram of prediction minus label; the outer bins hold all beyond the outer percentiles."""
    error = p - y
    low, high = _range(error)
    edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
    counts, _ = np.histogram(np.clip(error, low, high), bins=edges)
    return {"edges": _rounded(edges), "counts": counts.tolist()}


def predicted_vs_actual(y: Array, p: Floats) -> dict[str, Any]:
    """Counts on a square grid, ``counts[actual][predicted]``; the outer cells hold all beyond."""
    low, high = _range(np.concatenate([y, p]))
    edges = np.linspace(low, high, GRID + 1)
    counts, _, _ = np.histogram2d(np.clip(y, low, high), np.clip(p, low, high), bins=[edges, edges])
    return {"edges": _rounded(edges), "counts": counts.astype(int).tolist()}


def confusion(y: Array, p: Floats, classes: Sequence[str]) -> dict[str, Any]:
    """Counts of ``counts[actual][predicted]``; the largest classes, and the others as one."""
    predicted = p.argmax(axis=1)
    names = [str(name) for name in classes]
    if len(names) > MAX_CLASSES:
        sizes = np.bincount(y, minlength=len(names))
        largest = np.sort(np.argsort(-sizes, kind="stable")[: MAX_CLASSES - 1])
        renumbered = np.full(len(names), len(largest))
        renumbered[largest] = np.arange(len(largest))
        y, predicted = renumbered[y], renumbered[predicted]
        names = [*(names[index] for index in largest), OTHER_CLASSES]
    size = len(names)
    counts = np.bincount(y * size + predicted, minlength=size * size).reshape(size, size)
    return {"classes": names, "counts": counts.tolist()}


def _along(x: Floats, y: Floats) -> NDArray[np.int64]:
    """Indices of at most :data:`MAX_POINTS` points, evenly spread along the curve's length."""
    if len(x) <= MAX_POINTS:
        return np.arange(len(x))
    length = np.r_[0.0, np.cumsum(np.hypot(np.diff(x), np.diff(y)))]
    wanted = np.linspace(0, length[-1], MAX_POINTS)
    return np.unique(np.r_[0, np.searchsorted(length, wanted[1:-1]), len(x) - 1])


def _range(values: Floats) -> tuple[float, float]:
    """Half a percent cut off at each end, and never empty."""
    low, high = (float(edge) for edge in np.quantile(values, [0.005, 0.995]))
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        pad = max(abs(low) * 0.01, 0.5)
        return low - pad, high + pad
    return low, high


def _rounded(values: Floats) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
