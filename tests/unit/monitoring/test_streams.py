"""Files of live traffic become segments exactly once, whatever is wrong with some of them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import EnvironmentProblemError, SourceError
from mlops_assets.keys import ProjectId
from mlops_assets.monitoring.records import Records, parse_name, record_name
from mlops_assets.monitoring.register import NO_FILES, parts, register, stream_digest
from mlops_assets.monitoring.rows import read_labels, read_window, spans
from mlops_assets.monitoring.streams import inference_log, labels
from mlops_assets.monitoring.windows import Window
from mlops_assets.serving.prediction_log import PredictionLogger
from resources.local_store import LocalStore
from resources.manifest import Draft

DAY = timedelta(days=1)
START = datetime(2024, 1, 1, tzinfo=UTC)


def make_project(tmp_path: Path, task: str = "binary", log_format: str = "parquet") -> Project:
    written: dict[str, Any] = {
        "description": "x",
        "task": task,
        "sources": {"a": {"type": "files", "uri": "a"}},
        "features": {
            "query": "q.sql",
            "entity": "id",
            "time": "at",
            "label": {"column": "y"},
            "inputs": {"numeric": ["temp"], "categorical": ["carrier"]},
        },
        "monitoring": {
            "inference_log": {"uri": "live", "format": log_format},
            "labels": {"uri": "labels"},
        },
    }
    folder = tmp_path / "project_configs" / "team" / "name"
    folder.mkdir(parents=True, exist_ok=True)
    spec = ProjectSpec.model_validate(written)
    return Project(ProjectId("team", "name"), spec, folder, written)


def log_table(first: int, rows: int, day: float = 0.0, **changes: Any) -> pa.Table:
    columns: dict[str, Any] = {
        "request_id": [f"r{n}" for n in range(first, first + rows)],
        "time": pa.array(
            [START + (day + n / rows / 2) * DAY for n in range(rows)], pa.timestamp("us", "UTC")
        ),
        "prediction": [0.5] * rows,
        "model_version": [1] * rows,
        "temp": [float(n) for n in range(rows)],
        "carrier": ["AA"] * rows,
    }
    return pa.table({k: v for k, v in (columns | changes).items() if v is not None})


def write(project: Project, name: str, table: pa.Table, folder: str = "live") -> Path:
    place = project.directory / folder
    place.mkdir(exist_ok=True)
    pq.write_table(table, place / name)
    return place / name


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_each_file_is_taken_once(tmp_path: Path, store: LocalStore) -> None:
    project = make_project(tmp_path)
    stream = inference_log(project)
    assert stream_digest(project, stream, store) == NO_FILES
    assert register(project, stream, store).files == 0
    write(project, "a.parquet", log_table(0, 10))
    assert register(project, stream, store).rows == 10
    write(project, "b.parquet", log_table(10, 5, day=1))
    again = register(project, stream, store)
    assert (again.files, again.rows, again.known) == (1, 5, 2)
    assert register(project, stream, store).segment is None
    assert sum(part.rows for part in parts(project, stream, store)) == 15


def test_two_runs_that_take_the_same_file_count_it_once(tmp_path: Path, store: LocalStore) -> None:
    project = make_project(tmp_path)
    stream = inference_log(project)
    write(project, "a.parquet", log_table(0, 10))
    other = LocalStore(tmp_path / "other")
    register(project, stream, store)
    register(project, stream, other)
    # What a race leaves behind: the same file in a second segment.
    collection = project.id.segments_collection("inference_log")
    manifest = other.latest(collection)
    assert manifest is not None
    with store.staging(collection) as staged:
        for entry in manifest.files:
            (staged / entry.path).write_bytes((other.path(manifest) / entry.path).read_bytes())
        draft = Draft(data_version=manifest.data_version, metadata=manifest.metadata)
        store.publish(collection, staged, draft)
    assert len(store.manifests(collection)) == 2
    assert [part.rows for part in parts(project, stream, store)] == [10]


def test_a_broken_file_is_named_and_holds_no_other_up(tmp_path: Path, store: LocalStore) -> None:
    project = make_project(tmp_path)
    stream = inference_log(project)
    write(project, "good.parquet", log_table(0, 10))
    broken = write(project, "broken.parquet", log_table(10, 10))
    broken.write_bytes(broken.read_bytes()[:200])
    found = register(project, stream, store)
    assert found.files == 1
    assert list(found.refused) == ["broken.parquet"]
    write(project, "broken.parquet", log_table(10, 10))  # its writer repairs it
    repaired = register(project, stream, store)
    assert (repaired.files, repaired.refused) == (1, {})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prediction": None}, "prediction"),
        ({"prediction": ["high"] * 10}, "prediction"),
        ({"time": ["yesterday"] * 10}, "no row can be used"),
    ],
)
def test_a_file_that_lacks_what_is_needed_says_what(
    tmp_path: Path, store: LocalStore, changes: dict[str, Any], said: str
) -> None:
    project = make_project(tmp_path)
    write(project, "a.parquet", log_table(0, 10, **changes))
    found = register(project, inference_log(project), store)
    assert found.files == 0
    assert said in found.refused["a.parquet"]


def test_a_changed_file_stays_as_it_was_taken_and_is_named(
    tmp_path: Path, store: LocalStore
) -> None:
    project = make_project(tmp_path)
    stream = inference_log(project)
    write(project, "a.parquet", log_table(0, 10))
    register(project, stream, store)
    write(project, "a.parquet", log_table(0, 500))
    found = register(project, stream, store)
    assert found.changed == ("a.parquet",)
    assert [part.rows for part in parts(project, stream, store)] == [10]


def test_inputs_that_a_client_does_not_log_read_as_missing(
    tmp_path: Path, store: LocalStore
) -> None:
    project = make_project(tmp_path)
    write(project, "a.parquet", log_table(0, 10, temp=None))
    register(project, inference_log(project), store)
    rows = read_window(
        parts(project, inference_log(project), store),
        Window.at(START, DAY),
        time="time",
        request_id="request_id",
    )
    assert rows is not None
    assert rows.table["temp"].null_count == 10


def test_json_lines_with_text_times_in_any_zone(tmp_path: Path, store: LocalStore) -> None:
    project = make_project(tmp_path, log_format="jsonl")
    (project.directory / "live").mkdir()
    row = {"request_id": "a", "prediction": 1, "model_version": 2, "temp": 3, "carrier": True}
    times = ["2024-01-01T01:00:00+03:00", "2024-01-01T05:00:00", "2024-01-01T05:00:00Z"]
    lines = [json.dumps(row | {"request_id": str(n), "time": t}) for n, t in enumerate(times)]
    (project.directory / "live" / "a.jsonl").write_text("\n".join(lines))
    register(project, inference_log(project), store)
    (part,) = parts(project, inference_log(project), store)
    table = pq.read_table(part.path)
    assert [moment.hour for moment in table["time"].to_pylist()] == [22, 5, 5]
    assert table["carrier"].to_pylist() == ["true"] * 3


def test_a_window_holds_its_rows_and_each_request_once(tmp_path: Path, store: LocalStore) -> None:
    project = make_project(tmp_path)
    stream = inference_log(project)
    write(project, "a.parquet", log_table(0, 10))
    write(project, "b.parquet", log_table(5, 10))  # five of them again: a client's retry
    write(project, "c.parquet", log_table(100, 10, day=1))
    register(project, stream, store)
    taken = parts(project, stream, store)
    rows = read_window(taken, Window.at(START, DAY), time="time", request_id="request_id")
    assert rows is not None
    assert (rows.table.num_rows, rows.duplicates) == (15, 5)
    assert max(end for _, end in spans(taken)) > START + DAY


def test_the_newest_label_of_a_request_counts(tmp_path: Path, store: LocalStore) -> None:
    project = make_project(tmp_path)
    stream = labels(project)
    assert stream is not None
    write(project, "1.parquet", pa.table({"request_id": ["a", "b"], "y": [0, 0]}), "labels")
    register(project, stream, store)
    write(project, "2.parquet", pa.table({"request_id": ["a", "z"], "y": [True, True]}), "labels")
    register(project, stream, store)
    wanted = pa.chunked_array([["a", "b", "c"]])
    found = read_labels(parts(project, stream, store), wanted, "request_id")
    assert dict(zip(*(column.to_pylist() for column in found.columns), strict=True)) == {
        "a": 1.0,
        "b": 0.0,
    }


def test_a_place_outside_the_project_is_refused(tmp_path: Path, store: LocalStore) -> None:
    project = make_project(tmp_path)
    outside = tmp_path / "project_configs" / "other" / "x"
    outside.mkdir(parents=True)
    pq.write_table(log_table(0, 5), outside / "a.parquet")
    (project.directory / "live").symlink_to(outside)
    with pytest.raises(SourceError, match="leaves the project"):
        register(project, inference_log(project), store)


def test_the_logger_writes_what_the_engine_reads(tmp_path: Path, store: LocalStore) -> None:
    project = make_project(tmp_path)
    with PredictionLogger(project.directory / "live", rows_per_file=3) as log:
        names = {
            log.add(
                inputs={"temp": None if n == 0 else 1.5, "carrier": "AA"},
                prediction=0.25,
                model_version=7,
                latency_ms=1.0,
            )
            for n in range(7)
        }
    assert len(names) == 7
    found = register(project, inference_log(project), store)
    assert (found.files, found.rows, found.refused) == (3, 7, {})


def test_the_logger_refuses_inputs_named_like_its_own_columns(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="time"):
        PredictionLogger(tmp_path).add(inputs={"time": 1}, prediction=1, model_version=1)


def test_rows_that_cannot_be_written_wait_for_the_next_file(tmp_path: Path) -> None:
    log = PredictionLogger(tmp_path / "live", rows_per_file=2)
    (tmp_path / "live").write_text("in the way")
    log.add(inputs={"temp": 1.0}, prediction=0.1, model_version=1)
    with pytest.raises(OSError, match="live"):
        log.add(inputs={"temp": 2.0}, prediction=0.2, model_version=1)
    (tmp_path / "live").unlink()
    log.flush()
    (file,) = (tmp_path / "live").iterdir()
    assert pq.read_table(file)["temp"].to_pylist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "place", ["gs://bucket/log", "http://host/log", "S3://b/x", "s3:/b/x", Path("s3://bucket/log")]
)
def test_the_logger_refuses_places_that_it_cannot_write_to(
    place: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EnvironmentProblemError, match="cannot be logged") as caught:
        PredictionLogger(place)
    assert "s3://<bucket>/<prefix>" in str(caught.value.expected)
    assert list(tmp_path.iterdir()) == []


def test_the_logger_takes_file_addresses(tmp_path: Path) -> None:
    with PredictionLogger(f"file://{tmp_path}/live") as log:
        log.add(inputs={"temp": 1.0}, prediction=0.1, model_version=1)
    assert len(list((tmp_path / "live").glob("*.parquet"))) == 1


def test_clients_import_the_logger_alone() -> None:
    code = (
        "import sys, mlops_assets.serving.prediction_log as p; p.PredictionLogger('s3://bucket/x');"
        "print({'boto3', 'botocore', 'pyarrow', 'dagster', 'torch', 'pyspark'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_what_is_no_number_is_kept_as_nothing(tmp_path: Path, store: LocalStore) -> None:
    records = Records(store, make_project(tmp_path).id, "windows")
    records.create("x", {"a": [float("nan"), 1.0], "b": {"c": float("inf")}})
    assert records.read("x") == {"a": [None, 1.0], "b": {"c": None}}


def test_a_record_is_written_once(tmp_path: Path, store: LocalStore) -> None:
    records = Records(store, make_project(tmp_path).id, "windows")
    name = record_name(START)
    assert parse_name(name) == START
    assert records.create(name, {"a": 1})
    assert not records.create(name, {"a": 2})
    assert records.read(name) == {"a": 1}
    assert records.last(5) == [{"a": 1}]
