"""``compute:`` where a project's runs execute, with how much, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from mlops_assets.config.base import Duration, Spec, VariableName
from mlops_assets.config.problems import FieldProblem

if TYPE_CHECKING:
    from mlops_assets.config.project import ProjectSpec

MIN_TIMEOUT = timedelta(minutes=1)
Launcher = Literal["process", "docker", "ecs", "kubernetes"]


class ComputeSpec(Spec):
    """Where the project's runs execute. The default is a process beside the team's code server."""

    launcher: Launcher = "process"
    """What starts a run; the Dagster instance must have it (`deploy/dagster/dagster.yaml`)."""
    cpu: float | None = Field(default=None, gt=0, le=1024)
    """CPU cores of a run's container."""
    memory: str | None = Field(default=None, pattern=r"^[1-9]\d*(Mi|Gi)$")
    """Memory of a run's container, such as ``8Gi``."""
    gpus: int = Field(default=0, ge=0, le=64)
    """GPUs of a run; with one or more, trainings take turns in the pool ``gpu``."""
    image: str | None = Field(default=None, min_length=1, max_length=500)
    """Container image; by default the one that the instance or the code server names."""
    environment: tuple[VariableName, ...] = Field(default=(), max_length=100)
    """Names of the daemon's environment variables that a run's container gets too; never those of
    Dagster's database, and none that the instance does not allow."""
    max_retries: int | None = Field(default=None, ge=0, le=10)
    """How often a run whose worker died is started again; by default as the instance says."""
    timeout: Duration | None = None
    """A run that takes longer is stopped and fails for good; at least one minute, by default as
    the instance says."""

    @property
    def is_default(self) -> bool:
        """Whether nothing was asked for."""
        return self == ComputeSpec()


def find_compute_problems(spec: ProjectSpec) -> Iterator[FieldProblem]:
    """Wishes that the chosen launcher cannot fulfil, and contradictions to the training."""
    compute = spec.compute
    if compute.launcher == "process":
        for name in ("cpu", "memory", "image", "environment"):
            if value := getattr(compute, name):
                yield FieldProblem(
                    ("compute", name),
                    f"{value} for a process, which has what its code server has"
                    if name != "environment"
                    else "names for a process, which has its code server's environment",
                    "launcher: docker, ecs or kubernetes beside it, or nothing",
                )
    if compute.timeout is not None and compute.timeout < MIN_TIMEOUT:
        found = f"{compute.timeout.total_seconds():.0f} seconds"
        yield FieldProblem(("compute", "timeout"), found, "one minute (1m) or more")
    if compute.launcher != "process" and spec.training.devices == "cuda" and not compute.gpus:
        expected = "1 or more: a container gets no GPU that it did not ask for"
        yield FieldProblem(("compute", "gpus"), "none, though training.devices is cuda", expected)
    if compute.gpus and spec.training.devices == "cpu":
        found = f"{compute.gpus}, though training.devices is cpu"
        yield FieldProblem(("compute", "gpus"), found, "0, or training.devices: auto or cuda")
