"""Live traffic from a topic or a table, as YAML says it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_assets.config.checking import check_paths
from mlops_assets.config.loader import load_project
from mlops_assets.config.project import ProjectSpec

WriteProject = Callable[..., Path]
DEFS = """\
type: mlops_assets.MLProject
attributes:
  description: Will this flight arrive late?
  task: TASK
  sources:
    flights: {type: files, uri: data}
  features:
    query: features.sql
    entity: flight_id
    time: departure
    label: {column: is_late}
    inputs: {numeric: [distance], categorical: [carrier]}
  monitoring:
    inference_log: LOG
    labels: LABELS
"""
KAFKA = "type: kafka, bootstrap_servers: 'b:9092', topic: t"
SQL = "{source: {type: sql, uri_env: DB, table: a.outcomes, incremental: {column: id}}}"


@pytest.fixture
def load(write_project: WriteProject, tmp_path: Path) -> Callable[..., ProjectSpec]:
    def load(log: str, labels: str = SQL, task: str = "binary") -> ProjectSpec:
        defs = DEFS.replace("LOG", log).replace("LABELS", labels).replace("TASK", task)
        directory = write_project(defs=defs)
        (directory / "data").mkdir()
        (directory / "data" / "a.parquet").write_bytes(b"")
        return load_project(directory, tmp_path, {}).spec

    return load


def test_columns_follow_from_the_project(load: Callable[..., ProjectSpec]) -> None:
    spec = load(f"{{time: asked, source: {{{KAFKA}}}}}")
    source = spec.source("inference_log")
    assert source.time_column == "asked"
    assert dict(source.columns) == {
        "request_id": "string",
        "asked": "timestamp",
        "prediction": "double",
        "model_version": "bigint",
        "variant": "string",
        "latency_ms": "double",
        "flight_id": "string",
        "distance": "double",
        "carrier": "string",
    }
    assert spec.growing == ["inference_log", "labels"]
    assert "labels" not in spec.sources


def test_classes_are_texts_and_own_types_take_precedence(load: Callable[..., ProjectSpec]) -> None:
    labels = f"{{join: entity, source: {{{KAFKA}, columns: {{flight_id: bigint}}}}}}"
    spec = load(f"{{source: {{{KAFKA}}}}}", labels, "multiclass")
    assert spec.source("inference_log").columns["prediction"] == "array<double>"
    assert dict(spec.source("labels").columns) == {"flight_id": "bigint", "is_late": "string"}


@pytest.mark.parametrize(
    ("log", "path", "words"),
    [
        ("{time: asked}", "uri", "neither, expected one of `uri` and `source`"),
        (f"{{uri: x, source: {{{KAFKA}}}}}", "uri", "found both"),
        (f"{{format: jsonl, source: {{{KAFKA}}}}}", "format", "nothing, beside a source"),
        (f"{{source: {{{KAFKA}, time_column: time}}}}", "source.time_column", "it is the log's"),
        (f"{{source: {{{KAFKA}, columns: {{time: bigint}}}}}}", "source.time_column", "timestamp"),
        (f"{{source: {{{KAFKA}, columns: {{x: number}}}}}}", "source.columns.x", "decimal"),
        (f"{{source: {{{KAFKA}, key_column: request_id}}}}", "source.columns", "does not give"),
        (
            f"{{source: {{{KAFKA}, partitions: {{offsets: 10}}}}}}",
            "source.partitions",
            "as it comes",
        ),
        ("{source: {type: sql, uri_env: DB, table: a.b}}", "source.incremental", "as they come"),
        ("{source: {type: files, uri: x}}", "source.type", "kafka"),
    ],
)
def test_problems(
    write_project: WriteProject, tmp_path: Path, log: str, path: str, words: str
) -> None:
    defs = DEFS.replace("LOG", log).replace("LABELS", SQL).replace("TASK", "binary")
    directory = write_project(defs=defs)
    (directory / "data").mkdir()
    problems = check_paths([directory], tmp_path, {}).errors
    assert [problem.path for problem in problems] == [f"monitoring.inference_log.{path}"]
    assert words in problems[0].text


def test_a_source_of_the_same_name_is_refused(write_project: WriteProject, tmp_path: Path) -> None:
    defs = DEFS.replace("LOG", "{uri: live}").replace("LABELS", SQL).replace("TASK", "binary")
    directory = write_project(defs=defs.replace("flights: {", "labels: {"))
    paths = [problem.path for problem in check_paths([directory], tmp_path, {}).errors]
    assert "sources.labels" in paths
