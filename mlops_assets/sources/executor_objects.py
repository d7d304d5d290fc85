"""Objects in S3 that a cluster's executors read; this machine sees footers and headers only."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.config.sources import FilesSource
from mlops_assets.errors import SourceError, StoreError
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.executor_files import parquet_table, text_table
from mlops_assets.sources.objects import ObjectSet, away, find_objects
from mlops_assets.sources.parquet import file_schema
from mlops_assets.sources.paths import FileSet
from mlops_assets.sources.text import TextOptions
from mlops_assets.tables.executor_tasks import RemoteFile
from resources.s3 import S3Place

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

_PARALLEL = 8
_HEAD_BYTES = 1 << 20
"""A CSV file's header is looked for in so much of it."""


def read_objects(spark: SparkSession, spec: FilesSource, context: SourceContext) -> DataFrame:
    """Objects as one table, read by executors.

    Raises:
        SourceError: S3 does not give them, or they are corrupt.
        SchemaError: Their columns do not fit together.
    """
    uri = context.window.start.strftime(spec.uri) if context.window else spec.uri
    found = find_objects(uri, spec.format, context)
    files = [RemoteFile(found.place.bucket, item.key, item.bytes) for item in found.objects]
    options = TextOptions(spec.columns, spec.delimiter, spec.header, spec.null_value)
    if spec.format == "parquet":
        _refuse_partition_folders(found, context.where)
        schemas = footers(files, context.where)
        return parquet_table(spark, files, _names(found), schemas, context.where)
    heads = _heads(found, context) if spec.format == "csv" else _names(found)
    return text_table(spark, files, heads, spec.format, options, where=context.where)


def footers(files: Sequence[RemoteFile], where: str) -> list[pa.Schema]:
    """Schemas of Parquet files in S3; a few kilobytes of each are read.

    Raises:
        SourceError: A footer is missing or damaged, or S3 does not give it.
    """

    def read(file: RemoteFile) -> pa.Schema:
        import pyarrow as pa

        try:
            return file_schema(_RangeFile(file))
        except StoreError as error:
            raise away(error, where) from error
        except (pa.ArrowException, OSError) as error:
            raise SourceError(
                "a Parquet file is corrupt or was cut short",
                where=where,
                found=f"{file.uri} ({file.bytes:,} bytes): {error}",
                expected="a whole Parquet file",
                fix="write the file again, or take it away; nothing was published",
            ) from error

    with ThreadPoolExecutor(_PARALLEL) as pool:
        return list(pool.map(read, files))


class _RangeFile(io.RawIOBase):
    """An object in S3, of which those bytes are fetched that are read."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._place = S3Place(file.bucket)
        self._position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Let the next read begin elsewhere."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.bytes}
        self._position = base[whence] + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Some bytes."""
        left = max(self._file.bytes - self._position, 0)
        count = left if size < 0 else min(size, left)
        if not count:
            return b""
        body = self._place.read_range(self._file.key, self._position, count)
        self._position += len(body)
        return body


def _heads(found: ObjectSet, context: SourceContext) -> FileSet:
    """The beginnings of some objects, in files of the workspace."""
    base = context.workspace / "heads"

    def fetch(number: int) -> Path:
        item = found.objects[number]
        path = base / str(number) / Path(item.key).name
        path.parent.mkdir(parents=True, exist_ok=True)
        place = S3Place(found.place.bucket)
        try:
            path.write_bytes(place.read_range(item.key, 0, min(item.bytes, _HEAD_BYTES)))
        except StoreError as error:
            raise away(error, context.where) from error
        return path

    with ThreadPoolExecutor(_PARALLEL) as pool:
        return FileSet(base, tuple(pool.map(fetch, range(len(found.objects)))))


def _names(found: ObjectSet) -> FileSet:
    """The objects' names, as if they were files."""
    root = Path("/")
    return FileSet(root, tuple(root / found.name(item) for item in found.objects))


def _refuse_partition_folders(found: ObjectSet, where: str) -> None:
    """Columns in folders' names are read by Spark's own reader only."""
    for item in found.objects:
        folder, _, _ = found.name(item).rpartition("/")
        if "=" in folder:
            raise SourceError(
                "a Spark cluster does not read columns from folders' names in S3",
                where=where,
                found=folder,
                expected="files that hold all columns themselves",
                fix="write the columns into the files, or use `master: local` for this project",
            )
