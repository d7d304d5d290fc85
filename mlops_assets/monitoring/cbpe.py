"""Performance of a classifier estimated from its own probabilities, before labels are known.

Confidence-based performance estimation (CBPE, as NannyML's documentation describes it): where
probabilities are calibrated, a request predicted with 0.8 is positive in eight of ten cases, so
the expected confusion matrix, and every metric of it, follows from the probabilities alone.

Limits: it sees changes of the inputs' mix and nothing else. When the relation between inputs and
label changes (concept drift), or when the probabilities are not calibrated, it is wrong; realised
performance then says so once labels are there. The interval says how far chance alone may move
the realised metric from the estimate, and nothing about these two errors. The calibration error
has no estimate, because it is assumed to be none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.config.metrics import METRICS
from mlops_assets.evaluation.metrics import PROBABILITY_FLOOR, decide

Floats = NDArray[np.float64]
Expected = tuple[float, Floats]
"""An expected metric, and its change with the label of each row: (N,) when a 0 becomes 1, or
(N, K) for each class."""

MIN_ROWS = 20
"""Below it the normal approximation of the interval says nothing."""
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Estimated:
    """An estimate.

    Attributes:
        metric: Its name.
        value: The expected metric; None where it cannot be estimated.
        lower: Lower end of where the realised metric of these requests will be.
        upper: Upper end.
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
    calibration: Sequence[Mapping[str, float]] | None = None,
    confidence: float = 0.95,
) -> Estimated:
    """The expected value of a metric if the probabilities are right.

    The interval is the delta method on the only thing that is random, the labels: the metric's
    change with each label, times the label's standard deviation, summed in squares.

    Args:
        task: ``binary`` or ``multiclass``; others have no probabilities.
        metric: A metric of the task.
        predictions: Probabilities (N,), or (N, K) in the order of ``classes``.
        classes: The classes, for ``multiclass``.
        threshold: Probability from which a binary prediction counts as positive.
        calibration: Bins of ``evaluation.calibration.calibration_bins`` on labelled rows, by which
            probabilities are corrected before anything is expected of them.
        confidence: Share of windows whose realised metric is in the interval.
    """
    function = _function(task, metric, threshold)
    p = _usable(np.asarray(predictions, dtype=np.float64))
    nothing = (metric, None, None, None, len(p))
    if function is None:
        return Estimated(*nothing, f"no estimate of {metric} for {task}")
    if p.ndim != (2 if task == "multiclass" else 1) or (classes and p.shape[-1] != len(classes)):
        return Estimated(*nothing, "predictions do not have the shape of the classes")
    if not len(p):
        return Estimated(*nothing, "no usable predictions")
    sums = p.sum(axis=1) if p.ndim == 2 else np.ones(1)
    outside = p.min() < -_TOLERANCE or p.max() > 1 + _TOLERANCE
    if outside or np.abs(sums - 1).max() > 10 * _TOLERANCE:
        return Estimated(*nothing, "predictions are not probabilities")
    p = np.clip(p, 0.0, 1.0)
    q = recalibrated(p, calibration) if calibration else p
    value, change = function(p, q)
    if not np.isfinite(value):
        return Estimated(*nothing, "not defined on these predictions")
    if len(p) < MIN_ROWS:
        return Estimated(metric, value, None, None, len(p))
    margin = NormalDist().inv_cdf((1 + confidence) / 2) * _deviation(q, change)
    lowest, highest = 0.0, 1.0 if METRICS[metric].is_share else np.inf
    return Estimated(
        metric,
        value,
        float(max(lowest, value - margin)),
        float(min(highest, value + margin)),
        len(p),
    )


def recalibrated(p: Floats, bins: Sequence[Mapping[str, float]]) -> Floats:
    """Probabilities corrected by logistic recalibration (Cox 1958) of bins of labelled rows.

    Log odds become a straight line of the former log odds. Of several classes the most probable
    one is corrected, as the bins are, and the others share the rest as before.

    Args:
        p: Probabilities (N,) or (N, K).
        bins: ``predicted``, ``observed`` and ``rows`` of each bin.
    """
    if len(bins) < 2:
        return p
    line = _logistic_line(bins)
    if p.ndim == 1:
        return line(p)
    top = p.argmax(axis=1)
    rows = np.arange(len(p))
    old = p[rows, top]
    new = line(old)
    rest = np.divide(1 - new, 1 - old, out=np.zeros_like(old), where=old < 1)
    q: Floats = p * rest[:, None]
    q[rows, top] = np.where(old < 1, new, 1.0)
    return q


def expected_roc_auc(p: Floats, q: Floats | None = None) -> float:
    """Expected ROC AUC of probabilities ``(N,)`` in ``O(N log N)``; ties count one half.

    Expected concordant weight ``sum q_i (1 - q_j) [p_i > p_j]`` over expected pairs, without a
    row against itself.

    Args:
        p: What rows are ranked by.
        q: Their probability of being positive, where it is another one.
    """
    return _roc_auc(p, p if q is None else q)[0]


def _usable(predictions: Floats) -> Floats:
    finite = np.isfinite(predictions)
    usable: Floats = predictions[finite.all(axis=1) if predictions.ndim == 2 else finite]
    return usable


def _function(
    task: str, metric: str, threshold: float
) -> Callable[[Floats, Floats], Expected] | None:
    """The expected metric of scores ``p`` whose true probabilities are ``q``."""
    if task == "multiclass":
        return {
            "accuracy": _multiclass_accuracy,
            "log_loss": _multiclass_log_loss,
            "macro_f1": _macro_f1,
        }.get(metric)
    if task != "binary":
        return None
    return {
        "roc_auc": _roc_auc,
        "average_precision": _average_precision,
        "brier": lambda p, q: _linear(p**2, 1 - 2 * p, q),
        "log_loss": lambda p, q: _linear(_surprise(1 - p), _surprise(p) - _surprise(1 - p), q),
        "accuracy": lambda p, q: _accuracy(decide(p, threshold), q),
        "precision": lambda p, q: _precision(decide(p, threshold), q),
        "recall": lambda p, q: _recall(decide(p, threshold), q),
        "f1": lambda p, q: _f1(decide(p, threshold), q),
    }.get(metric)


def _deviation(q: Floats, change: Floats) -> float:
    """Standard deviation of a sum of changes over independent labels."""
    if q.ndim == 1:
        return float(np.sqrt(np.sum(q * (1 - q) * change**2)))
    centred = change - np.sum(q * change, axis=1, keepdims=True)
    return float(np.sqrt(np.sum(q * centred**2)))


def _surprise(p: Floats) -> Floats:
    return np.asarray(-np.log(np.clip(p, PROBABILITY_FLOOR, 1.0)))


def _linear(at_zero: NDArray[Any], change: NDArray[Any], q: Floats) -> Expected:
    """The mean over rows of a loss, known for label 0 and by its change for label 1."""
    return float(np.mean(at_zero + q * change)), change / len(q)


def _accuracy(hit: NDArray[np.int64], q: Floats) -> Expected:
    return _linear(1.0 - hit, 2.0 * hit - 1, q)


def _precision(hit: NDArray[np.int64], q: Floats) -> Expected:
    return _ratio(float(hit @ q), hit.astype(np.float64), float(hit.sum()), np.zeros(len(q)))


def _recall(hit: NDArray[np.int64], q: Floats) -> Expected:
    return _ratio(float(hit @ q), hit.astype(np.float64), float(q.sum()), np.ones(len(q)))


def _f1(hit: NDArray[np.int64], q: Floats) -> Expected:
    return _ratio(2 * float(hit @ q), 2.0 * hit, float(hit.sum() + q.sum()), np.ones(len(q)))


def _ratio(
    above: float, above_change: NDArray[Any], below: float, below_change: Floats
) -> Expected:
    """Ratio of two expectations, which differs from the expected ratio by ``O(1 / N)``."""
    if not below > 0:
        return float("nan"), np.zeros(len(above_change))
    value = above / below
    return value, (above_change - value * below_change) / below


def _roc_auc(p: Floats, q: Floats) -> Expected:
    negative = 1 - q
    beaten, tied = _lower_and_tied(p, negative)
    as_positive = beaten + (tied - negative) / 2
    smaller, level = _lower_and_tied(p, q)
    as_negative = q.sum() - smaller - level + (level - q) / 2
    pairs = float(q.sum() * negative.sum() - q @ negative)
    return _ratio(
        float(q @ as_positive),
        as_positive - as_negative,
        pairs,
        (negative.sum() - negative) - (q.sum() - q),
    )


def _average_precision(p: Floats, q: Floats) -> Expected:
    """Mean over positives of the precision at their rank; a positive finds itself there.

    Positives are few where this metric is used, so the bias of the ratio is taken off (the
    second-order term of the delta method).
    """
    one = np.ones(len(p))
    shown = len(p) - _lower_and_tied(p, one)[0]
    found = q.sum() - _lower_and_tied(p, q)[0] - q + 1
    weight = q / shown
    below, level = _lower_and_tied(p, weight)
    change = found / shown + below + level - weight
    positives = float(q.sum())
    value, change = _ratio(float(weight @ found), change, positives, one)
    return value - float(np.sum(q * (1 - q) * change)) / positives if positives else value, change


def _lower_and_tied(p: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weight of the rows with a lower ``p`` than each row, and with the same one (itself too)."""
    _, group = np.unique(p, return_inverse=True)
    mass: NDArray[Any] = np.bincount(group, weights=weights)
    lower = np.cumsum(mass) - mass
    return lower[group], mass[group]


def _multiclass_accuracy(p: Floats, q: Floats) -> Expected:
    hit = np.zeros_like(p)
    hit[np.arange(len(p)), decide(p, 0.5)] = 1.0
    return float(np.sum(q * hit) / len(p)), hit / len(p)


def _multiclass_log_loss(p: Floats, q: Floats) -> Expected:
    loss = _surprise(p)
    return float(np.sum(q * loss) / len(p)), loss / len(p)


def _macro_f1(p: Floats, q: Floats) -> Expected:
    """Mean over the classes that are decided for or expected at least once."""
    chosen = decide(p, 0.5)
    hit = np.zeros_like(p)
    hit[np.arange(len(p)), chosen] = 1.0
    both, either = np.sum(q * hit, axis=0), hit.sum(axis=0) + q.sum(axis=0)
    present = (hit.sum(axis=0) > 0) | (q.sum(axis=0) >= 1)
    scores = np.divide(2 * both, either, out=np.zeros_like(both), where=present)
    scale = np.divide(1.0, either, out=np.zeros_like(both), where=present) / present.sum()
    return float(scores[present].mean()), (2 * hit - scores) * scale


def _logistic_line(bins: Sequence[Mapping[str, Any]]) -> Callable[[Floats], Floats]:
    from sklearn.linear_model import LogisticRegression

    predicted = np.array([row["predicted"] for row in bins])
    observed = np.clip([row["observed"] for row in bins], 0.0, 1.0)
    rows = np.array([row["rows"] for row in bins], dtype=np.float64)
    x = np.concatenate([_log_odds(predicted)] * 2)[:, None]
    label = np.repeat([0, 1], len(bins))
    weights = np.concatenate([rows * (1 - observed), rows * observed])
    if not weights[label == 0].sum() > 0 or not weights[label == 1].sum() > 0:
        return lambda p: np.full(len(p), float(observed[0]))
    # So weak a penalty matters only where the bins are separable and the line would be infinite.
    model = LogisticRegression(C=100.0).fit(x, label, sample_weight=weights)
    slope, offset = float(model.coef_[0, 0]), float(model.intercept_[0])
    return lambda p: 1 / (1 + np.exp(-(offset + slope * _log_odds(p))))


def _log_odds(p: Floats) -> Floats:
    clipped = np.clip(p, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return np.asarray(np.log(clipped / (1 - clipped)))
