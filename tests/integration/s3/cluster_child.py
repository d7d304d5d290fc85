"""The driver of Spark runs with a store in S3, as a process of its own.

Argument: the master. Each line of the input is a wish: what to do, a folder, the store's address,
the project and further variables of the environment. Each gets a line as its answer.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pyspark import TaskContext

from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.config.spark import SparkSpec
from mlops_assets.errors import MlopsError
from mlops_assets.features.materialize import materialize_features
from mlops_assets.keys import ProjectId
from mlops_assets.quality.runner import validate
from mlops_assets.sources.ingest import ingest
from mlops_assets.sources.partitioned import take_partitions
from resources.s3 import S3Place
from resources.s3_client import s3_client
from resources.spark import spark_session
from resources.store import open_store


def lifecycle(project: Project, store: Any, factory: Callable[[], Any]) -> dict[str, Any]:
    """Raw data of all sources, checked features."""
    passed: list[bool] = []

    def check(df: Any, profile: Any) -> dict[str, Any]:
        checks = project.spec.checks["features"]
        passed.extend(r.passed for r in validate(df, checks, pii=(), where="features"))
        return {}

    here = {"store": store, "spark_factory": factory}
    raw = {
        name: ingest(project, name, check=lambda df, p: {}, **here) for name in project.spec.sources
    }
    made = materialize_features(project, code_version="1", check=check, **here)
    return {
        "raw": {name: result.manifest.data_version for name, result in raw.items()},
        "features": made.manifest.data_version,
        "rows": made.manifest.rows,
        "statistics": made.statistics,
        "files": [entry.path for entry in made.manifest.entries],
        "passed": passed,
    }


def features(project: Project, store: Any, factory: Callable[[], Any]) -> dict[str, Any]:
    """Features once more, over the raw data that are there."""
    here = {"store": store, "spark_factory": factory, "check": lambda df, profile: {}}
    made = materialize_features(project, code_version="2", force=True, **here)
    return {"features": made.manifest.data_version}


def taken(project: Project, store: Any, factory: Callable[[], Any]) -> dict[str, Any]:
    """Whole tables, and sources by the day, of which one day changes meanwhile."""
    here = {"store": store, "spark_factory": factory}
    days = ["2024-03-01", "2024-03-02"]
    sources = project.spec.sources
    by_day = [name for name, spec in sources.items() if spec.slices is not None]
    first = {name: list(take_partitions(project, name, days, **here)) for name in by_day}
    late = S3Place.parse(str(sources["visits"].uri).replace("%Y-%m-%d", days[1]))
    s3_client().copy_object(
        Bucket=late.bucket,
        Key=f"{late.prefix}/late.parquet",
        CopySource={"Bucket": late.bucket, "Key": f"{late.prefix}/a.parquet"},
    )
    second = {name: list(take_partitions(project, name, days, **here)) for name in by_day}
    raw = {name: ingest(project, name, check=lambda df, p: {}, **here) for name in sources}
    return {
        "problems": [str(p.problem) for part in first.values() for p in part if p.problem],
        "rows": {name: [part.rows for part in found] for name, found in second.items()},
        "revisions": {name: [part.revision for part in found] for name, found in second.items()},
        "raw": {name: result.manifest.data_version for name, result in raw.items()},
        "raw_rows": {name: result.manifest.rows for name, result in raw.items()},
    }


def killed(project: Project, store: Any, factory: Callable[[], Any]) -> dict[str, Any]:
    """Write rows while an executor is killed after its first file."""
    from mlops_assets.tables.executors import folder_files, read_folder, write_remote
    from mlops_assets.tables.shipping import ship

    marker = str(project.directory / "killed")
    spark = factory()
    ship(spark)
    with store.folder("kill/rows") as folder:
        endpoint = os.environ["AWS_ENDPOINT_URL_S3"]
        task = partial(_kill_once, marker, endpoint, store.place, f"{folder.location}/")
        rows = spark.range(0, 200_000, 1, 2).mapInArrow(task, "id bigint")
        write_remote(rows, folder, 20_000)
        listed = [item.key for item in store.place.listing(f"{folder.location}/")]
        named = [file.key for file in folder_files(folder)]
        ids = read_folder(spark, folder, rows.schema)
        counts = ids.selectExpr("count(*)", "count(DISTINCT id)").first()
    gone = [item.key for item in store.place.listing(f"{folder.location}/")]
    return {
        "left": Path(marker).read_text(encoding="utf-8").split(),
        "listed": sorted(listed),
        "named": sorted(named),
        "counts": list(counts),
        "gone": gone,
    }


def _kill_once(
    marker: str, endpoint: str, place: Any, prefix: str, batches: Iterator[Any]
) -> Iterator[Any]:
    """Pass rows on; the first task that comes so far kills its JVM when a file was written."""
    for number, batch in enumerate(batches):
        if number == 6:
            try:
                file = os.open(marker, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                pass
            else:
                os.environ["AWS_ENDPOINT_URL_S3"] = endpoint
                written: list[str] = []
                end = time.monotonic() + 60
                while not written and time.monotonic() < end:
                    part = f"{prefix}part-{TaskContext.get().partitionId():05d}"
                    written = [item.key for item in place.listing(part)]
                    time.sleep(0.2)
                os.write(file, "\n".join(written).encode())
                stat = Path(f"/proc/{os.getppid()}/stat").read_text(encoding="utf-8")
                os.kill(int(stat.rpartition(")")[2].split()[1]), signal.SIGKILL)
                time.sleep(60)
        yield batch


def executor_modules(factory: Callable[[], Any]) -> list[str]:
    """Where executors found the engine."""
    from mlops_assets.tables.shipping import ship

    def where(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        import mlops_assets

        for _ in batches:
            yield pa.RecordBatch.from_pylist([{"file": str(mlops_assets.__file__)}])

    ship(factory())
    answers = factory().range(0, 2, 1, 2).mapInArrow(where, "file string").collect()
    return [answer["file"] for answer in answers]


def refuse(*_: Any, **__: Any) -> None:
    """In the place of what the driver must not do."""
    raise AssertionError("the driver moved data")


def main(
    factory: Callable[[], Any], kind: str, home: Path, uri: str, written: dict[str, Any]
) -> dict[str, Any]:
    """Do what is asked."""
    query = written.pop("text")
    spec = ProjectSpec.model_validate(written)
    project = Project(ProjectId("team", "shop"), spec, home, written, {"features.sql": query})
    S3Place.upload = UPLOAD if kind == "taken" or IS_LOCAL else refuse  # type: ignore[method-assign, assignment]
    store: Any = open_store(uri, cache=home / "cache")
    answer = {"lifecycle": lifecycle, "features": features, "taken": taken, "killed": killed}[kind]
    try:
        found = answer(project, store, factory)
    except MlopsError as error:
        return {"error": type(error).__name__, "text": str(error)}
    if kind == "lifecycle" and not IS_LOCAL:
        found["modules"] = executor_modules(factory)
        found["session"] = type(factory()).__module__
    if kind == "lifecycle" and MASTER.startswith("spark://"):
        found["nodes"] = factory().sparkContext._jsc.sc().getExecutorMemoryStatus().size()
        configuration = factory().sparkContext.getConf().getAll()
        found["conf"] = [f"{name}={value}" for name, value in configuration]
    return found


MASTER = sys.argv[1]
IS_LOCAL = MASTER == "local"
UPLOAD = S3Place.upload


def answer_all() -> None:
    """Answer what is asked on the standard input, a line each."""
    spec = SparkSpec(master=MASTER)
    if MASTER.startswith("spark://"):
        executors = {"instances": 2, "cores": 1, "memory": "700m"}
        spec = SparkSpec(master=MASTER, executors=executors)
    if not IS_LOCAL:
        S3Place.download = refuse  # type: ignore[method-assign, assignment]
    factory = partial(spark_session, home=Path.cwd(), spec=spec)
    for line in sys.stdin:
        kind, home, uri, written, environment = json.loads(line)
        os.environ |= environment
        found = main(factory, kind, Path(home), uri, written)
        sys.stdout.write(json.dumps(found, default=str) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    answer_all()
