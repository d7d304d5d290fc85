"""Every metric of :data:`mlops_assets.config.metrics.METRICS`, by scikit-learn's formulas.

A metric that is not defined on the given rows is ``None``, never a made-up number and never NaN:

* no rows (or no weight): every metric;
* only one class: ``roc_auc`` and ``average_precision``, because there is nothing to rank;
* nothing predicted positive: ``precision``; nothing actually positive: ``recall``; neither:
  ``f1``;
* fewer than two rows, or the same label everywhere: ``r2``.

Predictions that are not finite, or probabilities outside 0 to 1, raise: a model that answers NaN
must never look like one whose metric merely happens to be undefined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.config.metrics import METRICS
from mlops_assets.errors import EvaluationError
from mlops_assets.evaluation.calibration import calibration_error

Floats = NDArray[np.float64]
Array = NDArray[Any]
Metric = Callable[[Array, Floats, "Floats | None"], float]

PROBABILITY_FLOOR = float(np.finfo(np.float32).eps)
"""Predictions are float32, which rounds a probability above 1 - 6e-8 to exactly 1: ``log_loss``
clips there, so that one wrong row costs at most 15.9 and not 36."""
_TOLERANCE = 1e-4


def metrics_for(task: str) -> tuple[str, ...]:
    """Names of the metrics that fit a task, in the order in which they are shown."""
    return tuple(name for name, info in METRICS.items() if task in info.tasks)


def compute_metrics(
    task: str,
    y_true: Array,
    prediction: Array,
    *,
    threshold: float = 0.5,
    classes: Sequence[str] | None = None,
    weights: Array | None = None,
) -> dict[str, float | None]:
    """All metrics that fit a task.

    Args:
        task: ``binary``, ``multiclass`` or ``regression``.
        y_true: Labels (N,): 0/1, class names, or numbers.
        prediction: Probability of 1 (N,), probabilities in the order of ``classes`` (N, K), or
            predicted numbers (N,).
        threshold: Probability from which a binary prediction counts as positive.
        classes: The classes, for ``multiclass``.
        weights: Weight of each row (N,), not negative; all 1 when not given.

    Returns:
        Metric by name; ``None`` where it is not defined on these rows.

    Raises:
        EvaluationError: Predictions, labels or weights are not usable.
    """
    y, p = prepare(task, y_true, prediction, classes)
    w = _checked_weights(weights, len(y))
    functions = metric_functions(task, threshold)
    if len(y) == 0 or (w is not None and w.sum() <= 0):
        return dict.fromkeys(functions)
    return {name: _number(function(y, p, w)) for name, function in functions.items()}


def prepare(
    task: str, y_true: Array, prediction: Array, classes: Sequence[str] | None
) -> tuple[Array, Floats]:
    """Labels as 0/1, class numbers or float64; predictions as float64; both checked.

    Raises:
        EvaluationError: Lengths or shapes differ, a value is not finite, a probability is not
            one, or a label is not one of the classes.
    """
    p = np.asarray(prediction, dtype=np.float64)
    labels = np.asarray(y_true)
    expected = (len(labels), len(classes or ())) if task == "multiclass" else (len(labels),)
    if p.shape != expected:
        raise EvaluationError(
            "predictions do not have the shape of the labels", found=p.shape, expected=expected
        )
    finite = np.isfinite(p).all(axis=1) if p.ndim == 2 else np.isfinite(p)
    if not finite.all():
        raise EvaluationError(
            f"{int((~finite).sum()):,} of {len(p):,} predictions are not finite",
            expected="a number for every row",
        )
    if task == "regression":
        return _checked_numbers(labels), p
    p = _checked_probabilities(p)
    return (_class_numbers(labels, classes or ()) if task == "multiclass" else _binary(labels)), p


def metric_functions(task: str, threshold: float) -> dict[str, Metric]:
    """Every metric of a task as a function of prepared labels, predictions and weights.

    The functions answer NaN where the metric is not defined.
    """
    every: dict[str, Metric] = {
        "roc_auc": _roc_auc,
        "average_precision": _average_precision,
        "brier": lambda y, p, w: float(np.average((p - y) ** 2, weights=w)),
        "calibration_error": calibration_error,
        "f1": lambda y, p, w: _decision("f1_score", y, p >= threshold, w),
        "precision": lambda y, p, w: _decision("precision_score", y, p >= threshold, w),
        "recall": lambda y, p, w: _decision("recall_score", y, p >= threshold, w),
        "log_loss": lambda y, p, w: float(np.average(log_losses(y, p), weights=w)),
        "accuracy": lambda y, p, w: float(np.average(decide(p, threshold) == y, weights=w)),
        "macro_f1": _macro_f1,
        "rmse": lambda y, p, w: float(np.sqrt(np.average((p - y) ** 2, weights=w))),
        "mae": lambda y, p, w: float(np.average(np.abs(p - y), weights=w)),
        "r2": _r2,
    }
    return {name: every[name] for name in metrics_for(task)}


def decide(p: Floats, threshold: float) -> NDArray[np.int64]:
    """The class that each row is taken for."""
    if p.ndim == 2:
        return np.asarray(p.argmax(axis=1), dtype=np.int64)
    return (p >= threshold).astype(np.int64)


def log_losses(y: Array, p: Floats) -> Floats:
    """Negative log likelihood of each row's label, clipped at :data:`PROBABILITY_FLOOR`."""
    right = p[np.arange(len(y)), y.astype(np.int64)] if p.ndim == 2 else np.where(y == 1, p, 1 - p)
    return np.asarray(-np.log(np.clip(right, PROBABILITY_FLOOR, 1.0)), dtype=np.float64)


def _roc_auc(y: Array, p: Floats, w: Floats | None) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(y, p, sample_weight=w)) if _has_both(y, w) else float("nan")


def _average_precision(y: Array, p: Floats, w: Floats | None) -> float:
    from sklearn.metrics import average_precision_score

    if not _has_both(y, w):
        return float("nan")
    return float(average_precision_score(y, p, sample_weight=w))


def _decision(name: str, y: Array, positive: Array, w: Floats | None) -> float:
    from sklearn import metrics

    score = getattr(metrics, name)
    return float(score(y, positive.astype(np.int64), sample_weight=w, zero_division=np.nan))


def _macro_f1(y: Array, p: Floats, w: Floats | None) -> float:
    """Unweighted mean over the classes that are among the labels or the decisions."""
    from sklearn.metrics import f1_score

    predicted = decide(p, 0.5)
    kept = slice(None) if w is None else w > 0
    present = np.union1d(y[kept], predicted[kept])
    return float(f1_score(y, predicted, sample_weight=w, labels=present, average="macro"))


def _r2(y: Array, p: Floats, w: Floats | None) -> float:
    from sklearn.metrics import r2_score

    kept = y if w is None else y[w > 0]
    if len(kept) < 2 or kept.min() == kept.max():
        return float("nan")
    return float(r2_score(y, p, sample_weight=w))


def _has_both(y: Array, w: Floats | None) -> bool:
    kept = y if w is None else y[w > 0]
    return bool(kept.min() != kept.max())


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _checked_weights(weights: Array | None, rows: int) -> Floats | None:
    if weights is None:
        return None
    w = np.asarray(weights, dtype=np.float64)
    if w.shape != (rows,) or not np.isfinite(w).all() or (w < 0).any():
        raise EvaluationError("weights are not one finite number, 0 or more, for each row")
    return w


def _checked_numbers(labels: Array) -> Floats:
    y = np.asarray(labels, dtype=np.float64)
    if not np.isfinite(y).all():
        raise EvaluationError(f"{int((~np.isfinite(y)).sum()):,} labels are not finite")
    return y


def _checked_probabilities(p: Floats) -> Floats:
    sums = p.sum(axis=1) if p.ndim == 2 and p.size else np.ones(1)
    low, high = (p.min(), p.max()) if p.size else (0.0, 1.0)
    if low < -_TOLERANCE or high > 1 + _TOLERANCE or np.abs(sums - 1).max() > _TOLERANCE * 10:
        raise EvaluationError(
            "predictions are not probabilities",
            found=f"values from {low:.4g} to {high:.4g}",
            expected="0 to 1, and for several classes a sum of 1",
        )
    return np.clip(p, 0.0, 1.0)


def _binary(labels: Array) -> NDArray[np.int64]:
    if not np.isin(labels, (0, 1)).all():
        strange = np.unique(labels[~np.isin(labels, (0, 1))])[:5]
        raise EvaluationError("labels of a binary task are not 0 or 1", found=list(strange))
    return labels.astype(np.int64)


def _class_numbers(labels: Array, classes: Sequence[str]) -> NDArray[np.int64]:
    names = np.asarray(classes, dtype=object)
    order = np.argsort(names.astype(str))
    sorted_names = names.astype(str)[order]
    text = labels.astype(str)
    position = np.clip(np.searchsorted(sorted_names, text), 0, max(len(names) - 1, 0))
    known = sorted_names[position] == text if len(names) else np.zeros(len(text), dtype=bool)
    if not known.all():
        strange = np.unique(text[~known])[:5]
        raise EvaluationError("labels are not among the classes", found=list(strange))
    return np.asarray(order[position], dtype=np.int64)
