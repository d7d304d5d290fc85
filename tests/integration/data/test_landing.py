"""A growing source through the engine: slices exactly once, raw data without a copy, features."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.assets.landing import build_landing_asset
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import EmptyDataError, SourceError, StoreError
from mlops_assets.keys import ProjectId
from mlops_assets.sources import registry
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.incremental import DEAD_LETTERS, Gap, Plan, Slice, Written
from mlops_assets.sources.ingest import IngestResult, ingest
from mlops_assets.sources.landing import land, landed
from mlops_assets.sources.revisions import Slices
from resources.ledger import Ledger
from resources.local_store import LocalStore
from resources.manifest import Draft
from resources.store import Store
from sensors.landing import landing_request
from sensors.looks import Look
from tests.postgres_server import PostgresServer, has_postgres, postgres_server

pytestmark = [
    pytest.mark.spark,
    pytest.mark.postgres,
    pytest.mark.skipif(
        not has_postgres("adbc_driver_postgresql"),
        reason="needs the extras servers, production (psycopg2) and sql",
    ),
]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def shop(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> PostgresServer:
    server.execute("DROP TABLE IF EXISTS orders", "CREATE TABLE orders (id bigserial, x int)")
    monkeypatch.setenv("SHOP_DB", server.uri())
    return server


def written(**incremental: Any) -> dict[str, Any]:
    by_id = {"column": "id", "wait_for_writers": "0s", "max_rows_per_slice": 1000, **incremental}
    return {
        "description": "test",
        "task": "binary",
        "sources": {
            "shop": {
                "type": "sql",
                "uri_env": "SHOP_DB",
                "table": "public.orders",
                "incremental": by_id,
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


@pytest.fixture
def project(tmp_path: Path) -> Project:
    document = written()
    spec = ProjectSpec.model_validate(document)
    return Project(ProjectId("team", "shop"), spec, tmp_path, document)


def add(shop: PostgresServer, rows: int) -> None:
    shop.execute(f"INSERT INTO orders (x) SELECT n FROM generate_series(1, {rows}) n")


def accept(df: Any, profile: Any) -> dict[str, Any]:
    return {}


def no_spark() -> Any:
    raise AssertionError("Spark was started for an unchanged source")


def ingest_raw(project: Project, store: Store, spark: Any) -> IngestResult:
    return ingest(project, "shop", store=store, spark_factory=lambda: spark, check=accept)


def ids(store: Store, project: Project) -> list[int]:
    manifest = store.latest(project.id.raw_collection("shop"))
    assert manifest is not None
    return sorted(pq.ParquetDataset(store.files(manifest)).read(["id"])["id"].to_pylist())


def landed_ids(store: Store, project: Project) -> list[int]:
    files = [f for m in landed(project, "shop", store) for f in store.files(m)]
    return sorted(i for file in files for i in pq.read_table(file)["id"].to_pylist())


def test_slices_become_raw_data_without_a_copy(
    project: Project, store: LocalStore, shop: PostgresServer, spark: Any
) -> None:
    with pytest.raises(EmptyDataError, match="no rows yet"):
        ingest_raw(project, store, spark)
    add(shop, 2500)
    first = land(project, "shop", store)
    assert (first.rows, len(first.slices), first.waiting) == (2500, 3, 0)
    result = ingest_raw(project, store, spark)
    assert result.manifest.rows == 2500
    assert ids(store, project) == list(range(1, 2501))
    assert all("/landing/" in str(file) for file in store.files(result.manifest))
    again = ingest(project, "shop", store=store, spark_factory=no_spark, check=accept)
    assert again.reused
    assert again.manifest == result.manifest
    add(shop, 10)
    second = land(project, "shop", store)
    assert (second.rows, len(second.slices)) == (10, 1)
    newer = ingest_raw(project, store, spark)
    assert newer.manifest.data_version != result.manifest.data_version
    assert ids(store, project) == list(range(1, 2511))
    assert land(project, "shop", store).slices == ()


def test_the_same_rows_are_the_same_version_however_they_were_cut(
    project: Project, shop: PostgresServer, spark: Any, tmp_path: Path
) -> None:
    add(shop, 1200)
    stores = [LocalStore(tmp_path / name) for name in ("a", "b")]
    land(project, "shop", stores[0])
    document = written(max_rows_per_slice=100)
    other = Project(project.id, ProjectSpec.model_validate(document), tmp_path, document)
    land(other, "shop", stores[1])
    versions = [ingest_raw(project, store, spark).manifest for store in stores]
    assert len(versions[0].files) < len(versions[1].files)
    assert versions[0].data_version == versions[1].data_version


def test_an_added_column_is_taken_up(
    project: Project, store: LocalStore, shop: PostgresServer, spark: Any
) -> None:
    add(shop, 20)
    land(project, "shop", store)
    ingest_raw(project, store, spark)
    shop.execute("ALTER TABLE orders ADD COLUMN y int DEFAULT 7")
    add(shop, 5)
    land(project, "shop", store)
    result = ingest_raw(project, store, spark)
    assert result.added_columns == ("y",)
    assert result.manifest.rows == 25
    table = pq.ParquetDataset(store.files(result.manifest)).read()
    assert table["y"].null_count == 20


def test_two_ingestions_at_once_take_each_row_once(
    project: Project, store: LocalStore, shop: PostgresServer
) -> None:
    add(shop, 5000)
    barrier = threading.Barrier(4)

    def run(_number: int) -> None:
        barrier.wait()
        land(project, "shop", store)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    land(project, "shop", store)
    assert landed_ids(store, project) == list(range(1, 5001))


CHILD = """
import sys, yaml
from pathlib import Path
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.keys import ProjectId
from mlops_assets.sources.landing import land
from resources.local_store import LocalStore
document = yaml.safe_load(Path(sys.argv[1]).read_text())
project = Project(ProjectId("team", "shop"), ProjectSpec.model_validate(document), Path("."), {})
while True:
    land(project, "shop", LocalStore(Path(sys.argv[2])))
    print("landed", flush=True)
"""


def test_killed_again_and_again_nothing_is_lost_or_doubled(
    project: Project, store: LocalStore, shop: PostgresServer, tmp_path: Path
) -> None:
    import yaml

    config = tmp_path / "spec.yaml"
    config.write_text(yaml.safe_dump(written(max_rows_per_slice=50)))
    chance = random.Random(3)
    for _ in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(config), str(store.root)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert child.stdout is not None
        child.stdout.readline()
        add(shop, 1000)
        time.sleep(chance.uniform(0.0, 0.4))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    killed = len(landed(project, "shop", store))
    land(project, "shop", store)
    assert killed > 0
    assert landed_ids(store, project) == list(range(1, 5001))


def test_overlapping_slices_are_refused(
    project: Project, store: LocalStore, shop: PostgresServer
) -> None:
    add(shop, 10)
    land(project, "shop", store)
    (manifest,) = landed(project, "shop", store)
    part = manifest.metadata["slice"]
    inside = {**part, "start": part["start"][:-1] + "~"}
    with store.staging(manifest.collection) as staged:
        draft = Draft(data_version="x", metadata={"slice": inside, "rejected": 0, "latest": None})
        store.publish_as(manifest.collection, f"{part['series']}-zz", staged, draft)
    assert part["start"] < inside["start"] < part["end"]
    with pytest.raises(StoreError, match="overlap"):
        landed(project, "shop", store)


class Lossy:
    """A source with the real interface that loses and rejects on command."""

    def __init__(self) -> None:
        self.ready: list[Slice] = []
        self.lost: tuple[Gap, ...] = ()
        self.is_away = False

    def plan(self, spec: Any, taken: Any, context: SourceContext) -> Plan:
        if self.is_away:
            raise SourceError("the broker does not answer", where=context.where)
        new = [s for s in self.ready if s.series not in taken or s.start >= taken[s.series].end]
        return Plan(tuple(new), waiting=len(new), gaps=self.lost)

    def write(self, spec: Any, part: Slice, folder: Path, context: SourceContext) -> Written:
        (folder / DEAD_LETTERS).write_text('{"offset": 7, "reason": "no JSON"}\n')
        if part.detail.get("empty"):
            return Written(0, rejected=1)
        pq.write_table(pa.table({"id": [1, 2]}), folder / "part-00000.parquet")
        return Written(2, rejected=1)

    def show(self, spec: Any, taken: Any, context: SourceContext) -> None:
        self.shown = {series: part.end for series, part in taken.items()}


@pytest.fixture
def lossy(monkeypatch: pytest.MonkeyPatch) -> Lossy:
    source = Lossy()
    monkeypatch.setattr(registry, "_incremental", lambda: {"sql": source})
    return source


@pytest.fixture
def materialize(
    project: Project, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Any]:
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    monkeypatch.setenv("MLOPS_STORE_URI", str(store.root))

    instance = dg.DagsterInstance.ephemeral()

    def run() -> Any:
        asset = build_landing_asset(project, "shop")
        return dg.materialize(
            [asset],
            resources={"platform": PlatformResource(root=str(tmp_path))},
            instance=instance,
            raise_on_error=False,
        )

    return run


def test_losses_and_dead_letters_are_checks(
    lossy: Lossy,
    materialize: Callable[[], Any],
    project: Project,
    store: LocalStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lossy.ready = [Slice("p0", "05", "10"), Slice("p0", "10", "12", {"empty": True})]
    lossy.lost = (Gap("p0", "00", "05", "older than the retention"),)
    result = materialize()
    assert lossy.shown == {"p0": "12"}
    checks = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert not checks["no_gaps"].passed
    assert checks["no_gaps"].severity == dg.AssetCheckSeverity.ERROR
    assert "p0 from 00 to 05" in str(checks["no_gaps"].description)
    assert not checks["no_dead_letters"].passed
    (event,) = result.get_asset_materialization_events()
    found = event.materialization.metadata
    assert found["dagster/row_count"].value == 2
    assert found["dead_letters"].value == 2
    assert found["positions"].value.records[0].data == {"series": "p0", "next": "12"}
    # A loss fails for a while, and stays in the table; a dead letter is said once.
    lossy.lost = ()
    checks = {e.check_name: e for e in materialize().get_asset_check_evaluations()}
    assert not checks["no_gaps"].passed
    assert checks["no_dead_letters"].passed
    monkeypatch.setattr("mlops_assets.assets.gaps.RECENT", timedelta())
    checks = {e.check_name: e for e in materialize().get_asset_check_evaluations()}
    assert checks["no_gaps"].passed
    assert "1 times in all, last p0 from 00 to 05" in str(checks["no_gaps"].description)
    assert len(checks["no_gaps"].metadata["gaps"].value.records) == 1


def test_a_source_away_keeps_what_was_taken(
    lossy: Lossy, materialize: Callable[[], Any], project: Project, store: LocalStore
) -> None:
    lossy.ready = [Slice("p0", "00", "05")]
    assert materialize().success
    lossy.is_away = True
    assert not materialize().success
    assert len(landed(project, "shop", store)) == 1


def tell(project: Project, store: LocalStore, instance: dg.DagsterInstance) -> None:
    """What a run that was not killed does at its end."""
    version = Slices(project, "shop", store).version
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            dg.AssetKey(project.id.landing_key("shop")), tags={"dagster/data_version": str(version)}
        )
    )


def test_a_run_is_asked_for_when_it_is_time_or_there_is_much(
    lossy: Lossy, project: Project, store: LocalStore
) -> None:
    now = datetime.now(UTC)
    instance = dg.DagsterInstance.ephemeral()
    assert landing_request(project, "shop", store, instance, now, look=Look()) is None
    lossy.ready = [Slice("p0", "00", "05")]
    first = landing_request(project, "shop", store, instance, now, look=Look())
    assert first is not None
    again = landing_request(project, "shop", store, instance, now, look=Look())
    assert again is not None
    assert again.run_key == first.run_key
    land(project, "shop", store)
    lossy.ready.append(Slice("p0", "05", "06"))
    untold = landing_request(project, "shop", store, instance, now, look=Look())
    assert untold is not None  # as after a kill: slices are there, and no event says so
    assert untold.run_key != first.run_key
    tell(project, store, instance)
    # Little, and not yet time.
    assert landing_request(project, "shop", store, instance, now, look=Look()) is None
    later = landing_request(
        project, "shop", store, instance, now + timedelta(minutes=11), look=Look()
    )
    assert later is not None
    assert later.run_key != first.run_key
    spec = project.spec.sources["shop"]
    few = spec.incremental.model_copy(
        update={"intake": spec.slices.model_copy(update={"waiting": 1})}
    )
    sources = {"shop": spec.model_copy(update={"incremental": few})}
    eager = replace(project, spec=project.spec.model_copy(update={"sources": sources}))
    assert landing_request(eager, "shop", store, instance, now, look=Look()) is not None


def test_decisions_are_not_gone_around(lossy: Lossy, tmp_path: Path, store: LocalStore) -> None:
    """Before the first model raw data follow the slices; a live model's wait for a decision."""
    document = {
        **written(),
        "monitoring": {"inference_log": {"uri": "log"}},
        "automation": {"retrain_on": "decision"},
    }
    project = Project(
        ProjectId("team", "shop"), ProjectSpec.model_validate(document), tmp_path, document
    )
    lossy.ready = [Slice("p0", "00", "05")]

    def asked() -> list[str]:
        instance = dg.DagsterInstance.ephemeral()
        found = landing_request(project, "shop", store, instance, datetime.now(UTC), look=Look())
        assert found is not None
        assert found.asset_selection is not None
        return [key.path[-2] for key in found.asset_selection]

    assert asked() == ["landing", "raw"]
    ledger = Ledger(store, project.id.ledger_prefix)
    ledger.append("deploy", version=1, bundle_id="b", run_id="r", reason="", expected_head=0)
    ledger.append("promote", version=1, bundle_id="b", run_id="r", reason="", expected_head=1)
    assert asked() == ["landing"]
