"""The whole lifecycle of ``flights/arrival_delay`` against a script of the same work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.report import Report

if TYPE_CHECKING:
    from resources.settings import Settings

ROOT = Path(__file__).parents[1]
NAME = "flights/arrival_delay"


def run() -> Report:
    """One run of each, both in fresh processes with an empty store, one after the other."""
    from resources.settings import Settings
    from resources.triton.server import ensure_triton

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        environment = {
            **os.environ,
            "MLOPS_HOME": str(home / "home"),
            "MLOPS_TRITON_REPOSITORY": str(home / "repository"),
            "MLOPS_TRITON_ENVIRONMENTS": str(ROOT / ".mlops" / "triton"),
        }
        settings = Settings.from_environment(environment, ROOT)
        server = ensure_triton(settings, say=print)
        try:
            started = time.perf_counter()
            subprocess.run(
                [Path(sys.executable).with_name("mlops"), "run", NAME],
                check=True,
                env=environment,
                cwd=ROOT,
            )
            engine = time.perf_counter() - started
            epochs, batch, auc = _facts(settings)
            script = _script(environment, home / "work", epochs, batch)
        finally:
            server.stop()
    rows = [
        {"run": "engine", "seconds": round(engine, 1), "test roc_auc": round(auc, 4)},
        {"run": "script", "seconds": script["total"], "test roc_auc": round(script["auc"], 4)},
        {"run": "ratio", "seconds": round(engine / script["total"], 2), "test roc_auc": ""},
    ]
    parts = ", ".join(f"{name} {value} s" for name, value in script["seconds"].items())
    text = (
        f"Both in a fresh process with an empty store, {epochs} epochs of batches of {batch}. The "
        f"script's parts: {parts}. The engine also profiles and fingerprints every table, keeps "
        "versions, checks parity and golden rows, bootstraps and draws."
    )
    return Report("Lifecycle against a hand-written script", text, rows)


def _facts(settings: Settings) -> tuple[int, int, float]:
    """Epochs, batch size and test metric of the engine's run."""
    from mlops_assets.evaluation.run import load_result
    from mlops_assets.keys import ProjectId
    from mlops_assets.training.bundle import open_bundle
    from resources.store import open_store

    store = open_store(settings.store_uri)
    project = ProjectId.parse(NAME)
    bundle = open_bundle(store.path(store.latest(project.bundles_collection)))
    result = load_result(store, store.latest(project.evaluations_collection))
    metrics = bundle.metrics
    return len(metrics["history"]), metrics["batch_size"], result.metrics["roc_auc"]


def _script(environment: dict[str, str], work: Path, epochs: int, batch: int) -> dict:
    work.mkdir()
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.handwritten_flights", work, str(epochs), str(batch)],
        check=True,
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    return {**answer, "total": round(time.perf_counter() - started, 1)}


if __name__ == "__main__":
    print(run().render())
