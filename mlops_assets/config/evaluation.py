"""``evaluation:`` on which rows, by which metrics, and when a challenger wins."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from mlops_assets.config.base import ColumnName, Duration, Fraction, Spec
from mlops_assets.config.metrics import METRICS
from mlops_assets.config.problems import FieldProblem, FieldProblems, nearest, one_of, show


def _known_metric(name: str) -> str:
    if name not in METRICS:
        known = sorted(METRICS)
        raise FieldProblems([FieldProblem((), repr(name), one_of(known), nearest(name, known))])
    return name


MetricName = Annotated[
    str, AfterValidator(_known_metric), Field(json_schema_extra={"enum": sorted(METRICS)})
]


_PERCENTAGE = r"^\d+(\.\d+)?%$"
MIN_TAIL = 5
"""Resamples beyond a bound; with fewer, the bound is next to the most extreme resample."""


def _margin(value: Any) -> Any:
    """A number, or a percentage with or without a space; ``true`` is not 1."""
    text = str(value).replace(" ", "")
    if isinstance(value, str) and re.match(_PERCENTAGE, text):
        return text
    if isinstance(value, bool) or not _is_finite(value):
        expected = 'a number such as 0.002, or a percentage of the champion\'s value such as "1%"'
        raise FieldProblems([FieldProblem((), show(value), expected)])
    return value


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


Margin = Annotated[float | Annotated[str, Field(pattern=_PERCENTAGE)], BeforeValidator(_margin)]
Bound = Annotated[float, Field(allow_inf_nan=False)]


class SplitSpec(Spec):
    """How rows are divided into training, validation and test rows."""

    by: Literal["time", "entity"] = "time"
    """``time``: the newest rows are the test rows; ``entity``: by a hash of the entity and
    ``training.seed``, so that an entity is only ever on one side."""
    test: Duration | Fraction = 0.2
    """Test rows: a span of time such as ``14d`` (``by: time`` only), or a fraction."""
    validation: Fraction = 0.1
    """Fraction of the remaining rows on which early stopping looks; the newest with
    ``by: time``."""

    @model_validator(mode="after")
    def _span_needs_time(self) -> SplitSpec:
        if self.by == "entity" and not isinstance(self.test, float):
            expected = "a fraction such as 0.2 (a span needs `by: time`)"
            raise FieldProblems([FieldProblem(("test",), "a span of time", expected)])
        return self


class PrimarySpec(Spec):
    """The metric that decides between champion and challenger."""

    metric: MetricName
    """Its name."""
    goal: Literal["increase", "decrease"] | None = None
    """Which way is better; known for every metric, so only needed for emphasis."""

    @model_validator(mode="after")
    def _goal_fits(self) -> PrimarySpec:
        known = METRICS[self.metric].goal
        if self.goal is not None and self.goal != known:
            expected = f"{known}: {self.metric} is better when it {known}s"
            raise FieldProblems([FieldProblem(("goal",), self.goal, expected)])
        return self


class GateSpec(Spec):
    """A bound that every promoted model must keep on the test rows."""

    metric: MetricName
    """Its name."""
    min: Bound | None = None
    """Lowest accepted value."""
    max: Bound | None = None
    """Highest accepted value."""

    @model_validator(mode="after")
    def _has_a_bound(self) -> GateSpec:
        if self.min is None and self.max is None:
            raise FieldProblems([FieldProblem((), "a gate without a bound", "min, max or both")])
        return self


class PromotionSpec(Spec):
    """When a challenger replaces the champion."""

    non_inferior_within: Margin = "1%"
    """How much worse the challenger may be in the primary metric: in the metric's own unit, or
    as a percentage of the champion's value."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """One-sided confidence that it is not worse than that."""
    resamples: int = Field(default=500, ge=50, le=100_000)
    """Paired bootstrap resamples of the test rows."""
    if_champion_unavailable: Literal["block", "promote"] = "block"
    """What to do when the champion cannot be evaluated on the same rows."""

    @model_validator(mode="after")
    def _enough_resamples(self) -> PromotionSpec:
        needed = math.ceil(MIN_TAIL / (1 - self.confidence) - 1e-6)
        if self.resamples < needed:
            expected = f"at least {needed} for a confidence of {self.confidence:g}"
            raise FieldProblems([FieldProblem(("resamples",), show(self.resamples), expected)])
        return self


class EvaluationSpec(Spec):
    """On which rows, by which metrics, and when a challenger wins."""

    split: SplitSpec = SplitSpec()
    """Division of the rows."""
    primary: PrimarySpec | None = None
    """The deciding metric; by task: ``roc_auc``, ``log_loss`` or ``rmse``."""
    gates: tuple[GateSpec, ...] = ()
    """Bounds that a model must keep to be promoted."""
    slices: tuple[ColumnName, ...] = Field(default=(), max_length=50)
    """Columns of the query's output; metrics are also shown for each of their values."""
    min_rows: int = Field(default=100, ge=1)
    """Fewer test rows than this are no evidence: nothing is promoted."""
    decision_threshold: Fraction = 0.5
    """Probability from which a binary prediction counts as positive."""
    promote_if: PromotionSpec = PromotionSpec()
    """When a challenger replaces the champion."""
