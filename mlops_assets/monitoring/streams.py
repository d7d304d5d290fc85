"""What the columns of the inference log and of the labels are, as they are kept in the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlops_assets.config.monitoring import LogFiles
from mlops_assets.config.project import Project
from mlops_assets.errors import ConfigError

StreamName = Literal["inference_log", "labels"]
ColumnKind = Literal["text", "integer", "number", "time", "prediction", "label"]


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
    """One of the two streams of files.

    Attributes:
        name: ``inference_log`` or ``labels``.
        files: Where they come from.
        columns: What they hold.
        time: Column with the event time, for the log.
    """

    name: StreamName
    files: LogFiles
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
    features = project.spec.features
    own = [
        StreamColumn(log.request_id, "text", required=True),
        StreamColumn(log.time, "time", required=True),
        StreamColumn(log.prediction, "prediction", required=True),
        StreamColumn(log.model_version, "integer", required=True),
        StreamColumn(log.variant, "text"),
        StreamColumn(log.latency_ms, "number"),
    ]
    labels = project.spec.monitoring.labels
    by_entity = labels is not None and labels.join == "entity"
    taken = {column.name for column in own}
    if features.entity not in taken:
        own.append(StreamColumn(features.entity, "text", required=by_entity))
    numeric = [StreamColumn(name, "number") for name in features.inputs.numeric]
    categorical = [
        StreamColumn(name, "text")
        for name in features.inputs.categorical
        if name != features.entity
    ]
    return Stream("inference_log", log, (*own, *numeric, *categorical), log.time)


def labels(project: Project) -> Stream | None:
    """The project's labels, if any are declared."""
    declared = project.spec.monitoring.labels
    if declared is None:
        return None
    return Stream(
        "labels",
        declared,
        (
            StreamColumn(join_column(project), "text", required=True),
            StreamColumn(project.spec.features.label.column, "label", required=True),
        ),
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
