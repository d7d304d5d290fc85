"""Live traffic in topics: the same reports as from files, whatever happens on the way."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from brokers import delete_before, make_topic, produce

from mlops_assets.assets import build_project_definitions
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.backtest.policies import parse_policy
from mlops_assets.backtest.simulation import Simulation
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import SourceError
from mlops_assets.keys import DEAD_LETTERS_CHECK, GAPS_CHECK, ProjectId
from mlops_assets.monitoring.records import Records
from mlops_assets.monitoring.register import NO_FILES, parts, register, stream_digest
from mlops_assets.monitoring.run import monitor
from mlops_assets.monitoring.streams import Stream, inference_log, labels
from mlops_assets.serving.prediction_topic import PredictionTopic
from mlops_assets.sources import kafka
from mlops_assets.sources.landing import land
from resources.local_store import LocalStore

pytestmark = pytest.mark.kafka
START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
OF_MONITORING = ("inference_log", "labels", "monitoring")


def written(folder: Path, **traffic: Any) -> dict[str, Any]:
    return {
        "description": "x",
        "task": "binary",
        "sources": {"a": {"type": "files", "uri": "a"}},
        "features": {
            "query": "q.sql",
            "entity": "id",
            "time": "at",
            "label": {"column": "y", "matures_after": "1d"},
            "inputs": {"numeric": ["temp"], "categorical": ["carrier"]},
        },
        "training": {"epochs": 2, "devices": "cpu"},
        "evaluation": {"split": {"by": "time", "test": "2d"}, "min_rows": 50},
        "monitoring": {
            "inference_log": {"uri": str(folder / "log")},
            "labels": {"uri": str(folder / "labels")},
            "window": {"every": "1d", "min_rows": 100},
            **traffic,
        },
    }


def make(folder: Path, **traffic: Any) -> Project:
    spec = written(folder, **traffic)
    return Project(
        ProjectId("team", "name"), ProjectSpec.model_validate(spec), folder, spec, {"q.sql": ""}
    )


def history(days: int, per_day: int = 150) -> pa.Table:
    rows = days * per_day
    random = np.random.default_rng(0)
    temp = random.normal(0, 3, rows)
    at = [START + timedelta(minutes=n * 1440 / per_day) for n in range(rows)]
    return pa.table(
        {
            "id": [f"v{n}" for n in range(rows)],
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "temp": temp,
            "carrier": random.choice(["AA", "BB"], rows),
            "y": (random.random(rows) < 1 / (1 + np.exp(-temp))).astype(np.int32),
        }
    )


@pytest.fixture
def topics(servers: str, topic: str) -> dict[str, Any]:
    """``monitoring`` sections for a log and labels in topics of the test's own."""
    make_topic(servers, f"{topic}-labels")
    common = {"type": "kafka", "bootstrap_servers": servers, "timeout": "10s"}
    return {
        "inference_log": {"source": {**common, "topic": topic, "max_messages_per_slice": 200}},
        "labels": {"source": {**common, "topic": f"{topic}-labels"}},
    }


@pytest.fixture
def project(tmp_path: Path, topics: dict[str, Any]) -> Project:
    folder = tmp_path / "project_configs" / "team" / "name"
    folder.mkdir(parents=True)
    return make(folder, **topics)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def message(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "request_id": f"r{number}",
        "time": (START + timedelta(minutes=number)).isoformat(),
        "prediction": 0.5,
        "model_version": 1,
        "temp": 1.0,
        "carrier": "AA",
    }
    return {name: value for name, value in (row | changes).items() if value is not ...}


def take(project: Project, store: LocalStore, stream: Stream | None = None) -> Any:
    """What the two assets do."""
    chosen = stream or inference_log(project)
    land(project, chosen.name, store)
    return register(project, chosen, store)


def taken_rows(project: Project, store: LocalStore) -> list[str]:
    found = parts(project, inference_log(project), store)
    return [name for part in found for name in pq.read_table(part.path)["request_id"].to_pylist()]


def test_reports_are_those_of_the_same_rows_in_files(
    tmp_path: Path, servers: str, topic: str, topics: dict[str, Any]
) -> None:
    folder = tmp_path / "simulated"
    folder.mkdir()
    rows = history(26)
    files = make(folder)
    simulation = Simulation(files, rows, parse_policy("declared", files), folder)
    simulation.run(START + 20 * DAY, START + 26 * DAY, lambda _moment: None)
    traffic = folder / "traffic"
    send_file = {
        "inference_log": (topic, pq.read_table(traffic / "inference_log")),
        "labels": (f"{topic}-labels", pq.read_table(traffic / "labels")),
    }
    with PredictionTopic(servers, topic) as log:
        for row in send_file["inference_log"][1].to_pylist():
            own = ("request_id", "time", "prediction", "model_version", "variant", "latency_ms")
            known = {name: row.pop(name, None) for name in own}
            entity = {"id": row.pop("id")} if "id" in row else None
            log.add(inputs={n: row[n] for n in ("temp", "carrier")}, entity=entity, **known)
    produce(servers, f"{topic}-labels", send_file["labels"][1].to_pylist())

    found = {}
    for name, project in {"files": simulation.project, "topics": make(folder, **topics)}.items():
        root = tmp_path / name
        shutil.copytree(simulation.store.root, root, ignore=shutil.ignore_patterns(*OF_MONITORING))
        store = LocalStore(root)
        for stream in (inference_log(project), labels(project)):
            assert stream is not None
            assert (take if name == "topics" else lambda p, s, one: register(p, one, s))(
                project, store, stream
            ).rows
        monitor(project, store, START + 30 * DAY)
        kinds = ("windows", "performance")
        records = {kind: Records(store, project.id, kind) for kind in kinds}
        found[name] = {
            kind: [one.read(place) for place in one.names()] for kind, one in records.items()
        }
    assert len(found["files"]["windows"]) >= 4
    assert found["files"]["performance"]
    assert found["topics"] == found["files"]


def test_each_message_is_taken_once_and_bad_ones_are_told(
    project: Project,
    store: LocalStore,
    servers: str,
    topic: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    monkeypatch.setenv("MLOPS_STORE_URI", str(store.root))
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    definitions = dg.Definitions.merge(
        build_project_definitions(project),
        dg.Definitions(
            resources={"platform": PlatformResource(root=str(tmp_path))},
            executor=dg.in_process_executor,
        ),
    )
    job = definitions.resolve_implicit_global_asset_job_def()
    instance = dg.DagsterInstance.ephemeral()

    def run() -> dg.ExecuteInProcessResult:
        keys = [project.id.landing_key("inference_log"), project.id.inference_log_key]
        chosen = [dg.AssetKey(key) for key in keys]
        return job.execute_in_process(asset_selection=chosen, instance=instance)

    good = [message(n, id=f"e{n}", variant="b", latency_ms=2.5) for n in range(500)]
    bad = [message(1, time=...), message(2, prediction="high"), b"{", message(3, temp="hot")]
    produce(servers, topic, good[:300])
    produce(servers, topic, bad)
    produce(servers, topic, good[300:], partition=1)
    first = run()
    checks = {one.check_name: one for one in first.get_asset_check_evaluations()}
    assert not checks[DEAD_LETTERS_CHECK].passed
    assert checks[DEAD_LETTERS_CHECK].description.startswith("4 messages")
    assert checks[GAPS_CHECK].passed
    assert sorted(taken_rows(project, store)) == sorted(f"r{n}" for n in range(500))
    produce(servers, topic, [message(900)])
    run()
    run()
    assert len(taken_rows(project, store)) == 501

    produce(servers, topic, [message(n) for n in range(901, 905)])
    delete_before(servers, topic, 0, 307)
    checks = {one.check_name: one for one in run().get_asset_check_evaluations()}
    assert not checks[GAPS_CHECK].passed
    assert sorted(taken_rows(project, store))[-2:] == ["r98", "r99"]
    assert len(taken_rows(project, store)) == 503


def test_an_ingestion_that_was_cut_off_counts_when_it_is_whole(
    project: Project,
    store: LocalStore,
    servers: str,
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = inference_log(project)
    assert stream_digest(project, stream, store) == NO_FILES
    produce(servers, topic, [message(n) for n in range(100)])
    produce(servers, topic, [message(n) for n in range(100, 150)], partition=1)
    write = kafka.INCREMENTAL.write

    def fail_later(spec: Any, part: Any, *rest: Any) -> Any:
        if part.detail["partition"] == 1:
            raise SourceError("the Kafka broker is away", where="here")
        return write(spec, part, *rest)

    monkeypatch.setattr(kafka.INCREMENTAL, "write", fail_later, raising=False)
    with pytest.raises(SourceError, match="away"):
        take(project, store)
    before = stream_digest(project, stream, store)
    assert register(project, stream, store).files == 0  # partition 0 is there, and alone
    monkeypatch.undo()
    found = take(project, store)
    assert found.rows == 150
    assert stream_digest(project, stream, store) not in (before, NO_FILES)
    assert sorted(taken_rows(project, store)) == sorted(f"r{n}" for n in range(150))


def test_a_broker_that_is_away_is_not_silence(project: Project, store: LocalStore) -> None:
    log = project.spec.monitoring.inference_log
    assert log is not None
    assert log.source is not None
    away = log.source.model_copy(
        update={"bootstrap_servers": "127.0.0.1:1", "timeout": timedelta(seconds=2)}
    )
    monitoring = project.spec.monitoring.model_copy(
        update={"inference_log": log.model_copy(update={"source": away})}
    )
    moved = replace(project, spec=project.spec.model_copy(update={"monitoring": monitoring}))
    with pytest.raises(SourceError, match="broker is away"):
        land(moved, "inference_log", store)
    assert monitor(moved, store).until is None


def test_predictions_that_do_not_arrive_are_told(servers: str, topic: str) -> None:
    lost = PredictionTopic("127.0.0.1:1", topic, max_waiting=3, timeout_seconds=1.5)
    for n in range(3):
        lost.add(inputs={}, prediction=float(n), model_version=1)
    with pytest.raises(OSError, match="not logged"):
        lost.add(inputs={}, prediction=0.0, model_version=1)
    with pytest.raises(OSError, match=f"3 predictions did not reach topic {topic}"):
        lost.flush()
    lost.flush()


def test_a_prediction_that_is_too_large_is_told(servers: str, topic: str) -> None:
    with PredictionTopic(servers, topic) as log, pytest.raises(OSError, match="2,000,"):
        log.add(inputs={"text": "x" * 2_000_000}, prediction=0.5, model_version=1)


def test_what_is_sent_is_json_that_the_engine_reads(
    project: Project, store: LocalStore, servers: str, topic: str
) -> None:
    with PredictionTopic(servers, topic) as log:
        for value in (None, float("nan"), np.float32(1.5), 2):
            log.add(
                inputs={"temp": value, "carrier": "AA"},
                prediction=np.float32(0.25),  # type: ignore[arg-type]
                model_version=7,
                time=START,
            )
    take(project, store)
    found = parts(project, inference_log(project), store)
    rows = pa.concat_tables([pq.read_table(part.path) for part in found])
    assert sorted(map(str, rows["temp"].to_pylist())) == ["1.5", "2.0", "None", "None"]
    assert set(rows["prediction"].to_pylist()) == {0.25}
    assert set(rows["time"].to_pylist()) == {START}
