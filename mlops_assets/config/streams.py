"""Live traffic that is taken from a topic or a table: ``source:`` of the log and of the labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mlops_assets.config.kafka import KafkaSource
from mlops_assets.config.problems import FieldProblem
from mlops_assets.config.sql import SqlSource

if TYPE_CHECKING:
    from mlops_assets.config.project import ProjectSpec

STREAMS = ("inference_log", "labels")
"""Parts of ``monitoring:`` that may have a ``source:``; slices are kept under these names."""
ColumnKind = Literal["text", "integer", "number", "time", "prediction", "label"]

_TYPES: dict[ColumnKind, str] = {
    "text": "string",
    "integer": "bigint",
    "number": "double",
    "time": "timestamp",
}


class KafkaStream(KafkaSource):
    """Messages of a topic as live traffic; each message exactly once.

    Column types follow from the project; those under ``columns`` take their place.
    """

    def _column_problems(self) -> Iterator[FieldProblem]:
        return (problem for problem in super()._column_problems() if problem.location[1:])

    def _time_problems(self) -> Iterator[FieldProblem]:
        if self.time_column is not None:
            yield FieldProblem(
                ("time_column",), self.time_column, "nothing: it is the log's `time` column"
            )


StreamSource = Annotated[KafkaStream | SqlSource, Field(discriminator="type")]


def stream_source(spec: ProjectSpec, name: str) -> KafkaSource | SqlSource | None:
    """Where the log or the labels are taken from, with its columns; None for files.

    Args:
        spec: The project's spec.
        name: One of :data:`STREAMS`.

    Raises:
        ValidationError: What is written does not fit the columns that follow from the project.
    """
    stream = getattr(spec.monitoring, name, None) if name in STREAMS else None
    source = None if stream is None else stream.source
    if not isinstance(source, KafkaStream):
        return source
    written = {field: getattr(source, field) for field in KafkaSource.model_fields}
    kinds = dict(stream_columns(spec, name))
    columns = {column: _type(spec, kind) for column, kind in kinds.items()}
    time = next((column for column, kind in kinds.items() if kind == "time"), None)
    return KafkaSource(**written | {"columns": columns | source.columns, "time_column": time})


def stream_columns(spec: ProjectSpec, name: str) -> Iterator[tuple[str, ColumnKind]]:
    """Columns of the log or the labels, with what they hold."""
    log, labels = spec.monitoring.inference_log, spec.monitoring.labels
    by_entity = labels is not None and labels.join == "entity"
    if name == "labels":
        joined = spec.features.entity if by_entity or log is None else log.request_id
        yield joined, "text"
        yield spec.features.label.column, "label"
        return
    if log is None:
        return
    yield log.request_id, "text"
    yield log.time, "time"
    yield log.prediction, "prediction"
    yield log.model_version, "integer"
    yield log.variant, "text"
    yield log.latency_ms, "number"
    if spec.features.entity not in log.own_columns.values():
        yield spec.features.entity, "text"
    for column in spec.features.inputs.numeric:
        yield column, "number"
    for column in spec.features.inputs.categorical:
        if column != spec.features.entity:
            yield column, "text"


def _type(spec: ProjectSpec, kind: ColumnKind) -> str:
    """The Spark SQL type in which a message carries a column."""
    is_multiclass = spec.task == "multiclass"
    if kind == "prediction":
        return "array<double>" if is_multiclass else "double"
    if kind == "label":
        return "string" if is_multiclass else "double"
    return _TYPES[kind]
