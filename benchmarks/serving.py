"""Predictions per second against a hand-written service, and what clients notice of redeploys."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import requests

from benchmarks.http_load import Result
from benchmarks.report import Report
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.keys import ProjectId
from mlops_assets.serving.deploy import deploy
from mlops_assets.serving.predict import request_body
from mlops_assets.training.bundle import Bundle, open_bundle
from mlops_assets.training.bundle_writer import write_bundle
from mlops_assets.training.split import split_rows
from mlops_assets.training.trainer import train
from resources.local_store import LocalStore
from resources.manifest import Draft
from resources.processes import free_port
from resources.settings import Settings
from resources.triton.environment import ensure_environment
from resources.triton.server import start_triton

ROOT = Path(__file__).parents[1]
NUMERIC = [f"n{i}" for i in range(10)]
TEXT = [f"c{i}" for i in range(6)]
CONNECTIONS = 16
SECONDS = 3.0
ROUNDS = 3
REDEPLOYS = 20
REDEPLOY_CONNECTIONS = 4


def make_table(rows: int = 4000) -> pa.Table:
    """Ten numbers and six categories of twenty values each, in arrival order."""
    rng = np.random.default_rng(0)
    numbers = {name: pa.array(rng.normal(size=rows), pa.float32()) for name in NUMERIC}
    words = np.array([f"category {i}" for i in range(20)])
    start = datetime(2024, 1, 1, tzinfo=UTC)
    times = [start + timedelta(minutes=row) for row in range(rows)]
    chance = 1 / (1 + np.exp(-2 * numbers["n0"].to_numpy()))
    return pa.table(
        {
            "id": pa.array([str(row) for row in range(rows)]),
            "at": pa.array(times, pa.timestamp("us", tz="UTC")),
            **numbers,
            **{name: pa.array(words[rng.integers(0, 20, rows)]) for name in TEXT},
            "y": pa.array((rng.random(rows) < chance).astype(np.int32)),
        }
    )


def make_project(seed: int) -> Project:
    """A default ``mlp`` on those columns."""
    written = {
        "description": "Benchmark",
        "task": "binary",
        "sources": {"t": {"type": "files", "uri": "t", "format": "parquet"}},
        "features": {
            "query": "features.sql",
            "entity": "id",
            "time": "at",
            "label": {"column": "y"},
            "inputs": {"numeric": NUMERIC, "categorical": TEXT},
        },
        "training": {"epochs": 1, "devices": "cpu", "seed": seed},
        "evaluation": {"split": {"by": "time", "test": "8h"}},
    }
    spec = ProjectSpec.model_validate(written)
    return Project(ProjectId("bench", "late"), spec, ROOT, written)


@dataclass
class Bench:
    """A running Triton, two bundles of the same project, and rows to ask about."""

    settings: Settings
    store: LocalStore
    bundles: Sequence[Bundle]
    rows: Sequence[dict[str, Any]]
    group: int

    def deploy(self, bundle: Bundle) -> str:
        """Make it live; returns the address for predictions."""
        return deploy(
            make_project(0),
            bundle,
            store=self.store,
            settings=self.settings,
            run_id="benchmark",
            reason="benchmark",
        ).predict_url

    def load(self, seconds: float, connections: int) -> Result:
        """Ask Triton over HTTP."""
        port = int(self.settings.triton_http_url.rpartition(":")[2])
        bodies = [request_body(self.bundles[0].schema, row) for row in self.rows]
        return generate(port, "/v2/models/bench__late/infer", bodies, seconds, connections)


@contextmanager
def bench() -> Iterator[Bench]:
    """Train two models and start a Triton with a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        environ = {"MLOPS_HOME": name, "MLOPS_TRITON_REPOSITORY": f"{name}/repository"}
        environment = ensure_environment(ROOT / ".mlops" / "triton", sys.stderr.write)
        store = LocalStore(home / "store")
        table = make_table()
        bundles = [train_one(seed, table, store, home) for seed in (0, 1)]
        rows = [{k: row[k] for k in (*NUMERIC, *TEXT)} for row in table.slice(0, 64).to_pylist()]
        server = start_triton(Settings.from_environment(environ, root=ROOT), environment)
        try:
            settings = Settings.from_environment(environ, root=ROOT)
            yield Bench(settings, store, bundles, rows, server.record.pid)
        finally:
            server.stop()


def train_one(seed: int, table: pa.Table, store: LocalStore, home: Path) -> Bundle:
    """A bundle in the store."""
    project = make_project(seed)
    split = split_rows(table, project.spec)
    result = train(table, split, project, checkpoints=home / f"checkpoints-{seed}")
    with store.staging(project.id.bundles_collection) as staged:
        info = write_bundle(
            staged,
            project,
            result,
            table,
            split,
            features_version="sha256:" + "0" * 64,
            code_version="benchmark",
        )
        manifest = store.publish(project.id.bundles_collection, staged, Draft(data_version=info.id))
    return open_bundle(store.path(manifest))


@contextmanager
def fastapi(bundle: Bundle, example: dict[str, Any], processes: int) -> Iterator[int]:
    """The hand-written service with the same model; yields its port."""
    port = free_port(8300)
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "benchmarks.fastapi_app:app",
        "--port",
        str(port),
        "--workers",
        str(processes),
        "--log-level",
        "warning",
        "--no-access-log",
    ]
    environment = {**os.environ, "BENCH_BUNDLE": str(bundle.directory)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        wait_for(f"http://127.0.0.1:{port}/predict", example)
        yield port
    finally:
        process.terminate()
        process.wait()


def wait_for(url: str, body: dict[str, Any]) -> None:
    """Until the address answers."""
    end = time.monotonic() + 30
    while True:
        try:
            if requests.post(url, json=body, timeout=2).ok:
                return
        except requests.RequestException:
            if time.monotonic() > end:
                raise
        time.sleep(0.1)


def generate(
    port: int, path: str, bodies: Sequence[object], seconds: float, connections: int
) -> Result:
    """Run the load generator in a process of its own."""
    order = {
        "port": port,
        "path": path,
        "bodies": bodies,
        "connections": connections,
        "seconds": seconds,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.http_load"],
        input=json.dumps(order),
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    return Result(**json.loads(done.stdout))


def throughput(bench: Bench) -> list[dict[str, Any]]:
    """Rows of the report; each round measures every server, so that ratios compare neighbours."""
    url = bench.deploy(bench.bundles[0])
    wait_for(url, request_body(bench.bundles[0].schema, bench.rows[0]))
    found: dict[str, list[Result]] = {}
    for _ in range(ROUNDS):
        found.setdefault("Triton", []).append(bench.load(SECONDS, CONNECTIONS))
        for name, path, processes in services():
            with fastapi(bench.bundles[0], bench.rows[0], processes) as port:
                result = generate(port, path, bench.rows, SECONDS, CONNECTIONS)
            found.setdefault(name, []).append(result)
    triton = found["Triton"]
    rows = []
    for name, results in found.items():
        ratio = median(t.rate / other.rate for t, other in zip(triton, results, strict=True))
        rows.append({**row(name, *results), "Triton is": f"{ratio:.1f} x"})
    return rows


def services() -> list[tuple[str, str, int]]:
    """FastAPI's variants: name, path, processes."""
    cores = len(os.sched_getaffinity(0))
    return [
        ("FastAPI `def`", "/predict", 1),
        (f"FastAPI `def`, {cores} processes", "/predict", cores),
        ("FastAPI `async def`", "/predict_async", 1),
        (f"FastAPI `async def`, {cores} processes", "/predict_async", cores),
    ]


def redeploys(bench: Bench) -> list[dict[str, Any]]:
    """Rows of the report: while versions change, and for the same time while none does."""
    bench.deploy(bench.bundles[0])
    changing: list[Result] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            changing.append(bench.load(5.0, REDEPLOY_CONNECTIONS))

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for number in range(1, REDEPLOYS + 1):
            bench.deploy(bench.bundles[number % 2])
    finally:
        stop.set()
        thread.join()
    idle = [bench.load(5.0, REDEPLOY_CONNECTIONS) for _ in changing]
    cases = ((f"Triton, {REDEPLOYS} redeploys", changing), ("Triton, no redeploy", idle))
    return [{**row(name, *results), "Triton is": ""} for name, results in cases]


def row(case: str, *results: Result) -> dict[str, Any]:
    """One row: the median rate, and latencies of all rounds."""
    everything = Result(
        sum(result.seconds for result in results),
        [latency for result in results for latency in result.latencies],
        sum(result.errors for result in results),
    )
    return {
        "case": case,
        "predictions/s": round(median(result.rate for result in results)),
        "p50 ms": round(everything.milliseconds(0.5), 2),
        "p99 ms": round(everything.milliseconds(0.99), 1),
        "worst ms": round(everything.milliseconds(1.0), 1),
        "errors": everything.errors,
    }


def run() -> Report:
    """Both measurements."""
    with bench() as running:
        rows = [*throughput(running), *redeploys(running)]
    above = rows[-2]["worst ms"] - rows[-1]["worst ms"]
    cores = len(os.sched_getaffinity(0))
    text = (
        f"The same `mlp` with {len(NUMERIC)} numbers and {len(TEXT)} texts as inputs, one row a "
        f"request, JSON over HTTP, {CONNECTIONS} connections, the same load generator and the same "
        f"{cores} cores for all; rates are medians of {ROUNDS} rounds, ratios are taken within a "
        "round. `def` is what FastAPI's documentation advises for calls that block. The last two "
        f"rows: {REDEPLOY_CONNECTIONS} connections without a pause. During {REDEPLOYS} redeploys, "
        f"golden rows and all, {rows[-2]['errors']} requests failed, and the worst answer took "
        f"{above:.0f} ms longer than in the same time without redeploys."
    )
    return Report("Serving", text, rows)


if __name__ == "__main__":
    print(run().render())
