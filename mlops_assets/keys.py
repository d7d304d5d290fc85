"""Names of everything a project owns: asset keys, groups, collections, Triton models.

The only module that spells them. Nothing here imports Dagster: an asset key is its path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NAME_PATTERN = r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$"
_NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True, order=True)
class ProjectId:
    """A project: the folder names ``<team>/<name>`` under ``project_configs``.

    Both are lower-case words joined by single underscores, so that ``team__name`` can be taken
    apart again and no name can climb out of a folder.

    Raises:
        ValueError: A name is not of that form.
    """

    team: str
    name: str

    def __post_init__(self) -> None:
        for part in (self.team, self.name):
            if not _NAME.match(part) or len(part) > 60:
                raise ValueError(
                    f"{part!r} is not a usable name: lower-case letters and digits, words joined "
                    "by single underscores, at most 60 characters"
                )

    @classmethod
    def parse(cls, text: str) -> ProjectId:
        """Read ``team/name``.

        Raises:
            ValueError: The text is not of that form.
        """
        team, slash, name = text.strip("/").partition("/")
        if not slash:
            raise ValueError(f"{text!r} is not a project: write it as <team>/<project>")
        return cls(team, name)

    def __str__(self) -> str:
        return f"{self.team}/{self.name}"

    @property
    def run_tags(self) -> dict[str, str]:
        """Tags of every run of the project; the queue counts by :data:`PROJECT_TAG`."""
        return {"team": self.team, "project": self.name, PROJECT_TAG: str(self)}

    @property
    def group(self) -> str:
        """Dagster asset group."""
        return f"{self.team}__{self.name}"

    @property
    def triton_model(self) -> str:
        """Name under which clients call the served model."""
        return f"{self.team}__{self.name}"

    @property
    def triton_candidate(self) -> str:
        """Name under which a candidate is verified before clients can reach it."""
        return f"{self.team}__{self.name}__candidate"

    def raw_key(self, source: str) -> list[str]:
        """Asset key of one raw source."""
        return [self.team, self.name, "raw", source]

    def landing_key(self, source: str) -> list[str]:
        """Asset key of the slices of one growing source."""
        return [self.team, self.name, "landing", source]

    @property
    def features_key(self) -> list[str]:
        """Asset key of the features."""
        return [self.team, self.name, "features"]

    @property
    def model_key(self) -> list[str]:
        """Asset key of the trained model."""
        return [self.team, self.name, "model"]

    @property
    def evaluation_key(self) -> list[str]:
        """Asset key of the evaluation."""
        return [self.team, self.name, "evaluation"]

    @property
    def deployment_key(self) -> list[str]:
        """Asset key of the deployment."""
        return [self.team, self.name, "deployment"]

    @property
    def inference_log_key(self) -> list[str]:
        """Asset key of the live model's requests and answers."""
        return [self.team, self.name, "inference_log"]

    @property
    def labels_key(self) -> list[str]:
        """Asset key of the true answers."""
        return [self.team, self.name, "labels"]

    @property
    def monitoring_key(self) -> list[str]:
        """Asset key of the window reports."""
        return [self.team, self.name, "monitoring"]

    @property
    def retrain_decision_key(self) -> list[str]:
        """Asset key of the retrain decisions."""
        return [self.team, self.name, "retrain_decision"]

    def raw_collection(self, source: str) -> str:
        """Store collection of one raw source."""
        return f"{self.team}/{self.name}/raw/{source}"

    def landing_collection(self, source: str) -> str:
        """Store collection of the slices of one growing source."""
        return f"{self.team}/{self.name}/landing/{source}"

    def revisions_collection(self, source: str) -> str:
        """Store collection of the slices of one growing source that were taken again."""
        return f"{self.team}/{self.name}/revisions/{source}"

    def partition_set(self, source: str) -> str:
        """Name under which Dagster keeps the partitions of a source that is taken by offsets."""
        return f"{self.team}/{self.name}/{source}"

    def gaps_prefix(self, source: str) -> str:
        """Prefix of the records of what one growing source lost before it was taken."""
        return f"{self.team}/{self.name}/gaps/{source}"

    @property
    def features_collection(self) -> str:
        """Store collection of the features."""
        return f"{self.team}/{self.name}/features"

    @property
    def feature_parts_collection(self) -> str:
        """Store collection of the parts that features of growing sources consist of."""
        return f"{self.team}/{self.name}/feature_parts"

    @property
    def bundles_collection(self) -> str:
        """Store collection of the model bundles."""
        return f"{self.team}/{self.name}/bundles"

    @property
    def evaluations_collection(self) -> str:
        """Store collection of the evaluation results."""
        return f"{self.team}/{self.name}/evaluations"

    def segments_collection(self, stream: str) -> str:
        """Store collection of the inference log or of the labels."""
        return f"{self.team}/{self.name}/{stream}"

    def records_prefix(self, kind: str) -> str:
        """Prefix of the records of one kind: ``windows``, ``performance``, ``decisions``, …"""
        return f"{self.team}/{self.name}/monitoring/{kind}"

    @property
    def ledger_prefix(self) -> str:
        """Prefix of the deployment ledger's entries in the store."""
        return f"{self.team}/{self.name}/ledger"


PROMOTION_CHECK = "promotion"
"""Name of the blocking check that carries the evaluation's verdict."""

DATA_QUALITY_CHECK = "data_quality"
"""Name of the check on live inputs; it fails with severity ERROR and pages the owner."""

DRIFT_CHECK = "drift"
"""Name of the check on the distribution of live inputs and predictions."""

PERFORMANCE_CHECK = "performance"
"""Name of the check on the live model's realised performance."""

LABELS_CHECK = "labels"
"""Name of the check on labels that should be there."""

FILES_CHECK = "files"
"""Name of the check on the files of the inference log and of the labels."""

GAPS_CHECK = "no_gaps"
"""Name of the check that fails when a growing source lost data before they were taken."""

DEAD_LETTERS_CHECK = "no_dead_letters"
"""Name of the check that warns when part of a slice could not be read."""

INTAKE_CHECK = "intake"
"""Name of the check that fails when a growing source is away or its rows cannot be taken."""

DEPLOYMENT_CHECK = "deployment"
"""Name of the check that says whether a deployment succeeded."""

NEEDS_PEOPLE_CHECK = "needs_people"
"""Name of the check that fails when the retrain policy cannot go on by itself."""

DECISION_TAG = "mlops/decision"
"""Run tag: the retrain decision that the run carries out."""

LANDING_TAG = "mlops/landing"
"""Run tag: the growing source whose slices the run takes."""

PROJECT_TAG = "mlops/project"
"""Run tag: ``<team>/<project>``, by which the queue limits runs; ``<team>/*`` for several projects.

Names of projects alone are not enough: two teams may have one of the same name."""

CAUSE_TAG = "mlops/cause"
"""Run tag: why the engine started the run."""

GPU_POOL = "gpu"
"""Dagster pool of the trainings that use a GPU."""

DEPLOY_POOL = "triton_deploy"
"""Dagster pool of the deployments: a model server takes one at a time."""

LIFECYCLE_JOB = "lifecycle"
"""The one parameterised job of a code location: any project's assets."""

ACCEPTED_VERDICTS = frozenset({"promote", "unchanged"})
"""Verdicts of an evaluation that let the deployment go on."""
