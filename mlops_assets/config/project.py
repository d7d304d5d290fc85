"""``ProjectSpec``: one ML product, as a team writes it in ``defs.yaml``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from mlops_assets.config.automation import AutomationSpec
from mlops_assets.config.base import ColumnName, Spec
from mlops_assets.config.compute import ComputeSpec
from mlops_assets.config.cross_field import FEATURES as FEATURES  # noqa: PLC0414 - re-exported
from mlops_assets.config.cross_field import find_problems
from mlops_assets.config.deployment import DeploymentSpec, TritonDeployment
from mlops_assets.config.evaluation import EvaluationSpec, PrimarySpec
from mlops_assets.config.expectations import ExpectationSpec
from mlops_assets.config.features import FeaturesSpec
from mlops_assets.config.metrics import DEFAULT_PRIMARY, Task
from mlops_assets.config.model import MlpModel, ModelSpec
from mlops_assets.config.monitoring import MonitoringSpec
from mlops_assets.config.problems import FieldProblems, Location
from mlops_assets.config.sources import SourceSpec
from mlops_assets.config.spark import SparkSpec
from mlops_assets.config.streams import STREAMS, stream_source
from mlops_assets.config.training import TrainingSpec
from mlops_assets.keys import ProjectId

Owner = Annotated[
    str,
    StringConstraints(pattern=r"^(team:[A-Za-z0-9_.-]+|[^@\s]+@[^@\s]+\.[^@\s]+)$"),
]
SourceName = Annotated[ColumnName, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]


class ProjectSpec(Spec):
    """One ML product: from raw data to a served model."""

    description: str = Field(min_length=1)
    """What the model answers, in one sentence."""
    owners: tuple[Owner, ...] = Field(default=(), max_length=20)
    """E-mail addresses or ``team:<name>``."""
    tags: dict[str, str] = {}  # noqa: RUF012 - pydantic copies defaults
    """Dagster tags for every asset of the project."""
    task: Task
    """What kind of answer: ``binary``, ``multiclass`` or ``regression``."""
    sources: dict[SourceName, SourceSpec] = Field(min_length=1)
    """Raw data, by name."""
    checks: dict[str, tuple[ExpectationSpec, ...]] = {}  # noqa: RUF012 - pydantic copies defaults
    """Great Expectations by source name, or under ``features``."""
    features: FeaturesSpec
    """The query that makes the model's rows."""
    model: ModelSpec = MlpModel()
    """The model family."""
    training: TrainingSpec = TrainingSpec()
    """How the model is fitted."""
    evaluation: EvaluationSpec = EvaluationSpec()
    """How it is judged."""
    deployment: DeploymentSpec = TritonDeployment()
    """Where it is served."""
    monitoring: MonitoringSpec = MonitoringSpec()
    """What is watched."""
    automation: AutomationSpec = AutomationSpec()
    """What happens by itself."""
    compute: ComputeSpec = ComputeSpec()
    """Where its runs execute."""
    spark: SparkSpec | None = None
    """Where its data are transformed; by default as the team's ``team.yaml`` says, or here."""

    @property
    def primary(self) -> PrimarySpec:
        """The deciding metric, defaulted by task."""
        return self.evaluation.primary or PrimarySpec(metric=DEFAULT_PRIMARY[self.task])

    @property
    def is_monitored(self) -> bool:
        """Whether an inference log is declared."""
        return self.monitoring.inference_log is not None

    @property
    def retrains_on_decision(self) -> bool:
        """Whether a live model is retrained by decisions, not by every new byte."""
        chosen = self.automation.retrain_on
        return self.is_monitored if chosen is None else chosen == "decision"

    @property
    def trains_on_gpu(self) -> bool:
        """Whether a training takes a GPU for itself."""
        return self.compute.gpus > 0 or self.training.devices == "cuda"

    @property
    def watched_metric(self) -> str:
        """The metric by which live performance is judged."""
        return self.monitoring.performance.metric or self.primary.metric

    @property
    def growing(self) -> list[str]:
        """Names of everything that is taken in slices: sources, the log and the labels."""
        return [name for name, _, source in self.every_source() if source.slices is not None]

    def every_source(self) -> Iterator[tuple[str, Location, SourceSpec]]:
        """Every source, those of the log and the labels included: name, place and spec."""
        for name, source in self.sources.items():
            yield name, ("sources", name), source
        for name in STREAMS:
            found = stream_source(self, name)
            if found is not None:
                yield name, ("monitoring", name, "source"), found

    def source(self, name: str) -> SourceSpec:
        """A source by its name, or that of the log or the labels.

        Raises:
            KeyError: There is none of that name.
        """
        return stream_source(self, name) or self.sources[name]

    @model_validator(mode="after")
    def _parts_fit_together(self) -> ProjectSpec:
        problems = find_problems(self)
        if problems:
            raise FieldProblems(problems)
        return self


@dataclass(frozen=True)
class Project:
    """A valid project.

    Attributes:
        id: Team and name, from the folders.
        spec: The spec, with environment references resolved: never store or print it whole.
        directory: The project's folder.
        written: The attributes as written, environment references unresolved: safe to store.
        files: Text of the files that the YAML names, as they were when the project was loaded: a
            run uses this snapshot, whatever is edited meanwhile.
        binaries: The same of files that are not text.
    """

    id: ProjectId
    spec: ProjectSpec
    directory: Path
    written: dict[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)
    binaries: Mapping[str, bytes] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Text of a file that the YAML names, such as the query."""
        if name in self.files:
            return self.files[name]
        return (self.directory / name).read_text(encoding="utf-8")

    def content(self, name: str) -> bytes:
        """Bytes of a file that the YAML names, such as a schema."""
        found = self.binaries.get(name)
        return self.text(name).encode() if found is None else found

    @property
    def source_keys(self) -> list[list[str]]:
        """Asset keys of all raw data, and of the slices of growing sources before them."""
        keys = []
        for name, source in self.spec.sources.items():
            if source.slices is not None:
                keys.append(self.id.landing_key(name))
            keys.append(self.id.raw_key(name))
        return keys
