"""A PostgreSQL table through the whole ingestion: Spark reads what the driver wrote."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import SENSOR_NAME_TAG

from mlops_assets.assets.platform import PlatformResource
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import EmptyDataError
from mlops_assets.keys import ProjectId
from mlops_assets.sources.ingest import ingest, source_digest
from resources.local_store import LocalStore
from sensors.new_data import build_new_data_sensor
from tests.postgres_server import PostgresServer, has_postgres, postgres_server

pytestmark = [
    pytest.mark.spark,
    pytest.mark.postgres,
    pytest.mark.skipif(
        not has_postgres("adbc_driver_postgresql"),
        reason="needs the extras servers, production (psycopg2) and sql",
    ),
]
TABLE = """
CREATE TABLE orders (
  id bigint, at timestamptz, seen timestamp, price numeric(10,2), code uuid, mail text)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("SHOP_DB", server.uri())
    server.execute("DROP TABLE IF EXISTS orders", TABLE)
    shop = {"type": "sql", "uri_env": "SHOP_DB", "table": "public.orders", "pii": ["mail"]}
    written = {
        "description": "test",
        "task": "binary",
        "sources": {"shop": {**shop, "time_column": "at"}},
        "features": {
            "query": "features.sql",
            "entity": "id",
            "time": "at",
            "label": {"column": "label"},
            "inputs": {"numeric": ["price"]},
        },
    }
    spec = ProjectSpec.model_validate(written)
    return Project(ProjectId("team", "shop"), spec, tmp_path, written)


def no_spark() -> Any:
    raise AssertionError("Spark was started for an unchanged source")


def accept(df: Any, profile: Any) -> dict[str, Any]:
    return {}


def test_a_table_becomes_versions(
    server: PostgresServer, project: Project, tmp_path: Path, spark: Any
) -> None:
    store = LocalStore(tmp_path / "store")
    parts: dict[str, Any] = {"store": store, "check": accept}
    with pytest.raises(EmptyDataError):
        ingest(project, "shop", spark_factory=lambda: spark, **parts)
    server.execute(
        "INSERT INTO orders SELECT g, '2024-01-01T00:00:00Z', '2024-01-01', g / 4.0, "
        "gen_random_uuid(), 'eve@x.org' FROM generate_series(1, 1000) g"
    )
    first = ingest(project, "shop", spark_factory=lambda: spark, **parts)
    assert first.manifest.rows == 1000
    assert {column.name: column.type for column in first.manifest.columns} == {
        "id": "bigint",
        "at": "timestamp",
        "seen": "timestamp_ntz",
        "price": "decimal(10,2)",
        "code": "string",
        "mail": "string",
    }
    df = spark.read.parquet(str(store.path(first.manifest)))
    total = df.selectExpr(
        "sum(price) AS total", "min(at) = TIMESTAMP'2024-01-01 00:00:00Z' AS same"
    )
    assert [(float(row.total), row.same) for row in total.collect()] == [(125125.0, True)]
    again = ingest(project, "shop", spark_factory=no_spark, **parts)
    assert again.reused
    server.execute("DELETE FROM orders WHERE id = 1000")
    assert source_digest(project, "shop") != first.manifest.inputs_digest
    last = ingest(project, "shop", spark_factory=lambda: spark, **parts)
    assert (last.manifest.rows, last.manifest.sequence) == (999, first.manifest.sequence + 1)


@contextmanager
def writing(server: PostgresServer) -> Iterator[None]:
    """Somebody who inserts a row and commits, again and again, for a block."""
    stop, began = threading.Event(), threading.Event()

    def write() -> None:
        connection = server.connect()
        connection.autocommit = True
        while not stop.wait(0.02):
            connection.cursor().execute("INSERT INTO orders (id, at) VALUES (0, now())")
            began.set()
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert began.wait(20)
        yield
    finally:
        stop.set()
        writer.join()


def test_a_table_that_is_written_to_is_ingested_as_one_snapshot(
    server: PostgresServer, project: Project, tmp_path: Path, spark: Any
) -> None:
    store = LocalStore(tmp_path / "store")
    parts: dict[str, Any] = {"store": store, "check": accept}
    rows = []
    with writing(server):
        for _ in range(2):
            found = ingest(project, "shop", spark_factory=lambda: spark, **parts)
            assert found.manifest.inputs_digest != source_digest(project, "shop")
            rows.append(found.manifest.rows)
    assert 0 < rows[0] < rows[1]
    last = ingest(project, "shop", spark_factory=lambda: spark, **parts)
    assert last.manifest.inputs_digest == source_digest(project, "shop")
    assert last.manifest.rows > rows[1]
    assert ingest(project, "shop", spark_factory=no_spark, **parts).reused


def test_a_table_that_is_written_to_is_asked_for_when_the_run_before_has_ended(
    server: PostgresServer, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    monkeypatch.setenv("MLOPS_STORE_URI", str(tmp_path / "store"))
    sensor = build_new_data_sensor("team", [project])
    assert sensor is not None
    platform = {"platform": PlatformResource(root=str(tmp_path))}
    tags = {SENSOR_NAME_TAG: "team__new_data", "project": "shop"}
    with dg.DagsterInstance.ephemeral() as instance:
        cursor: str | None = None

        def tick() -> list[str | None]:
            nonlocal cursor
            server.execute("INSERT INTO orders (id) VALUES (1)")
            context = dg.build_sensor_context(instance, cursor=cursor, resources=platform)
            found = sensor.evaluate_tick(context)
            cursor = found.cursor
            return [request.run_key for request in found.run_requests or []]

        (first,) = tick()
        run = instance.create_run_for_job(dg.job(name="ingest")(lambda: None), tags=tags)
        assert tick() == []
        assert tick() == []
        instance.report_run_failed(run)
        (second,) = tick()
    assert first != second
