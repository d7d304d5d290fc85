"""Rows of PostgreSQL into Parquet: the source of type sql against pandas."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import Report

ROOT = Path(__file__).parents[1]
ROWS = 1_000_000
ROUNDS = 3
TABLE = f"""
CREATE TABLE orders AS SELECT
  g::bigint AS id, now() - g * interval '1 s' AS at, (g % 977)::int AS customer,
  (g % 10000 / 100.0)::float8 AS x, (g % 100000 / 100.0)::numeric(12,2) AS price,
  md5(g::text) AS code, CASE WHEN g % 3 = 0 THEN NULL ELSE 'c' || g % 50 END AS colour,
  g % 2 = 0 AS is_late
FROM generate_series(1, {ROWS}) g
"""
ENGINE = """
from mlops_assets.config.sql import SqlSource
from mlops_assets.keys import ProjectId
from mlops_assets.sources import SourceContext
from mlops_assets.sources.sql_parquet import write_rows
from mlops_assets.sources.sql_relation import open_relation
import adbc_driver_postgresql.dbapi, pyarrow.parquet

def work():
    spec = SqlSource(type="sql", uri_env="BENCH_DB", table="public.orders")
    context = SourceContext(ProjectId("bench", "sql"), folder, folder)
    with open_relation(spec, context, reads=True) as relation:
        return write_rows(relation, spec, folder=folder, where="benchmark").rows
"""
PANDAS = """
import os, warnings
import pandas, psycopg2, pyarrow
warnings.simplefilter("ignore")

def work():
    connection = psycopg2.connect(os.environ["BENCH_DB"])
    frame = pandas.read_sql("SELECT * FROM public.orders", connection)
    frame.to_parquet(folder / "orders.parquet")
    return len(frame)
"""
MEASURED = """
import json, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
{code}

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024

before = peak()
started = time.perf_counter()
rows = work()
print(json.dumps({{"rows": rows, "seconds": time.perf_counter() - started,
                  "added": peak() - before}}))
"""


def run() -> Report:
    """Both in fresh processes in turn, from the same table of the same server; the best of each."""
    from tests.postgres_server import postgres_server

    with postgres_server() as server:
        server.execute(TABLE, "VACUUM ANALYZE orders")
        environment = {**os.environ, "BENCH_DB": server.uri(), "PYTHONPATH": str(ROOT)}
        rounds = [
            (_measure(ENGINE, environment), _measure(PANDAS, environment)) for _ in range(ROUNDS)
        ]
    engine, pandas = (
        min(runs, key=lambda one: one["seconds"]) for runs in zip(*rounds, strict=True)
    )
    assert engine["rows"] == pandas["rows"] == ROWS
    rows = [_row("type: sql", engine), _row("pandas.read_sql", pandas)]
    ratio = round(pandas["seconds"] / engine["seconds"], 1)
    less = round(pandas["added"] / engine["added"], 1)
    rows.append({"way": "ratio", "rows/s": f"{ratio}x", "memory added": f"{less}x less"})
    text = (
        f"{ROWS:,} rows of eight columns (numbers, text, a decimal, a timestamp, nulls) from a "
        "PostgreSQL on the same machine, which shares its cores. Reading and writing, without "
        f"imports, in fresh processes in turn; the best of {ROUNDS}."
    )
    return Report("Rows of PostgreSQL into Parquet", text, rows)


def _row(way: str, measured: dict[str, Any]) -> dict[str, Any]:
    speed = f"{measured['rows'] / measured['seconds']:,.0f}"
    return {"way": way, "rows/s": speed, "memory added": f"{measured['added']:.0f} MB"}


def _measure(code: str, environment: dict[str, str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", MEASURED.format(code=code), folder],
            env=environment,
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
        )
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured
