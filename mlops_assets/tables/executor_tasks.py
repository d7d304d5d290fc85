"""What executors do with files in S3: read, write and profile them, one task after the other.

These functions run in Python workers of a cluster, where nothing of this project is installed:
the modules that they need travel as a file (:mod:`mlops_assets.tables.shipping`). A file is fetched
whole and compared, or written whole and hashed, on the worker's own disk; the driver sees names.
"""

from __future__ import annotations

import json
import os
import pickle
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_assets.errors import MlopsError, StoreError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mlops_assets.tables.profile import TableSummary
    from resources.manifest import Column

    Batches = Iterable[pa.RecordBatch]
    Task = Callable[[Batches], Iterator[pa.RecordBatch]]

MARK = "mlops-executor-error:"
"""Stands before an executor's own error, as JSON, in what Spark says about a failed task."""
WRITTEN = "path string, bytes bigint, sha256 string, rows bigint"
"""What a writing task says about each file."""
PROFILED = "body binary"
"""What a profiling task says."""
_BATCH_ROWS = 1 << 16
_GROUP_ROWS = 1 << 19
_GROUP_BYTES = 128 << 20
"""A row group ends with the batch that reaches one of both; so much is in memory at a time."""
_SPARK_SCHEMA = b"org.apache.spark.sql.parquet.row.metadata"


@dataclass(frozen=True)
class RemoteFile:
    """A file in S3 that executors read.

    Attributes:
        bucket: Its bucket.
        key: Its whole key.
        bytes: Its size.
        sha256: Its content, where that is known.
    """

    bucket: str
    key: str
    bytes: int
    sha256: str | None = None

    @property
    def uri(self) -> str:
        """Its address."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Target:
    """Where tasks write.

    Attributes:
        bucket: The bucket.
        prefix: The folder's whole key.
        rows_per_file: How many rows a file has at most.
    """

    bucket: str
    prefix: str
    rows_per_file: int


def reading_task(
    files: Sequence[RemoteFile], schema: pa.Schema, environment: Mapping[str, str]
) -> Task:
    """A task that answers each file's number with the file's rows, in the columns of a schema."""

    def read(numbers: Batches) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        with _working(environment):
            for file in _named(files, numbers):
                with fetched(file) as path, _opened(path) as parquet:
                    for batch in parquet.iter_batches(batch_size=_BATCH_ROWS):
                        yield from shaped(pa.Table.from_batches([batch]), schema).to_batches()

    return read


def text_task(files: Sequence[RemoteFile], environment: Mapping[str, str], *, skipped: int) -> Task:
    """A task that answers each file's number with the file's lines, without the first few."""

    def read(numbers: Batches) -> Iterator[pa.RecordBatch]:
        with _working(environment):
            for file in _named(files, numbers):
                with fetched(file) as path:
                    yield from _lines(path, Path(file.key).suffix.lower(), skipped)

    return read


def writing_task(
    target: Target, schema: pa.Schema, spark_schema: str, environment: Mapping[str, str]
) -> Task:
    """A task that writes its rows to files, and says what they are.

    Each attempt has names of its own: what a killed one left is in nobody's answer.
    """

    def write(batches: Batches) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa
        from pyspark import TaskContext

        context = TaskContext.get()
        partition = context.partitionId() if context else 0
        form = schema.with_metadata({_SPARK_SCHEMA: spark_schema.encode()})
        with _working(environment), tempfile.TemporaryDirectory(prefix="mlops-write-") as folder:
            for number, rows in enumerate(_pieces(batches, target.rows_per_file)):
                path = (
                    Path(folder) / f"part-{partition:05d}-{number:03d}-{uuid.uuid4().hex}.parquet"
                )
                count = _write(path, rows, form)
                size, sha256 = _sent(path, target)
                path.unlink()
                line = {"path": path.name, "bytes": size, "sha256": sha256, "rows": count}
                yield pa.RecordBatch.from_pylist([line])

    return write


def profiling_task(
    groups: Sequence[Sequence[RemoteFile]],
    columns: Sequence[Column],
    pii: Sequence[str],
    environment: Mapping[str, str],
) -> Task:
    """A task that answers each group's number with what was gathered of its files."""

    def gather(numbers: Batches) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        with _working(environment):
            for group in _named(groups, numbers):
                body = pickle.dumps(_gathered(group, columns, pii))
                yield pa.RecordBatch.from_pydict({"body": pa.array([body], pa.binary())})

    return gather


@contextmanager
def fetched(file: RemoteFile) -> Iterator[Path]:
    """A file on this machine's disk for a block, whole and as it was published.

    Raises:
        StoreError: S3 does not give it, or it is another one.
    """
    from resources import durable
    from resources.s3 import S3Place

    with tempfile.TemporaryDirectory(prefix="mlops-read-") as folder:
        path = Path(folder) / "file"
        S3Place(file.bucket).download(file.key, path)
        size = path.stat().st_size
        if size != file.bytes or file.sha256 not in {None, durable.file_digest(path)}:
            raise StoreError(
                "a file was changed or cut short",
                where=file.uri,
                found=f"{size:,} bytes",
                expected=f"{file.bytes:,} bytes as they were published",
                fix="run again; make the version again with `mlops run --force` if it stays so",
            )
        yield path


def shaped(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table in the columns and types of a schema; columns that it has not are missing values."""
    import pyarrow as pa

    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


@contextmanager
def _working(environment: Mapping[str, str]) -> Iterator[None]:
    """The driver's settings of S3 without its credentials; errors in a form that it understands."""
    os.environ.update(environment)
    try:
        yield
    except MlopsError as error:
        parts = {
            "problem": error.problem,
            "where": error.where,
            "found": error.found,
            "expected": error.expected,
            "fix": error.fix,
        }
        raise RuntimeError(f"{MARK}{json.dumps(parts)}") from None


def _opened(path: Path) -> pq.ParquetFile:
    """A file whose INT96 times are microseconds: nanoseconds end in the year 2262."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(path, coerce_int96_timestamp_unit="us")


def _named(things: Sequence[Any], numbers: Batches) -> Iterator[Any]:
    for batch in numbers:
        for number in batch.column(0).to_pylist():
            yield things[number]


def _lines(path: Path, ending: str, skipped: int) -> Iterator[pa.RecordBatch]:
    import bz2
    import gzip
    from itertools import islice

    import pyarrow as pa

    opener: Any = {".gz": gzip.open, ".bz2": bz2.open}.get(ending, open)
    with opener(path, "rt", encoding="utf-8-sig", errors="replace") as text:
        lines = (line.rstrip("\n") for line in islice(text, skipped, None))
        while some := list(islice(lines, _BATCH_ROWS)):
            yield pa.RecordBatch.from_pydict({"value": pa.array(some, pa.string())})


def _pieces(batches: Batches, most: int) -> Iterator[Iterator[pa.RecordBatch]]:
    """The rows in files' worths; each piece is used up before the next is asked for."""
    rest = (batch for batch in batches if batch.num_rows)
    held = next(rest, None)

    def piece() -> Iterator[pa.RecordBatch]:
        nonlocal held
        left = most
        while held is not None and left:
            part, behind = held.slice(0, left), held.slice(left)
            left -= part.num_rows
            held = behind if behind.num_rows else None
            yield part
            held = next(rest, None) if held is None else held

    while held is not None:
        yield piece()


def _write(path: Path, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 0
    with pq.ParquetWriter(path, schema, write_page_checksum=True) as writer:
        for group in _row_groups(batches):
            table = shaped(pa.Table.from_batches(group), schema)
            writer.write_table(table)
            rows += table.num_rows
    return rows


def _row_groups(batches: Batches) -> Iterator[list[pa.RecordBatch]]:
    """Batches by row group: Spark's have some 10,000 rows, and each group costs its readers."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield held
            held, rows, size = [], 0, 0
    if held:
        yield held


def _sent(path: Path, target: Target) -> tuple[int, str]:
    """Put a file into the target, and say its size and SHA-256."""
    from resources import durable
    from resources.s3 import S3Place

    place = S3Place(target.bucket, target.prefix, S3Place.parse(f"s3://{target.bucket}").encryption)
    place.upload(path, path.name)
    return path.stat().st_size, durable.file_digest(path)


def _gathered(
    group: Sequence[RemoteFile], columns: Sequence[Column], pii: Sequence[str]
) -> TableSummary:
    from mlops_assets.tables.profile import TableSummary

    found = TableSummary(columns, pii)
    for file in group:
        with fetched(file) as path:
            found.add_file(path)
    return found
