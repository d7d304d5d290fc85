"""Sources taken by the day: each partition on its own, again when it changed, none lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.assets.landing_by_time import build_landing_by_time
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.assets.raw import build_raw_asset
from mlops_assets.config.project import Project
from mlops_assets.errors import NoFilesError, SchemaError, SourceError
from mlops_assets.sources.ingest import ingest
from mlops_assets.sources.landing import landed
from mlops_assets.sources.partitioned import plan_partitions, take_partitions
from resources.local_store import LocalStore
from resources.store import Store
from sensors.landing import landing_request
from sensors.looks import Look, read_looks, write_looks

pytestmark = pytest.mark.spark
START = datetime(2024, 3, 1, tzinfo=UTC)
KEY = dg.AssetKey(["team", "shop", "landing", "shop"])


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(uri="shop/%Y/%m-%d", partitions={"every": "day", "start": "2024-03-01"})


def day(number: int) -> str:
    return f"{START + timedelta(days=number):%Y-%m-%d}"


def write(project: Project, number: int, values: list[int], **columns: Any) -> Path:
    folder = project.directory / "shop" / f"{START + timedelta(days=number):%Y/%m-%d}"
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({"id": values, "x": [float(value) for value in values], **columns})
    path = folder / "rows.parquet"
    pq.write_table(table, path)
    return path


def take(project: Project, store: Store, spark: Any, keys: list[str] | None = None) -> Any:
    return list(take_partitions(project, "shop", keys, store, lambda: spark))


def raw_ids(project: Project, store: Store, spark: Any) -> list[int]:
    ingest(project, "shop", store=store, spark_factory=lambda: spark, check=lambda *_: {})
    manifest = store.latest(project.id.raw_collection("shop"))
    assert manifest is not None
    return sorted(pq.ParquetDataset(store.files(manifest)).read(["id"])["id"].to_pylist())


def no_spark() -> Any:
    raise AssertionError("Spark was started though nothing changed")


def test_each_day_is_taken_once_and_again_when_it_changed(
    project: Project, store: LocalStore, spark: Any
) -> None:
    for number in range(3):
        write(project, number, [number * 10, number * 10 + 1])
    first = take(project, store, spark)
    assert [(part.key, part.rows, part.is_new) for part in first] == [
        (day(number), 2, True) for number in range(3)
    ]
    assert raw_ids(project, store, spark) == [0, 1, 10, 11, 20, 21]
    (same,) = take_partitions(project, "shop", [day(1)], store, no_spark)
    assert not same.is_new

    write(project, 1, [10, 11, 12])
    (again,) = take(project, store, spark, [day(1)])
    assert (again.rows, again.revision, again.is_new) == (3, 2, True)
    assert raw_ids(project, store, spark) == [0, 1, 10, 11, 12, 20, 21]
    first_revision = store.named(project.id.landing_collection("shop"), first[1].manifests[0].name)
    assert first_revision.rows == 2, "what was published is never changed"
    write(project, 1, [10])
    (third,) = take(project, store, spark, [day(1)])
    assert third.revision == 3
    assert raw_ids(project, store, spark) == [0, 1, 10, 20, 21]


def test_raw_data_are_the_same_version_however_the_days_were_taken(
    project: Project, spark: Any, tmp_path: Path
) -> None:
    for number in range(4):
        write(project, number, [number])
    versions = []
    for name, order in {"at once": None, "one by one": (2, 0, 3, 1)}.items():
        store = LocalStore(tmp_path / name.replace(" ", "_"))
        if order is None:
            take(project, store, spark)
        for number in order or ():
            take(project, store, spark, [day(number)])
        raw_ids(project, store, spark)
        manifest = store.latest(project.id.raw_collection("shop"))
        assert manifest is not None
        versions.append((manifest.data_version, manifest.inputs_digest))
    assert versions[0] == versions[1]


def test_a_missing_day_blocks_raw_data_unless_the_yaml_bears_it(
    make_project: Callable[..., Project], project: Project, store: LocalStore, spark: Any
) -> None:
    for number in (0, 1, 3):
        write(project, number, [number])
    take(project, store, spark)
    with pytest.raises(SourceError, match="partitions are missing") as caught:
        raw_ids(project, store, spark)
    assert day(2) in str(caught.value)
    lenient = make_project(
        uri="shop/%Y/%m-%d",
        partitions={"every": "day", "start": "2024-03-01", "missing": "warn"},
    )
    assert raw_ids(lenient, store, spark) == [0, 1, 3]
    write(project, 2, [2])
    take(project, store, spark)
    assert raw_ids(project, store, spark) == [0, 1, 2, 3]


def test_one_bad_day_does_not_stop_the_others(
    project: Project, store: LocalStore, spark: Any
) -> None:
    write(project, 0, [0])
    write(project, 1, [1]).write_bytes(b"PAR1 torn")
    write(project, 2, [2], added=["new"])
    folder = write(project, 3, [3]).parent
    pq.write_table(pa.table({"id": ["text"], "x": [1.0]}), folder / "rows.parquet")
    found = take(project, store, spark, [day(number) for number in range(5)])
    assert [part.is_new for part in found] == [True, False, True, False, False]
    assert isinstance(found[1].problem, SourceError)
    assert "rows.parquet" in str(found[1].problem)
    assert isinstance(found[3].problem, SchemaError)
    assert isinstance(found[4].problem, NoFilesError)
    assert day(4) in str(found[4].problem)
    assert len(landed(project, "shop", store)) == 2


def test_changes_are_noticed_within_the_look_back_only(
    project: Project, store: LocalStore, spark: Any
) -> None:
    for number in range(5):
        write(project, number, [number])
    take(project, store, spark)
    now = START + timedelta(days=5, hours=1)
    assert plan_partitions(project, "shop", store, now).slices == ()
    write(project, 0, [0, 100])
    write(project, 4, [4, 104])
    (changed,) = plan_partitions(project, "shop", store, now).slices
    assert changed.start == f"{START + timedelta(days=4):%Y%m%dT%H}"
    instance = dg.DagsterInstance.ephemeral()
    wanted = landing_request(project, "shop", store, instance, now, look=Look())
    assert wanted is not None
    again = landing_request(project, "shop", store, instance, now, look=Look())
    later = landing_request(project, "shop", store, instance, now + timedelta(hours=1), look=Look())
    assert again is not None
    assert later is not None
    assert again.run_key == wanted.run_key != later.run_key


def test_a_day_that_cannot_be_read_is_asked_for_less_and_less_often(
    project: Project, store: LocalStore
) -> None:
    instance = dg.DagsterInstance.ephemeral()
    path = write(project, 0, [0])
    path.write_bytes(b"PAR1 torn")
    now, look = START + timedelta(days=1), Look()
    asked: list[float] = []

    def tick(minutes: int) -> None:
        nonlocal look
        look = read_looks(write_looks({"shop": look}))["shop"]
        at = now + timedelta(minutes=minutes)
        if landing_request(project, "shop", store, instance, at, look=look) is not None:
            asked.append(minutes / 60)

    for minutes in range(0, 2 * 1440, 5):
        tick(minutes)
    day_by_day = [sum(day * 24 <= hours < day * 24 + 24 for hours in asked) for day in range(2)]
    assert day_by_day == [5, 2]
    path.write_bytes(b"PAR1 torn otherwise")
    before = len(asked)
    tick(2 * 1440)
    assert len(asked) == before + 1, "what changed is asked for at once"
    write(project, 1, [1])
    assert landing_request(project, "shop", store, instance, now + timedelta(days=2), look=look), (
        "a day that is new does not wait for one that cannot be read"
    )


def test_a_day_that_has_not_ended_is_not_taken(
    make_project: Callable[..., Project], store: LocalStore
) -> None:
    project = make_project(
        uri="shop/%Y/%m-%d", partitions={"every": "day", "start": "2024-03-01", "after": "2h"}
    )
    write(project, 0, [0])
    end = START + timedelta(days=1)
    assert not plan_partitions(project, "shop", store, end + timedelta(hours=1)).slices
    assert plan_partitions(project, "shop", store, end + timedelta(hours=2)).slices


def test_two_runs_that_take_the_same_day_publish_it_once(
    project: Project, store: LocalStore, spark: Any
) -> None:
    write(project, 0, [0, 1])
    barrier = threading.Barrier(2)

    def together() -> Any:
        barrier.wait(timeout=60)
        return spark

    found: list[Any] = []

    def run() -> None:
        found.extend(take_partitions(project, "shop", [day(0)], store, together))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(part.is_new for part in found) == [False, True]
    assert raw_ids(project, store, spark) == [0, 1]


def test_hourly_csv_partitions(
    make_project: Callable[..., Project], store: LocalStore, spark: Any
) -> None:
    project = make_project(
        uri="shop/%Y%m%d/%H*.csv",
        format="csv",
        partitions={"every": "hour", "start": "2024-03-01T22:00:00Z"},
    )
    for at, value in (("20240301/22", 1), ("20240301/23", 2), ("20240302/00", 3)):
        path = project.directory / "shop" / f"{at}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"id,x\n{value},0.5\n")
    found = take(project, store, spark)
    assert [part.key for part in found] == [
        "2024-03-01-22:00",
        "2024-03-01-23:00",
        "2024-03-02-00:00",
    ]
    assert raw_ids(project, store, spark) == [1, 2, 3]


@pytest.fixture
def run(
    project: Project, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    monkeypatch.setenv("MLOPS_STORE_URI", str(store.root))
    instance = dg.DagsterInstance.ephemeral()

    def materialize(**of: Any) -> Any:
        assets = [build_landing_by_time(project, "shop"), build_raw_asset(project, "shop")]
        platform = PlatformResource(root=str(tmp_path))
        result = dg.materialize(
            assets,
            resources={"platform": platform},
            instance=instance,
            raise_on_error=False,
            **of,
        )
        return instance, result

    return materialize


def landed_rows(instance: dg.DagsterInstance) -> dict[str | None, int]:
    """Rows by partition, as the UI shows them."""
    found: dict[str | None, int] = {}
    for record in reversed(instance.fetch_materializations(KEY, limit=50).records):
        rows = record.asset_materialization.metadata.get("dagster/partition_row_count")
        if record.partition_key is not None and rows is not None:
            found[record.partition_key] = rows.value
    return found


def test_a_backfill_of_a_range_shows_each_partition(
    project: Project, store: LocalStore, run: Callable[..., Any]
) -> None:
    for number in range(4):
        write(project, number, list(range(number + 1)))
    span = {
        "dagster/asset_partition_range_start": day(0),
        "dagster/asset_partition_range_end": day(2),
    }
    instance, result = run(tags=span)
    assert result.success
    assert landed_rows(instance) == {day(0): 1, day(1): 2, day(2): 3}
    checks = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert checks["no_gaps"].passed
    _, result = run(partition_key=day(3))
    assert result.success
    assert landed_rows(instance)[day(3)] == 4


def test_a_run_without_partitions_takes_what_is_due_and_shows_it(
    project: Project, store: LocalStore, run: Callable[..., Any]
) -> None:
    write(project, 0, [1, 2])
    write(project, 1, [3])
    instance, result = run()
    assert result.success
    assert landed_rows(instance) == {day(0): 2, day(1): 1}
    raw = dg.AssetKey(["team", "shop", "raw", "shop"])
    event = instance.get_latest_materialization_event(raw)
    assert event.asset_materialization.metadata["dagster/row_count"].value == 3


def test_a_failed_backfill_keeps_and_shows_what_it_took(
    project: Project, store: LocalStore, run: Callable[..., Any]
) -> None:
    write(project, 0, [1, 2])
    write(project, 2, [3])
    span = {
        "dagster/asset_partition_range_start": day(0),
        "dagster/asset_partition_range_end": day(2),
    }
    instance, result = run(tags=span)
    assert not result.success
    assert landed_rows(instance) == {day(0): 2, day(2): 1}
    failure = result.failure_data_for_node("team__shop__landing__shop")
    assert "1 of 3 partitions could not be taken" in str(failure.user_failure_data or failure.error)
    checks = {e.check_name: e for e in result.get_asset_check_evaluations()}
    assert not checks["no_gaps"].passed
    assert day(1) in str(checks["no_gaps"].description)
