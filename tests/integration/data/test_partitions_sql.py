"""A PostgreSQL table by the day: rows of the past that change are taken again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import SchemaError
from mlops_assets.keys import ProjectId
from mlops_assets.sources.ingest import ingest
from mlops_assets.sources.partitioned import take_partitions
from mlops_assets.sources.sql_parquet import write_rows
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
FIRST, SECOND, EMPTY, LAST = (f"2024-03-0{number}" for number in range(1, 5))


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def shop(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> PostgresServer:
    monkeypatch.setenv("SHOP_DB", server.uri())
    server.execute(
        "DROP TABLE IF EXISTS orders",
        "CREATE TABLE orders (id bigint, at timestamptz, seen timestamp, day date, note text)",
        "INSERT INTO orders SELECT n, at, at AT TIME ZONE 'UTC', (at AT TIME ZONE 'UTC')::date, '' "
        "FROM (VALUES (1, '2024-03-01T00:00:00Z'::timestamptz), (2, '2024-03-01T23:59:59.999999Z'),"
        " (3, '2024-03-02T00:00:00Z'), (4, '2024-03-04T12:00:00Z'), (5, '2024-02-29T23:59Z'))"
        " AS rows (n, at)",
    )
    return server


def project_by(column: str, folder: Path, every: str = "day") -> Project:
    written = {
        "description": "test",
        "task": "binary",
        "sources": {
            "shop": {
                "type": "sql",
                "uri_env": "SHOP_DB",
                "table": "public.orders",
                "time_column": column,
                "partitions": {"every": every, "start": "2024-03-01"},
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
    spec = ProjectSpec.model_validate(written)
    return Project(ProjectId("team", "shop"), spec, folder, written)


@pytest.mark.parametrize("column", ["at", "seen", "day"])
def test_each_row_is_in_the_partition_of_its_time(
    column: str, shop: PostgresServer, tmp_path: Path, spark: Any
) -> None:
    project, store = project_by(column, tmp_path), LocalStore(tmp_path / "store")
    keys = [FIRST, SECOND, EMPTY, LAST]
    taken = list(take_partitions(project, "shop", keys, store, lambda: spark))
    assert [(part.key, part.rows, part.problem) for part in taken] == [
        (FIRST, 2, None),
        (SECOND, 1, None),
        (EMPTY, 0, None),
        (LAST, 1, None),
    ]
    result = ingest(project, "shop", store=store, spark_factory=lambda: spark, check=lambda *_: {})
    ids = pq.ParquetDataset(store.files(result.manifest)).read(["id"])["id"].to_pylist()
    assert sorted(ids) == [1, 2, 3, 4], "a day without rows is no missing day"


def test_rows_that_changed_are_taken_again(
    shop: PostgresServer, tmp_path: Path, spark: Any
) -> None:
    project, store = project_by("at", tmp_path), LocalStore(tmp_path / "store")

    def take() -> list[tuple[str, bool, int]]:
        taken = take_partitions(project, "shop", [FIRST, SECOND], store, lambda: spark)
        return [(part.key, part.is_new, part.revision) for part in taken]

    assert take() == [(FIRST, True, 1), (SECOND, True, 1)]
    assert take() == [(FIRST, False, 1), (SECOND, False, 1)]
    shop.execute("UPDATE orders SET note = 'late' WHERE id = 2", "DELETE FROM orders WHERE id = 5")
    assert take() == [(FIRST, True, 2), (SECOND, False, 1)]


def test_a_partition_that_is_written_to_is_one_snapshot(
    shop: PostgresServer, tmp_path: Path, spark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, store = project_by("at", tmp_path), LocalStore(tmp_path / "store")

    def read(*of: Any, **more: Any) -> Any:
        copied = write_rows(*of, **more)
        shop.execute("INSERT INTO orders (id, at) VALUES (9, '2024-03-01T12:00:00Z')")
        return copied

    monkeypatch.setattr("mlops_assets.sources.sql.write_rows", read)
    for rows in (2, 3):
        (taken,) = take_partitions(project, "shop", [FIRST], store, lambda: spark)
        assert (taken.problem, taken.rows, taken.is_new) == (None, rows, True)


def test_a_column_without_moments_is_refused(
    shop: PostgresServer, tmp_path: Path, spark: Any
) -> None:
    store = LocalStore(tmp_path / "store")
    for column, every, key in (("note", "day", FIRST), ("day", "hour", f"{FIRST}-05:00")):
        project = project_by(column, tmp_path, every)
        (taken,) = take_partitions(project, "shop", [key], store, lambda: spark)
        assert isinstance(taken.problem, SchemaError)
        assert column in str(taken.problem)
