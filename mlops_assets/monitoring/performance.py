"""Realised performance of the live model, with its uncertainty.

What cannot be judged is a value of None with its reason, never an exception: missing evidence is
neither good nor bad news.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlops_assets.config.metrics import METRICS
from mlops_assets.errors import EvaluationError
from mlops_assets.evaluation.calibration import equal_mass_bins
from mlops_assets.evaluation.metrics import Metric, metric_functions, prepare
from mlops_assets.evaluation.resampling import resample_counts, statistic

Array = NDArray[Any]
Floats = NDArray[np.float64]

MIN_ROWS = 20
"""Fewer rows have no value, and fewer units to resample no interval."""
MAX_RESAMPLED = 50_000
"""Units that resamples are drawn from; of more, so many are drawn once."""
_MIN_OF_A_CLASS = 100


@dataclass(frozen=True)
class Realised:
    """A metric of labelled requests.

    Attributes:
        metric: Its name.
        value: On all usable rows; None where it is not defined.
        lower: Lower end of the bootstrap interval.
        upper: Upper end.
        rows: Usable rows: with a label, and a finite prediction.
        unusable: Labelled rows whose prediction is missing or no number.
        reason: Why there is no value.
    """

    metric: str
    value: float | None
    lower: float | None
    upper: float | None
    rows: int
    unusable: int = 0
    reason: str = ""


@dataclass(frozen=True)
class _Evidence:
    """Prepared labels and predictions, and what is resampled."""

    task: str
    metric: str
    y: Array
    p: Floats
    groups: NDArray[np.int64] | None
    threshold: float

    @property
    def function(self) -> Metric:
        return metric_functions(self.task, self.threshold)[self.metric]

    @property
    def units(self) -> int:
        return len(self.y) if self.groups is None else int(self.groups.max()) + 1

    def only(self, kept: NDArray[np.int64]) -> _Evidence:
        """With these units only."""
        if self.groups is None:
            return _Evidence(
                self.task, self.metric, self.y[kept], self.p[kept], None, self.threshold
            )
        rows = np.isin(self.groups, kept)
        groups = np.unique(self.groups[rows], return_inverse=True)[1]
        return _Evidence(self.task, self.metric, self.y[rows], self.p[rows], groups, self.threshold)


def realised_performance(
    task: str,
    metric: str,
    labels: Any,
    predictions: Any,
    *,
    classes: Sequence[str] | None = None,
    confidence: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
    threshold: float = 0.5,
    groups: Array | None = None,
) -> Realised:
    """The metric with a bootstrap interval (Efron and Tibshirani 1993, chapter 13: percentile).

    The lower end of a calibration error is what chance alone cannot explain.
    A class that only the labels name is one to which the model gives probability 0, as in the
    evaluation. Of more than :data:`MAX_RESAMPLED` rows or groups, so many are resampled, and the
    interval's distance from the value shrinks with the root of their share (Politis, Romano and
    Wolf 1999, "Subsampling", chapter 2).

    Args:
        task: ``binary``, ``multiclass`` or ``regression``.
        metric: One that fits the task.
        labels: Labels (N,) as Arrow or NumPy, as the features have them; null where unknown.
        predictions: Probabilities (N,), or (N, K) in the order of ``classes``, or numbers (N,).
        classes: The classes, for ``multiclass``.
        confidence: Two-sided confidence of the interval.
        resamples: Bootstrap resamples.
        seed: Seed of the resamples.
        threshold: Probability from which a binary prediction counts as positive.
        groups: What each row belongs to (N,); whole groups are drawn then.
    """
    if metric not in metric_functions(task, threshold):
        return _nothing(metric, f"{metric} is not a metric for {task}")
    try:
        y, p, kept, unusable = _usable(task, labels, predictions)
    except EvaluationError as error:
        return _nothing(metric, error.problem)
    if not len(y):
        return _nothing(metric, "there are no labelled requests", unusable=unusable)
    if task == "multiclass":
        classes, p = _with_all_classes(list(classes or ()), y, p)
    try:
        y, p = prepare(task, y, p, classes)
    except EvaluationError as error:
        return _nothing(metric, error.problem, unusable=unusable)
    numbers = None if groups is None else np.unique(groups[kept], return_inverse=True)[1]
    evidence = _Evidence(task, metric, y, p, numbers, threshold)
    value = float(evidence.function(y, p, None))
    if not np.isfinite(value):
        text = "the metric is not defined on these labels"
        return _nothing(metric, text, len(y), unusable)
    if len(y) < MIN_ROWS:
        text = f"{len(y)} labelled requests are too few: it takes {MIN_ROWS}"
        return _nothing(metric, text, len(y), unusable)
    lower, upper = _interval(evidence, value, confidence, resamples, seed)
    return Realised(metric, value, lower, upper, len(y), unusable)


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
        None when the metric, its interval or the baseline is not known.
    """
    if realised.value is None or realised.lower is None or realised.upper is None:
        return None
    if not np.isfinite(baseline):
        return None
    if goal == "increase":
        return baseline - realised.value > max_drop and realised.upper < baseline
    return realised.value - baseline > max_drop and realised.lower > baseline


def _nothing(metric: str, reason: str, rows: int = 0, unusable: int = 0) -> Realised:
    return Realised(metric, None, None, None, rows, unusable, reason)


def _usable(
    task: str, labels: Any, predictions: Any
) -> tuple[Array, Floats, NDArray[np.int64], int]:
    """Labels and predictions of the rows that have both, their places, and rows without the latter.

    Raises:
        EvaluationError: Labels are of another kind, or as many as no predictions.
    """
    y, known = _label_array(task, labels)
    p = np.asarray(predictions, dtype=np.float64)
    if task != "multiclass" and p.ndim == 2 and p.shape[1] == 1:
        p = p[:, 0]
    if len(p) != len(y):
        raise EvaluationError(
            "there are not as many predictions as labels", found=len(p), expected=len(y)
        )
    finite = np.isfinite(p).all(axis=1) if p.ndim == 2 else np.isfinite(p)
    kept = np.flatnonzero(known & finite)
    return y[kept], p[kept], kept, int((known & ~finite).sum())


def _label_array(task: str, labels: Any) -> tuple[Array, NDArray[np.bool_]]:
    """Labels as training reads them, texts or numbers, and which of them are known."""
    import pyarrow as pa

    is_arrow = isinstance(labels, (pa.Array, pa.ChunkedArray))
    try:
        column = labels if is_arrow else pa.array(np.asarray(labels), from_pandas=True)
        column = column.cast(pa.large_string() if task == "multiclass" else pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise EvaluationError(
            "labels are not of the task's kind", found=type(labels), expected=task
        ) from error
    known = column.is_valid().to_numpy(zero_copy_only=False)
    values: Array = column.to_numpy(zero_copy_only=False)
    return values, known if task == "multiclass" else known & ~np.isnan(values)


def _with_all_classes(classes: list[str], y: Array, p: Floats) -> tuple[list[str], Floats]:
    new = sorted(set(y.tolist()) - set(classes))
    if not new or p.ndim != 2:
        return classes, p
    return [*classes, *new], np.hstack([p, np.zeros((len(p), len(new)))])


def _interval(
    evidence: _Evidence, value: float, confidence: float, resamples: int, seed: int
) -> tuple[float | None, float | None]:
    """Both ends; None when most resamples leave the metric undefined, or units are too few."""
    if evidence.units < MIN_ROWS:
        return None, None
    drawn = _subsample(evidence, seed)
    centre = float(drawn.function(drawn.y, drawn.p, None))
    evaluate = statistic(drawn.task, drawn.metric, drawn.y, drawn.p, drawn.threshold)
    blocks = resample_counts(len(drawn.y), resamples, seed, drawn.groups)
    values = np.concatenate([evaluate(counts) for counts in blocks])
    values = values[np.isfinite(values)]
    if len(values) < resamples / 2:
        return None, None
    tail = (1 - confidence) / 2
    below, above = np.quantile(values, [tail, 1 - tail]) - centre
    if evidence.metric == "calibration_error":
        below = -_chance_error(drawn.p, 1 - tail, resamples, seed)
    scale = np.sqrt(drawn.units / evidence.units)
    return _within(evidence.metric, value + scale * below, value + scale * above)


def _within(metric: str, lower: float, upper: float) -> tuple[float, float]:
    """Ends that a share can have."""
    if not METRICS[metric].is_share:
        return float(lower), float(upper)
    return float(max(0.0, lower)), float(min(1.0, upper))


def _chance_error(p: Floats, quantile: float, resamples: int, seed: int) -> float:
    """A quantile of the calibration error that a perfectly calibrated model shows on such rows.

    The error is never negative, so chance only adds to it, and resampling adds once more: a
    percentile interval would leave a perfect model out (Roelofs et al. 2022).
    """
    number = equal_mass_bins(p)
    order = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    probability = p[order]
    rng = np.random.default_rng(seed)
    errors = []
    for _ in range(resamples):
        gaps = (rng.random(len(p)) < probability) - probability
        errors.append(np.abs(np.add.reduceat(gaps, starts)).sum() / len(p))
    return float(np.quantile(errors, quantile))


def _subsample(evidence: _Evidence, seed: int) -> _Evidence:
    """At most :data:`MAX_RESAMPLED` units; all of them where a class would become too rare."""
    if evidence.units <= MAX_RESAMPLED:
        return evidence
    chosen = np.random.default_rng(seed).choice(evidence.units, MAX_RESAMPLED, replace=False)
    drawn = evidence.only(np.sort(chosen))
    if evidence.task == "regression":
        return drawn
    counts = np.bincount(drawn.y, minlength=int(evidence.y.max()) + 1)
    present = np.bincount(evidence.y) > 0
    return drawn if counts[present].min() >= _MIN_OF_A_CLASS else evidence
