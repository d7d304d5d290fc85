"""``monitoring:`` what is watched while the model is live, and what follows from it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from mlops_assets.config.base import ColumnName, Duration, Fraction, Spec
from mlops_assets.config.evaluation import MetricName
from mlops_assets.config.problems import FieldProblem, FieldProblems, show
from mlops_assets.config.sql import SqlSource
from mlops_assets.config.streams import StreamSource

_PERSISTENCE = re.compile(r"^(\d+) of (\d+)$")

TestName = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[a-z][a-z_]*$")]
StreamFormat = Literal["parquet", "jsonl"]
OnEvidence = Literal["retrain", "alert"]


def _parse_persistence(value: Any) -> tuple[int, int]:
    """Read ``2 of 3``.

    Raises:
        ValueError: The value is not of that form.
    """
    if isinstance(value, tuple):
        return value
    match = _PERSISTENCE.match(str(value).strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= 100:
        raise ValueError('expected "<k> of <m>" windows with 1 ≤ k ≤ m ≤ 100, such as "2 of 3"')
    return int(match[1]), int(match[2])


Persistence = Annotated[
    tuple[int, int],
    BeforeValidator(_parse_persistence),
    PlainSerializer(lambda pair: f"{pair[0]} of {pair[1]}", return_type=str),
    WithJsonSchema({"type": "string", "pattern": _PERSISTENCE.pattern, "examples": ["2 of 3"]}),
]


class FreshnessSpec(Spec):
    """How old an asset may be before the UI shows it as stale (at least one minute)."""

    raw: Duration | None = None
    """Raw data of every source."""
    features: Duration | None = None
    """The features."""
    model: Duration | None = None
    """The trained model."""


def _files_only(value: Any) -> Any:
    if value in ("kafka", "sql"):
        expected = f"files; a topic or a table stands under source: {{type: {value}, …}}"
        raise FieldProblems([FieldProblem((), show(value), expected)])
    return value


class Traffic(Spec):
    """Parquet or JSON-lines files that are added one by one and never changed, or a source."""

    type: Annotated[Literal["files"] | None, BeforeValidator(_files_only)] = None
    """``files``, where it is said."""
    uri: str | None = Field(default=None, min_length=1)
    """Folder or glob. Relative paths start at the project's folder."""
    format: StreamFormat | None = None
    """File format; empty: ``parquet``."""
    source: StreamSource | None = None
    """Instead of ``uri``: a topic, or a table with ``incremental``, as under ``sources``."""

    @model_validator(mode="after")
    def _one_of_files_and_source(self) -> Self:
        problems = []
        if (self.uri is None) == (self.source is None):
            found = "neither" if self.uri is None else "both"
            problems.append(FieldProblem(("uri",), found, "one of `uri` and `source`"))
        if self.source is not None:
            problems += [
                FieldProblem((name,), str(getattr(self, name)), "nothing, beside a source")
                for name in ("type", "format")
                if getattr(self, name) is not None
            ]
        if self.source is not None and self.source.partitions is not None:
            expected = "nothing: live traffic is taken as it comes"
            problems.append(FieldProblem(("source", "partitions"), "partitions", expected))
        elif isinstance(self.source, SqlSource) and self.source.incremental is None:
            expected = "`incremental`: rows are taken as they come"
            problems.append(FieldProblem(("source", "incremental"), "none", expected))
        if problems:
            raise FieldProblems(problems)
        return self


class InferenceLogSpec(Traffic):
    """The live model's requests and answers; inputs under the names that the model knows."""

    request_id: ColumnName = "request_id"
    """Column that identifies a request; a repeated one counts once."""
    time: ColumnName = "time"
    """Column with the moment of the prediction (timestamp, or text in ISO 8601; UTC)."""
    prediction: ColumnName = "prediction"
    """Column with the answer: a probability, a number, or a list with one probability a class."""
    model_version: ColumnName = "model_version"
    """Column with the version that answered, as Triton numbers it."""
    variant: ColumnName = "variant"
    """Column with the arm of an experiment; may be absent."""
    latency_ms: ColumnName = "latency_ms"
    """Column with the time that the answer took, in milliseconds; may be absent."""

    @property
    def own_columns(self) -> dict[str, str]:
        """Column by field, for every column that is not an input."""
        names = ("request_id", "time", "prediction", "model_version", "variant", "latency_ms")
        return {name: getattr(self, name) for name in names}


class LabelsSpec(Traffic):
    """True answers, which arrive late; the label's column is the one under ``features``."""

    join: Literal["request_id", "entity"] = "request_id"
    """Whether a label belongs to a request or to an entity (which the log must then hold too)."""
    min_share: Fraction = 0.8
    """Performance of a window is judged when this share of its mature rows has a label; labels
    that are missing for longer are reported as late."""


class WindowSpec(Spec):
    """Division of the log into windows, by event time and aligned to 1970-01-01 UTC."""

    every: Duration = timedelta(days=1)
    """Length of a window."""
    min_rows: int = Field(default=1000, ge=20)
    """A window with fewer rows is *insufficient*: it neither proves nor disproves anything."""
    allowed_lateness: Duration = timedelta(0)
    """A window closes when the log holds a request this much younger than its end."""
    sample: int = Field(default=5000, ge=100, le=1_000_000)
    """Rows of a window, drawn with a fixed seed, on which statistical tests run, so that their
    verdicts do not depend on the traffic's volume."""


class QualitySpec(Spec):
    """When live inputs are bad data. Bad data page the owner and never retrain."""

    max_missing_increase: Fraction = 0.2
    """Largest growth of an input's missing share over the reference, in absolute terms."""
    max_unseen_share: Fraction = 0.5
    """Largest share of a categorical input's values that the reference does not hold."""


class DriftSpec(Spec):
    """When inputs or predictions count as drifted."""

    tests: TestName | dict[ColumnName, TestName] = "auto"
    """``auto`` (by kind and cardinality), one test for all, or a test by column: ``psi``,
    ``jensen_shannon``, ``wasserstein``, ``kolmogorov_smirnov``, ``chi_square``."""
    thresholds: dict[TestName, float] = {}  # noqa: RUF012 - pydantic copies defaults
    """Effect size by test from which a column may count as drifted, in place of its default."""
    fdr: Fraction = 0.05
    """Accepted share of false discoveries among the drifted columns (Benjamini-Hochberg)."""
    min_share: Fraction = 0.3
    """Inputs have drifted when columns with this share of the model's importance did."""
    multivariate: bool = False
    """Also train a classifier that tells the window from training rows (``domain_classifier``);
    with ``reference: training`` only."""
    persist: Persistence = (2, 3)
    """Drift counts when it was seen in ``k of m`` windows."""
    on_drift: OnEvidence = "retrain"
    """What drift leads to."""


class PerformanceSpec(Spec):
    """When the live model's answers are worse than they were."""

    metric: MetricName | None = None
    """The metric; by default the primary one."""
    max_drop: float = Field(default=0.03, gt=0)
    """How much worse than on the champion's test rows, in the metric's unit, is too much."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence of the bootstrap interval that must exclude the old value as well."""
    persist: Persistence = (1, 1)
    """A loss counts when it was seen in ``k of m`` windows."""
    on_decay: OnEvidence = "retrain"
    """What a loss leads to."""


class MonitoringSpec(Spec):
    """What is watched."""

    inference_log: InferenceLogSpec | None = None
    """Requests and answers of the live model. Without them nothing below is watched."""
    labels: LabelsSpec | None = None
    """True answers. Without them performance is only estimated."""
    reference: Literal["training", "previous_window", "same_weekday", "same_hour"] = "training"
    """What a window is compared with: the training rows of the model that answered, or an earlier
    window (for seasonal data: of the same weekday, or of the same hour of the day)."""
    window: WindowSpec = WindowSpec()
    """Windows."""
    quality: QualitySpec = QualitySpec()
    """Bad data."""
    drift: DriftSpec = DriftSpec()
    """Drift."""
    performance: PerformanceSpec = PerformanceSpec()
    """Performance."""
    freshness: FreshnessSpec = FreshnessSpec()
    """Ages that are still fresh."""
