"""Messages of a real broker as Dagster assets: landing, raw data, features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest
from brokers import delete_before, produce

from mlops_assets.assets import build_project_definitions
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.keys import ProjectId
from resources.local_store import LocalStore

pytestmark = [pytest.mark.kafka, pytest.mark.spark]
QUERY = "SELECT id, at, x, label FROM orders"
Materialize = Callable[[], dg.ExecuteInProcessResult]


@pytest.fixture
def project(servers: str, topic: str, tmp_path: Path) -> Project:
    written = {
        "description": "test",
        "task": "binary",
        "sources": {
            "orders": {
                "type": "kafka",
                "bootstrap_servers": servers,
                "topic": topic,
                "time_column": "at",
                "columns": {"id": "bigint", "at": "timestamp", "x": "double", "label": "int"},
                "max_messages_per_slice": 400,
                "timeout": "10s",
            }
        },
        "checks": {
            "orders": [
                {
                    "type": "expect_column_values_to_be_between",
                    "column": "x",
                    "min_value": 0,
                    "max_value": 1000,
                }
            ]
        },
        "features": {
            "query": "features.sql",
            "entity": "id",
            "time": "at",
            "label": {"column": "label"},
            "inputs": {"numeric": ["x"]},
        },
    }
    folder = tmp_path / "project_configs" / "team" / "mine"
    folder.mkdir(parents=True)
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    spec = ProjectSpec.model_validate(written)
    return Project(ProjectId("team", "mine"), spec, folder, written, {"features.sql": QUERY})


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def materialize(
    project: Project, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Materialize:
    monkeypatch.setenv("MLOPS_STORE_URI", str(store.root))
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    platform = PlatformResource(root=str(tmp_path))
    definitions = dg.Definitions.merge(
        build_project_definitions(project),
        dg.Definitions(resources={"platform": platform}, executor=dg.in_process_executor),
    )
    job = definitions.resolve_implicit_global_asset_job_def()
    keys = [*project.source_keys, project.id.features_key]
    selected = [dg.AssetKey(key) for key in keys]

    def run() -> dg.ExecuteInProcessResult:
        return job.execute_in_process(asset_selection=selected, raise_on_error=False)

    return run


def events(start: int, count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"id": n, "at": "2026-03-01T00:00:00Z", "x": n % 100, "label": n % 2, **more}
        for n in range(start, start + count)
    ]


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {e.check_name: e for e in result.get_asset_check_evaluations()}


def ids(store: LocalStore, collection: str) -> list[int]:
    manifest = store.latest(collection)
    assert manifest is not None
    return sorted(pq.ParquetDataset(store.files(manifest)).read(["id"])["id"].to_pylist())


def test_messages_become_features_and_trouble_becomes_checks(
    servers: str, topic: str, project: Project, store: LocalStore, materialize: Materialize
) -> None:
    produce(servers, topic, events(0, 1000), partition=0)
    produce(servers, topic, [*events(1000, 500), b"{poison"], partition=1)
    first = materialize()
    assert first.success
    assert ids(store, project.id.features_collection) == list(range(1500))
    found = checks(first)
    assert found["no_gaps"].passed
    assert not found["no_dead_letters"].passed
    shown = found["no_dead_letters"].metadata["dead_letters"].value.records[0].data
    assert (shown["partition"], shown["offset"]) == ("1", "500")

    # Unread messages are lost, and others are bad: both are said, and nothing bad is published.
    produce(servers, topic, events(1500, 10), partition=0)
    delete_before(servers, topic, 0, 1005)
    produce(servers, topic, events(1510, 3, x=5000), partition=1)
    second = materialize()
    assert not second.success
    found = checks(second)
    assert not found["no_gaps"].passed
    assert "1000" in str(found["no_gaps"].description)
    assert not found["expect_column_values_to_be_between__x"].passed
    assert ids(store, project.id.raw_collection("orders")) == list(range(1500))
