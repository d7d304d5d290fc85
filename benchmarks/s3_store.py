"""The lifecycle of ``flights/arrival_delay`` with its store in S3 against one in a folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Report
from mlops_assets.cli.variables import variables

ROOT = Path(__file__).parents[1]
NAME = "flights/arrival_delay"
ROUNDS = 2
BUCKET = "bench"


def run() -> Report:
    """Both in fresh processes with an empty store, in turn; the best of each."""
    from resources.s3_client import s3_client
    from resources.s3_server import start_s3_server

    seconds: dict[str, list[float]] = {"folder": [], "S3": []}
    again: dict[str, list[float]] = {"folder": [], "S3": []}
    with tempfile.TemporaryDirectory() as folder:
        server = start_s3_server(Path(folder) / "server")
        try:
            with variables(server.environment):
                s3_client().create_bucket(Bucket=BUCKET)
            for number in range(ROUNDS):
                for place, measured in seconds.items():
                    home = Path(folder) / f"{place}-{number}"
                    uri = f"s3://{BUCKET}/{number}" if place == "S3" else str(home / "store")
                    first, second = _lifecycle(home, {**server.environment, "MLOPS_STORE_URI": uri})
                    measured.append(first)
                    again[place].append(second)
        finally:
            server.stop()
    rows = [
        {
            "store": place,
            "seconds": round(min(seconds[place]), 1),
            "nothing new": round(min(again[place]), 1),
        }
        for place in seconds
    ]
    ratio = {
        "store": "ratio",
        "seconds": f"{min(seconds['S3']) / min(seconds['folder']):.2f}x",
        "nothing new": f"{min(again['S3']) / min(again['folder']):.2f}x",
    }
    text = (
        "`mlops run flights/arrival_delay` from raw data to a deployed model, then once more when "
        "nothing changed; fresh processes, empty stores, in turn, the best of "
        f"{ROUNDS}. The S3 server (SeaweedFS) runs on the same machine and takes its share of the "
        "cores."
    )
    return Report("Store in S3 against a folder", text, [*rows, ratio])


def _lifecycle(home: Path, wanted: dict[str, str]) -> tuple[float, float]:
    """Seconds of a first run, and of one that finds nothing new."""
    from resources.settings import Settings
    from resources.triton.server import ensure_triton

    environment = {
        **os.environ,
        **wanted,
        "MLOPS_HOME": str(home / "home"),
        "MLOPS_TRITON_REPOSITORY": str(home / "repository"),
        "MLOPS_TRITON_ENVIRONMENTS": str(ROOT / ".mlops" / "triton"),
    }
    server = ensure_triton(Settings.from_environment(environment, ROOT), say=print)
    try:
        return _timed(environment), _timed(environment)
    finally:
        server.stop()


def _timed(environment: dict[str, str]) -> float:
    started = time.perf_counter()
    command = [Path(sys.executable).with_name("mlops"), "run", NAME]
    subprocess.run(command, check=True, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    print(run().render())
