"""Tables in S3 that a cluster's executors read, write and profile by themselves."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import StoreError
from mlops_assets.tables.executor_tasks import (
    PROFILED,
    WRITTEN,
    RemoteFile,
    Target,
    profiling_task,
    reading_task,
    text_task,
    writing_task,
)
from mlops_assets.tables.globbing import escaped
from mlops_assets.tables.profile import TableProfile, TableSummary
from mlops_assets.tables.shipping import is_connect, ship
from resources.manifest import Column, FileEntry, Manifest
from resources.s3_folder import S3Folder
from resources.s3_store import S3Store
from resources.store import Store

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

_SENT = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")
_SENT_PREFIX = "MLOPS_S3_SSE"
_PROFILING_TASKS = 64
"""Their answers, some 16 KB for each column, are put together one after the other."""


def is_elsewhere(spark: SparkSession) -> bool:
    """Whether a session's executors may run on other machines than this process."""
    return is_connect(spark) or not str(spark.conf.get("spark.master", "local")).startswith("local")


def uses_executors(spark: SparkSession, store: Store) -> bool:
    """Whether executors have to read and write a store in S3 themselves."""
    return isinstance(store, S3Store) and is_elsewhere(spark)


def read_version(spark: SparkSession, store: Store, manifest: Manifest) -> DataFrame:
    """A version as a table, read by whoever computes with it.

    Raises:
        StoreError: Files are missing.
    """
    if not uses_executors(spark, store):
        return spark.read.parquet(*map(str, store.files(manifest)))
    return read_remote(spark, remote_files(store, manifest), spark_schema(manifest.columns))


def remote_files(store: Store, manifest: Manifest) -> list[RemoteFile]:
    """A version's files as executors find them."""
    addresses = zip(store.addresses(manifest), manifest.entries, strict=True)
    return [remote_file(address, entry) for address, entry in addresses]


def remote_file(address: str, entry: FileEntry) -> RemoteFile:
    """A file as executors find it."""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return RemoteFile(bucket, key, entry.bytes, entry.sha256)


def read_remote(spark: SparkSession, files: Sequence[RemoteFile], schema: StructType) -> DataFrame:
    """Parquet files in S3 as one table: by Spark's own connector where it is, else by Arrow."""
    if files and has_s3a(spark):
        return spark.read.schema(schema).parquet(*map(s3a_address, files))
    return _answers(spark, len(files), reading_task(files, _arrow(schema), _environment()), schema)


def s3a_address(file: RemoteFile) -> str:
    """A file's address for Spark's own connector."""
    return escaped(file.uri.replace("s3://", "s3a://", 1))


def read_lines(spark: SparkSession, files: Sequence[RemoteFile], *, skipped: int) -> DataFrame:
    """Lines of text files in S3, in one column."""
    task = text_task(files, _environment(), skipped=skipped)
    return _answers(spark, len(files), task, "value string")


def write_remote(df: DataFrame, folder: S3Folder, rows_per_file: int) -> None:
    """Let the executors write a table into a folder in S3.

    What counts are the files of the tasks whose answers arrived. A task that is killed and done
    again, or done twice, leaves files under other names, and they are removed.

    Raises:
        StoreError: S3 cannot be written.
    """
    ship(df.sparkSession)
    target = Target(folder.place.bucket, folder.place.key(folder.location), rows_per_file)
    task = writing_task(target, _arrow(df.schema), df.schema.json(), _environment())
    with _executing(df.sparkSession):
        lines = df.mapInArrow(task, WRITTEN).collect()  # a line for each file
    entries = [FileEntry(path=line.path, bytes=line.bytes, sha256=line.sha256) for line in lines]
    folder.settle(entries, sum(line.rows for line in lines))


def read_folder(spark: SparkSession, folder: S3Folder, schema: StructType) -> DataFrame:
    """What :func:`write_remote` wrote."""
    return read_remote(spark, folder_files(folder), schema)


def folder_files(folder: S3Folder) -> list[RemoteFile]:
    """The files that :func:`write_remote` wrote."""
    return [remote_file(folder.address(entry), entry) for entry in folder.entries]


def lend(folder: S3Folder, paths: Sequence[Path]) -> list[RemoteFile]:
    """Copy files that only this machine has into a folder in S3, for executors to read.

    Raises:
        StoreError: S3 cannot be written.
    """
    entries = [folder.put(path, f"{n:05}-{path.name}") for n, path in enumerate(paths)]
    return [remote_file(folder.address(entry), entry) for entry in entries]


def profile_remote(
    spark: SparkSession,
    files: Sequence[RemoteFile],
    columns: Sequence[Column],
    pii: Sequence[str],
) -> TableProfile:
    """Profile a table where its executors are: the driver gets summaries, and no rows."""
    groups = [files[start::_PROFILING_TASKS] for start in range(_PROFILING_TASKS)]
    groups = [group for group in groups if group]
    task = profiling_task(groups, list(columns), list(pii), _environment())
    found = TableSummary(columns, pii)
    with _executing(spark):
        for line in _answers(spark, len(groups), task, PROFILED).toLocalIterator():
            found.merge(pickle.loads(bytes(line["body"])))  # noqa: S301 - by our own task
    return found.profile()


def has_s3a(spark: SparkSession) -> bool:
    """Whether Spark's own connector to S3 is there (``spark.packages`` with hadoop-aws)."""
    from py4j.protocol import Py4JError

    if is_connect(spark):
        return False
    jvm: Any = spark.sparkContext._jvm
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    try:
        loader.loadClass("org.apache.hadoop.fs.s3a.S3AFileSystem")
    except Py4JError:
        return False
    return True


def spark_schema(columns: Sequence[Column]) -> StructType:
    """The schema of a version's columns.

    Raises:
        StoreError: A version says nothing about its columns.
    """
    from pyspark.sql.types import StructType

    if not columns:
        raise StoreError("a version has no columns", expected="a table")
    schema = StructType()
    for column in columns:
        schema = schema.add(column.name, StructType.fromDDL(f"value {column.type}")[0].dataType)
    return schema


def _answers(
    spark: SparkSession, tasks: int, task: Callable[..., Any], schema: StructType | str
) -> DataFrame:
    """What tasks answer to their numbers; each number is one partition."""
    ship(spark)
    return spark.range(0, tasks, 1, max(tasks, 1)).mapInArrow(task, schema)


def _arrow(schema: StructType) -> pa.Schema:
    from pyspark.sql.pandas.types import to_arrow_schema

    return to_arrow_schema(schema, timezone="UTC")


def _environment() -> dict[str, str]:
    """Where S3 is, for executors. Credentials are not sent: they have their own."""
    return {
        name: value
        for name, value in os.environ.items()
        if value and (name in _SENT or name.startswith(_SENT_PREFIX))
    }


@contextmanager
def _executing(spark: SparkSession) -> Iterator[None]:
    """Turn what executors say into the engine's errors, with the cluster as the place."""
    from mlops_assets.tables.spark_errors import summary, translated

    def to_error(text: str) -> StoreError:
        return StoreError(
            "the cluster's executors failed",
            where=str(spark.conf.get("spark.master", "Spark Connect")),
            found=summary(text, hide_values=True),
            expected="executors whose Python has pyarrow, pandas and boto3, and that reach S3",
            fix="look at the executors' logs; nothing was published",
        )

    with translated(to_error):
        yield
