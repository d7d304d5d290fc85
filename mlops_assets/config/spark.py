"""``spark:`` where data are transformed: this machine, or a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from mlops_assets.config.base import ExistingPorts, Spec
from mlops_assets.config.problems import FieldProblem, FieldProblems, show
from mlops_assets.config.spark_settings import expected_instead

MASTER_PATTERN = (
    r"^(local|spark://[^\s/@]+:\d+(,[^\s/@]+:\d+)*|yarn|k8s://https?://[^\s/@]+"
    r"|sc://[^\s/@:;]+(:\d+)?)$"
)
MEMORY_PATTERN = r"^[1-9]\d*[mg]$"
PACKAGE_PATTERN = r"^[\w.-]+:[\w.-]+:[\w.-]+$"
PYTHON_PATTERN = r"^[A-Za-z0-9_./][A-Za-z0-9_./@+-]{0,249}$"
Memory = Annotated[str, StringConstraints(pattern=MEMORY_PATTERN)]
MavenPackage = Annotated[str, StringConstraints(pattern=PACKAGE_PATTERN)]

_HERE = r"(127(\.\d{1,3}){3}|localhost):\d+"
_LOOPBACK = re.compile(rf"spark://{_HERE}(,{_HERE})*")


class SparkExecutors(Spec):
    """How much each executor of a cluster has."""

    instances: int | None = Field(default=None, ge=1, le=10_000)
    """Number of executors; by default as many as the cluster gives."""
    cores: int | None = Field(default=None, ge=1, le=1024)
    """Cores of an executor."""
    memory: Memory | None = None
    """Memory of an executor, such as ``8g``."""
    python: str | None = Field(default=None, pattern=PYTHON_PATTERN)
    """Name or path of Python on the executors' machines, of this install's minor version. Empty:
    what ``PYSPARK_PYTHON`` says, or ``python3``; for a cluster on this machine, this install's."""


class SparkSpec(Spec):
    """Where data are transformed. The default is this machine, by its size."""

    master: Annotated[str, Field(pattern=MASTER_PATTERN), ExistingPorts] = "local"
    """``local``, ``spark://<host>:<port>``, ``yarn``, ``k8s://https://<host>:<port>`` or
    ``sc://<host>:<port>`` (Spark Connect). A cluster reads and writes the store itself, which has
    to be in S3 or in a file system that all its machines share."""
    driver_host: str | None = Field(default=None, pattern=r"^[A-Za-z0-9.:-]{1,253}$")
    """Name or address under which the executors reach this machine. Empty: loopback only."""
    driver_memory: Memory | None = None
    """Memory of the driver; by default a quarter of the machine's, between 1 and 8 GiB."""
    executors: SparkExecutors = SparkExecutors()
    """What the executors of a cluster have."""
    packages: tuple[MavenPackage, ...] = Field(default=(), max_length=50)
    """Maven coordinates that Spark fetches when it starts, such as connectors."""
    settings: dict[str, str] = Field(default={}, max_length=200)
    """Further Spark settings about costs: memory, shuffles, executors, the cluster's own."""

    @property
    def is_cluster(self) -> bool:
        """Whether other processes than this one's JVM do the work."""
        return self.master != "local"

    @property
    def is_connect(self) -> bool:
        """Whether a Spark Connect server has the driver too."""
        return self.master.startswith("sc://")

    @property
    def is_on_loopback(self) -> bool:
        """Whether it is a standalone cluster of this machine."""
        return _LOOPBACK.fullmatch(self.master) is not None

    @model_validator(mode="after")
    def _parts_fit_together(self) -> SparkSpec:
        if problems := [*self._setting_problems(), *self._cluster_problems()]:
            raise FieldProblems(problems)
        return self

    def _setting_problems(self) -> Iterator[FieldProblem]:
        for name in self.settings:
            if expected := expected_instead(name):
                yield FieldProblem(("settings", name), show(name), expected, about_key=True)

    def _cluster_problems(self) -> Iterator[FieldProblem]:
        if not self.is_cluster:
            given: dict[str, Any] = {
                name: value
                for name, value in self.executors.model_dump().items()
                if value is not None
            }
            for name, value in given.items():
                found = f"{value}, though master is local"
                yield FieldProblem(("executors", name), found, "a cluster as `master`, or nothing")
        elif self.is_connect:
            yield from self._connect_problems()
        elif self.driver_host is None and not self.is_on_loopback:
            expected = "the name or address under which executors reach this machine"
            yield FieldProblem(("driver_host",), "none", expected)

    def _connect_problems(self) -> Iterator[FieldProblem]:
        """What is the server's to decide."""
        for name in ("driver_host", "driver_memory", "packages"):
            if getattr(self, name):
                yield FieldProblem((name,), "a value", "nothing: the Connect server has its own")
        for name, value in self.executors.model_dump().items():
            if value is not None:
                expected = "nothing: the Connect server has its own"
                yield FieldProblem(("executors", name), str(value), expected)
        for name in self.settings:
            if not name.startswith("spark.sql."):
                expected = "settings of a session, which begin with spark.sql."
                yield FieldProblem(("settings", name), show(name), expected, about_key=True)


def find_image_problem(spark: SparkSpec | None) -> Iterator[FieldProblem]:
    """What Kubernetes needs before it starts an executor."""
    if spark is None or not spark.master.startswith("k8s://"):
        return
    if not any(name.endswith("container.image") for name in spark.settings):
        expected = "spark.kubernetes.container.image: an image with Spark for the executors"
        yield FieldProblem(("spark", "settings"), "no image, with Kubernetes as master", expected)
