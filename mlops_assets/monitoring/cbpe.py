"""Performance of a classifier estimated from its own probabilities, before labels are known.

Confidence-based performance estimation (CBPE, as NannyML's documentation describes it): where
probabilities are calibrated, a request predicted with 0.8 is positive in eight of ten cases, so
the expected confusion matrix, and every metric of it, follows from the probabilities alone.

Limits: it sees changes of the inputs' mix and nothing else. When the relation between inputs and
label changes, or when the probabilities are not calibrated, it is wrong; realised performance
then says so once labels are there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_assets.evaluation.metrics import PROBABILITY_FLOOR

Floats = NDArray[np.float64]
CHUNKS = 10
"""Parts of the window whose spread says how certain the estimate is."""


@dataclass(frozen=True)
class Estimated:
    """An estimate.

    Attributes:
        metric: Its name.
        value: The expected metric; None where it cannot be estimated.
        lower: Value minus two standard errors of sampling.
        upper: Value plus two standard errors.
        rows: Requests with a usable prediction.
        reason: Why there is no value.
    """

    metric: str
    value: float | None
    lower: float | None
    upper: float | None
    rows: int
    reason: str = ""


def estimated_performance(
    task: str,
    metric: str,
    predictions: Floats,
    *,
    classes: Sequence[str] | None = None,
    threshold: float = 0.5,
) -> Estimated:
    """The expected value of a metric if the probabilities are right.

    Args:
        task: ``binary`` or ``multiclass``; others have no probabilities.
        metric: A metric of the task.
        predictions: Probabilities (N,), or (N, K) in the order of ``classes``.
        classes: The classes, for ``multiclass``.
        threshold: Probability from which a binary prediction counts as positive.
    """
    finite = np.isfinite(predictions)
    usable = predictions[finite.all(axis=1) if predictions.ndim == 2 else finite]
    rows = len(usable)
    function = _function(task, metric, threshold)
    if function is None:
        return Estimated(metric, None, None, None, rows, f"no estimate of {metric} for {task}")
    if not rows:
        return Estimated(metric, None, None, None, 0, "no usable predictions")
    p = np.clip(usable, 0.0, 1.0)
    value = function(p)
    if not np.isfinite(value):
        return Estimated(metric, None, None, None, rows, "not defined on these predictions")
    error = _standard_error(function, p)
    if error is None:
        return Estimated(metric, float(value), None, None, rows)
    return Estimated(metric, float(value), value - 2 * error, value + 2 * error, rows)


def expected_roc_auc(p: Floats) -> float:
    """Expected ROC AUC of probabilities ``(N,)`` in ``O(N log N)``; ties count one half.

    Expected concordant weight ``sum p_i (1 - p_j) [p_i > p_j]`` over expected pairs, without a
    row against itself.
    """
    order = np.sort(p)
    negative = 1.0 - order
    total = np.concatenate([[0.0], np.cumsum(negative)])
    first = np.searchsorted(order, order, side="left")
    last = np.searchsorted(order, order, side="right")
    below = total[first]
    tied = total[last] - total[first] - negative
    concordant = float(np.sum(order * (below + 0.5 * tied)))
    pairs = float(order.sum() * negative.sum() - np.sum(order * negative))
    return concordant / pairs if pairs > 0 else float("nan")


def _function(task: str, metric: str, threshold: float) -> Callable[[Floats], float] | None:
    if task == "multiclass":
        return {"accuracy": _top_probability, "log_loss": _entropy}.get(metric)
    if task != "binary":
        return None
    return {
        "roc_auc": expected_roc_auc,
        "brier": lambda p: float(np.mean(p * (1 - p))),
        "log_loss": lambda p: _entropy(np.stack([1 - p, p], axis=1)),
        "accuracy": lambda p: float(np.mean(np.where(p >= threshold, p, 1 - p))),
        "precision": lambda p: _ratio(p[p >= threshold].sum(), (p >= threshold).sum()),
        "recall": lambda p: _ratio(p[p >= threshold].sum(), p.sum()),
        "f1": lambda p: _ratio(2 * p[p >= threshold].sum(), (p >= threshold).sum() + p.sum()),
    }.get(metric)


def _top_probability(p: Floats) -> float:
    return float(np.mean(p.max(axis=1)))


def _entropy(p: Floats) -> float:
    clipped = np.clip(p, PROBABILITY_FLOOR, 1.0)
    return float(np.mean(-np.sum(p * np.log(clipped), axis=1)))


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below > 0 else float("nan")


def _standard_error(function: Callable[[Floats], float], p: Floats) -> float | None:
    """Spread of the estimate over equal parts of the window, scaled to the whole of it."""
    if len(p) < 10 * CHUNKS:
        return None
    values = np.array([function(p[start::CHUNKS]) for start in range(CHUNKS)])
    values = values[np.isfinite(values)]
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
