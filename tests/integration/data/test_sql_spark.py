"""A PostgreSQL table through the whole ingestion: Spark reads what the driver wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import EmptyDataError
from mlops_assets.keys import ProjectId
from mlops_assets.sources.ingest import ingest, source_digest
from resources.local_store import LocalStore
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
        running.execute(TABLE)
        yield running


@pytest.fixture
def project(tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("SHOP_DB", server.uri())
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
