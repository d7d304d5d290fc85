"""Parquet files as executors read them: the same table as Spark's own reader makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql.pandas.types import to_arrow_schema

from mlops_assets.config.project import Project
from mlops_assets.sources.executor_files import merged
from mlops_assets.sources.ingest import ingest
from mlops_assets.sources.parquet import read_parquet, read_schemas
from mlops_assets.sources.paths import FileSet
from mlops_assets.tables import executor_tasks
from mlops_assets.tables.executor_tasks import RemoteFile, reading_task
from mlops_assets.tables.profile import profile
from resources.local_store import LocalStore
from resources.manifest import Column

pytestmark = pytest.mark.spark
TIMES = [
    datetime(2024, 3, 1, 12, 30, 0, 123456, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(1950, 1, 1, tzinfo=UTC),
    None,
]


def read_by_task(
    found: FileSet, schema: pa.Schema, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pa.RecordBatch]:
    """What an executor's task answers, with files that are here already."""

    @contextmanager
    def here(file: RemoteFile) -> Iterator[Path]:
        yield Path(file.key)

    monkeypatch.setattr(executor_tasks, "fetched", here)
    files = [RemoteFile("", str(path), path.stat().st_size) for path in found.files]
    numbers = pa.RecordBatch.from_pydict({"id": list(range(len(files)))})
    yield from reading_task(files, schema, {})([numbers])


def spark_file(spark: Any, folder: Path) -> Path:
    """A file by Spark, as it wrote times by default before version 3, also within others."""
    text = "id int, at timestamp, seen array<timestamp>, by struct<at: timestamp, who: string>"
    df = spark.createDataFrame([(n, at, [at], (at, "x")) for n, at in enumerate(TIMES)], text)
    spark.conf.set("spark.sql.parquet.outputTimestampType", "INT96")
    try:
        df.coalesce(1).write.parquet(str(folder))
    finally:
        spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    (path,) = folder.glob("*.parquet")
    return path


def arrow_file(path: Path) -> Path:
    """A file by pyarrow, which keeps its own types beside Parquet's."""
    at = pa.array(TIMES[:1] * 3, pa.timestamp("ns", "Europe/Berlin"))
    plain = pa.array([None, datetime(2024, 1, 1), None], pa.timestamp("ns"))
    table = pa.table({"id": pa.array([1, 2, 3], pa.int32()), "at": at, "plain": plain})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    return path


@pytest.mark.parametrize("writer", ["spark", "arrow"])
def test_int96_times_are_read_as_spark_reads_them(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    made = spark_file(spark, tmp_path / "by_spark") if writer == "spark" else arrow_file(
        tmp_path / "a.parquet"
    )  # fmt: skip
    found = FileSet(made.parent, (made,))
    local = read_parquet(spark, found, "shop")
    schema = merged(read_schemas(found, "shop"))
    assert schema == local.schema
    arrow = to_arrow_schema(schema, timezone="UTC")
    table = pa.Table.from_batches(read_by_task(found, arrow, monkeypatch), arrow)
    assert table.to_pylist() == local.toArrow().cast(arrow).to_pylist()


def test_a_version_has_one_name_wherever_it_was_read(
    make_project: Callable[..., Project],
    store: LocalStore,
    spark: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = make_project()
    made = spark_file(spark, tmp_path / "by_spark")
    flat = spark.read.parquet(str(made)).select("id", "at")
    spark.conf.set("spark.sql.parquet.outputTimestampType", "INT96")
    try:
        flat.coalesce(1).write.mode("append").parquet(str(project.directory / "shop"))
    finally:
        spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    folder = project.directory / "shop"
    result = ingest(
        project, "shop", store=store, spark_factory=lambda: spark, check=lambda df, p: {}
    )
    found = FileSet(folder, tuple(folder.glob("*.parquet")))
    schema = merged(read_schemas(found, "shop"))
    arrow = to_arrow_schema(schema, timezone="UTC")
    pq.write_table(
        pa.Table.from_batches(read_by_task(found, arrow, monkeypatch)), tmp_path / "b.parquet"
    )
    columns = [Column(name=f.name, type=f.dataType.simpleString()) for f in schema]
    there = profile([tmp_path / "b.parquet"], columns)
    assert there.data_version == result.manifest.data_version
    assert there.rows == len(TIMES)
