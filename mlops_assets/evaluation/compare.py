"""Is the challenger at most a margin worse than the champion? By paired bootstrap.

Both models are scored on the same rows, and each resample draws the same rows for both (Efron and
Tibshirani 1993, "An Introduction to the Bootstrap", chapters 6 and 13: percentile interval), so
that what the rows have in common cancels out. Non-inferiority: the one-sided confidence bound of
the difference must lie on the good side of the margin (Walker and Nowacki 2011, "Understanding
Equivalence and Noninferiority Testing"). Rows of one entity are not independent: give ``groups``,
and whole entities are drawn (Cameron, Gelbach and Miller 2008, "Bootstrap-Based Improvements for
Inference with Clustered Errors", the pairs cluster bootstrap).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlops_assets.config.metrics import METRICS
from mlops_assets.errors import EvaluationError
from mlops_assets.evaluation.metrics import Metric, metric_functions, prepare
from mlops_assets.evaluation.resampling import resample_counts, statistic

Array = NDArray[Any]


@dataclass(frozen=True)
class Comparison:
    """The challenger against the champion, in the metric's own unit.

    Attributes:
        metric: The primary metric.
        goal: Which way is better.
        champion: The champion's value.
        challenger: The challenger's value.
        difference: Challenger minus champion.
        lower: One-sided bound: with ``confidence`` the difference is not below it; ``None`` when
            the metric is undefined in too many resamples to say.
        upper: One-sided bound on the other side.
        confidence: Of each of the bounds; both together hold with ``2 * confidence - 1``.
        resamples: How many resamples were drawn.
        undefined: In how many of them the metric was not defined; they count as the worst.
        units: How many rows or groups each resample drew.
        margin: How much worse the challenger may be, not negative.
        non_inferior: Whether the bound on the bad side is within the margin.
    """

    metric: str
    goal: Literal["increase", "decrease"]
    champion: float
    challenger: float
    difference: float
    lower: float | None
    upper: float | None
    confidence: float
    resamples: int
    undefined: int
    units: int
    margin: float
    non_inferior: bool

    @property
    def worst(self) -> float | None:
        """The bound on the bad side: the difference is at least this good."""
        return self.lower if self.goal == "increase" else self.upper

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe, and what :meth:`from_dict` reads."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Comparison:
        """Read what :meth:`to_dict` wrote."""
        return cls(**document)


def paired_bootstrap(
    task: str,
    metric: str,
    y: Array,
    champion: Array,
    challenger: Array,
    *,
    resamples: int,
    confidence: float,
    margin: float,
    seed: int,
    threshold: float = 0.5,
    classes: Sequence[str] | None = None,
    groups: Array | None = None,
) -> Comparison:
    """Compare two models' predictions of the same rows.

    Args:
        task: ``binary``, ``multiclass`` or ``regression``.
        metric: A metric that fits the task.
        y: Labels (N,).
        champion: The champion's predictions, as in ``metrics.compute_metrics``.
        challenger: The challenger's.
        resamples: Number of resamples.
        confidence: One-sided confidence, such as 0.95.
        margin: How much worse the challenger may be, in the metric's unit.
        seed: Seed of the resamples.
        threshold: Probability from which a binary prediction counts as positive.
        classes: The classes, for ``multiclass``.
        groups: What each row belongs to (N,): numbers from 0 without gaps; rows are drawn one by
            one when not given.

    Raises:
        EvaluationError: The metric is not defined on these rows, or inputs are not usable.
    """
    labels, old = prepare(task, y, champion, classes)
    _, new = prepare(task, y, challenger, classes)
    function = _function(task, metric, threshold)
    values = [_defined(metric, function, labels, p) for p in (old, new)]
    statistics = [statistic(task, metric, labels, p, threshold) for p in (old, new)]
    drawn = [
        statistics[1](counts) - statistics[0](counts)
        for counts in resample_counts(len(labels), resamples, seed, groups)
    ]
    differences = np.concatenate(drawn)
    lower = _bound(differences, 1 - confidence, -np.inf)
    upper = _bound(differences, confidence, np.inf)
    goal = METRICS[metric].goal
    return Comparison(
        metric=metric,
        goal=goal,
        champion=values[0],
        challenger=values[1],
        difference=values[1] - values[0],
        lower=lower,
        upper=upper,
        confidence=confidence,
        resamples=resamples,
        undefined=int(np.isnan(differences).sum()),
        units=len(labels) if groups is None else int(groups.max()) + 1,
        margin=margin,
        non_inferior=_is_non_inferior(goal, lower, upper, margin),
    )


def _function(task: str, metric: str, threshold: float) -> Metric:
    functions = metric_functions(task, threshold)
    if metric not in functions:
        raise EvaluationError(f"{metric} is not a metric for {task}", expected=", ".join(functions))
    return functions[metric]


def _defined(metric: str, function: Metric, y: Array, p: Array) -> float:
    value = function(y, p, None) if len(y) else float("nan")
    if not np.isfinite(value):
        raise EvaluationError(
            f"{metric} is not defined on these rows",
            found=f"{len(y):,} rows",
            expected="enough rows of every kind, such as both classes",
        )
    return value


def _bound(differences: NDArray[np.float64], quantile: float, worst: float) -> float | None:
    """A quantile, with undefined resamples at the far end of that side; never interpolated.

    The rank is rounded outwards, which makes the bound the more careful of the two neighbours.
    """
    ordered = np.sort(np.where(np.isnan(differences), worst, differences))
    rank = quantile * (len(ordered) - 1)
    index = math.floor(rank + 1e-9) if worst < 0 else math.ceil(rank - 1e-9)
    value = float(ordered[index])
    return value if math.isfinite(value) else None


def _is_non_inferior(goal: str, lower: float | None, upper: float | None, margin: float) -> bool:
    if goal == "increase":
        return lower is not None and lower >= -margin
    return upper is not None and upper <= margin
