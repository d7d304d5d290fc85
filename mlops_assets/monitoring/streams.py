"""What the columns of the inference log and of the labels are, as they are kept in the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlops_assets.config.monitoring import Traffic
from mlops_assets.config.project import Project
from mlops_assets.config.streams import ColumnKind, stream_columns
from mlops_assets.errors import ConfigError

StreamName = Literal["inference_log", "labels"]


@dataclass(frozen=True)
class StreamColumn:
    """A column of a stream.

    Attributes:
        name: Its name in the files and in the store.
        kind: What it holds.
        required: Whether a file without it is refused; others read as all missing.
    """

    name: str
    kind: ColumnKind
    required: bool = False


@dataclass(frozen=True)
class Stream:
    """One of the two streams of live traffic.

    Attributes:
        name: ``inference_log`` or ``labels``.
        place: Where it comes from.
        columns: What they hold.
        time: Column with the event time, for the log.
    """

    name: StreamName
    place: Traffic
    columns: tuple[StreamColumn, ...]
    time: str | None = None


def inference_log(project: Project) -> Stream:
    """The project's inference log.

    Raises:
        ConfigError: None is declared.
    """
    log = project.spec.monitoring.inference_log
    if log is None:
        raise ConfigError(
            "no inference log is declared",
            where=str(project.id),
            fix="add monitoring.inference_log",
        )
    labels = project.spec.monitoring.labels
    required = {log.request_id, log.time, log.prediction, log.model_version}
    if labels is not None and labels.join == "entity":
        required.add(project.spec.features.entity)
    return Stream("inference_log", log, _columns(project, "inference_log", required), log.time)


def labels(project: Project) -> Stream | None:
    """The project's labels, if any are declared."""
    declared = project.spec.monitoring.labels
    if declared is None:
        return None
    required = {join_column(project), project.spec.features.label.column}
    return Stream("labels", declared, _columns(project, "labels", required))


def _columns(project: Project, name: str, required: set[str]) -> tuple[StreamColumn, ...]:
    return tuple(
        StreamColumn(column, kind, required=column in required)
        for column, kind in stream_columns(project.spec, name)
    )


def by_name(project: Project, name: str) -> Stream:
    """The declared stream of that name.

    Raises:
        ConfigError: It is not declared.
    """
    stream = labels(project) if name == "labels" else inference_log(project)
    if stream is None:
        raise ConfigError("no labels are declared", where=str(project.id))
    return stream


def join_column(project: Project) -> str:
    """The column by which labels find their requests."""
    monitoring = project.spec.monitoring
    if monitoring.labels is not None and monitoring.labels.join == "entity":
        return project.spec.features.entity
    return monitoring.inference_log.request_id if monitoring.inference_log else "request_id"
