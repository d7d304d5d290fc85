"""Realised performance of the live model, with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlops_assets.errors import EvaluationError
from mlops_assets.evaluation.metrics import metric_functions, prepare
from mlops_assets.evaluation.resampling import resample_counts, statistic


@dataclass(frozen=True)
class Realised:
    """A metric of labelled requests.

    Attributes:
        metric: Its name.
        value: On all usable rows; None where it is not defined.
        lower: Lower end of the bootstrap interval.
        upper: Upper end.
        rows: Usable rows: with a label, and a finite prediction.
        unusable: Rows whose prediction is missing or no number.
        reason: Why there is no value.
    """

    metric: str
    value: float | None
    lower: float | None
    upper: float | None
    rows: int
    unusable: int = 0
    reason: str = ""


def realised_performance(
    task: str,
    metric: str,
    labels: Any,
    predictions: NDArray[np.float64],
    *,
    classes: Sequence[str] | None = None,
    confidence: float = 0.95,
    resamples: int = 200,
    seed: int = 0,
    threshold: float = 0.5,
) -> Realised:
    """The metric with a percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13).

    Args:
        task: ``binary``, ``multiclass`` or ``regression``.
        metric: One that fits the task.
        labels: Labels (N,) as Arrow or NumPy.
        predictions: Probabilities (N,), or (N, K) in the order of ``classes``, or numbers (N,).
        classes: The classes, for ``multiclass``.
        confidence: Two-sided confidence of the interval.
        resamples: Bootstrap resamples.
        seed: Seed of the resamples.
        threshold: Probability from which a binary prediction counts as positive.
    """
    found = np.asarray(labels)
    finite = np.isfinite(predictions)
    usable = finite.all(axis=1) if predictions.ndim == 2 else finite
    unusable = int((~usable).sum())
    try:
        y, p = prepare(task, found[usable], predictions[usable], classes)
    except EvaluationError as error:
        return Realised(metric, None, None, None, 0, unusable, error.problem)
    if not len(y):
        return Realised(metric, None, None, None, 0, unusable, "there are no labelled requests")
    value = float(metric_functions(task, threshold)[metric](y, p, None))
    if not np.isfinite(value):
        text = "the metric is not defined on these labels"
        return Realised(metric, None, None, None, len(y), unusable, text)
    lower, upper = _interval(task, metric, y, p, (confidence, resamples, seed, threshold))
    return Realised(metric, value, lower, upper, len(y), unusable)


def _interval(
    task: str,
    metric: str,
    y: NDArray[Any],
    p: NDArray[np.float64],
    settings: tuple[float, int, int, float],
) -> tuple[float | None, float | None]:
    confidence, resamples, seed, threshold = settings
    evaluate = statistic(task, metric, y, p, threshold)
    drawn = [evaluate(counts) for counts in resample_counts(len(y), resamples, seed)]
    values = np.concatenate(drawn)
    values = values[np.isfinite(values)]
    if len(values) < resamples / 2:
        return None, None
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(values, [tail, 1 - tail])
    return float(lower), float(upper)


def has_decayed(
    realised: Realised,
    baseline: float,
    max_drop: float,
    goal: Literal["increase", "decrease"],
) -> bool | None:
    """Whether the model is worse than it was, by too much and not by chance.

    Both must hold: the metric is worse than the baseline by more than ``max_drop``, and its
    interval leaves the baseline out, so that noise in a small window starts nothing.

    Returns:
        None when the metric or its interval is not known.
    """
    if realised.value is None or realised.lower is None or realised.upper is None:
        return None
    if goal == "increase":
        return baseline - realised.value > max_drop and realised.upper < baseline
    return realised.value - baseline > max_drop and realised.lower > baseline
