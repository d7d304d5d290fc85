"""Ranges of offsets as partitions: shown when they were taken, read again by a back-fill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from brokers import delete_before, produce

from mlops_assets.assets.landing import build_landing_asset
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.keys import ProjectId
from mlops_assets.sources.landing import land, landed
from mlops_assets.sources.revisions import slice_of
from resources.local_store import LocalStore

pytestmark = pytest.mark.kafka
KEY = dg.AssetKey(["team", "mine", "landing", "orders"])
SET = "team/mine/orders"


@pytest.fixture
def make(servers: str, topic: str, tmp_path: Path) -> Callable[..., Project]:
    def project(**columns: str) -> Project:
        written = {
            "description": "test",
            "task": "binary",
            "sources": {
                "orders": {
                    "type": "kafka",
                    "bootstrap_servers": servers,
                    "topic": topic,
                    "columns": {"id": "bigint", **columns},
                    "max_messages_per_slice": 60,
                    "timeout": "10s",
                    "partitions": {"offsets": 100},
                }
            },
            "features": {
                "query": "features.sql",
                "entity": "id",
                "time": "at",
                "label": {"column": "label"},
                "inputs": {"numeric": ["x"]},
            },
        }
        (tmp_path / "workspace.yaml").write_text("load_from: []\n")
        spec = ProjectSpec.model_validate(written)
        return Project(ProjectId("team", "mine"), spec, tmp_path, written)

    return project


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.setenv("MLOPS_STORE_URI", str(tmp_path / "store"))
    return LocalStore(tmp_path / "store")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[dg.DagsterInstance, Any]]:
    instance = dg.DagsterInstance.ephemeral()

    def materialize(project: Project, **of: Any) -> tuple[dg.DagsterInstance, Any]:
        result = dg.materialize(
            [build_landing_asset(project, "orders")],
            resources={"platform": PlatformResource(root=str(tmp_path))},
            instance=instance,
            raise_on_error=False,
            **of,
        )
        return instance, result

    return materialize


def shown(instance: dg.DagsterInstance) -> dict[str | None, int]:
    records = reversed(instance.fetch_materializations(KEY, limit=50).records)
    return {
        record.partition_key: record.asset_materialization.metadata[
            "dagster/partition_row_count"
        ].value
        for record in records
        if record.partition_key is not None
    }


def test_new_offsets_appear_as_partitions(
    servers: str, topic: str, make: Callable[..., Project], store: LocalStore, run: Any
) -> None:
    produce(servers, topic, [{"id": n} for n in range(250)], partition=0)
    instance, result = run(make())
    assert result.success
    keys = [f"p00000-{n:012}" for n in (0, 100, 200)]
    assert sorted(instance.get_dynamic_partitions(SET)) == keys
    assert shown(instance) == dict(zip(keys, (100, 100, 50), strict=True))
    ends = [int(slice_of(manifest).end) for manifest in landed(make(), "orders", store)]
    assert ends == [60, 100, 160, 200, 250], "no slice lies in two ranges"


def test_a_backfill_reads_a_range_again_and_nothing_is_lost_or_doubled(
    servers: str, topic: str, make: Callable[..., Project], store: LocalStore, run: Any
) -> None:
    wrong = [{"id": n, "name": 5 if 100 <= n < 120 else "a"} for n in range(250)]
    produce(servers, topic, wrong, partition=0)
    strict = make(name="string")
    _, result = run(strict)
    assert result.success
    before = landed(strict, "orders", store)
    assert sum(m.metadata["rejected"] for m in before) == 20
    corrected = make()  # without the column that could not be read
    instance, result = run(corrected, partition_key="p00000-000000000100")
    assert result.success
    assert shown(instance)["p00000-000000000100"] == 100
    after = landed(corrected, "orders", store)
    assert [slice_of(m).name for m in after] == [slice_of(m).name for m in before]
    assert sum(m.rows or 0 for m in after) == 250
    assert after[0].name == before[0].name, "other ranges stay as they were"
    assert str(after[2].name).endswith(".000002")
    run(corrected, partition_key="p00000-000000000100")
    assert landed(corrected, "orders", store) == after, "the same messages are no new revision"
    assert land(corrected, "orders", store).slices == ()


def test_offsets_that_are_gone_keep_what_was_taken(
    servers: str, topic: str, make: Callable[..., Project], store: LocalStore, run: Any
) -> None:
    produce(servers, topic, [{"id": n} for n in range(150)], partition=0)
    run(make())
    before = landed(make(), "orders", store)
    delete_before(servers, topic, 0, 120)
    _, result = run(make(), partition_key="p00000-000000000000")
    assert not result.success
    failure = result.failure_data_for_node("team__mine__landing__orders")
    assert "1 of 1 partitions could not be taken" in str(failure.user_failure_data or failure.error)
    assert landed(make(), "orders", store) == before
