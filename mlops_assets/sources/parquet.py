"""Parquet files: every footer is looked at before Spark starts to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.config.sources import format_of
from mlops_assets.errors import SchemaError, SourceError
from mlops_assets.sources.paths import FileSet
from mlops_assets.sources.reading import NANOSECONDS_FIX
from mlops_assets.tables.globbing import escaped

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

_READERS = 8
_INT96 = "INT96"


def read_parquet(spark: SparkSession, found: FileSet, where: str) -> DataFrame:
    """Read Parquet files as one table.

    Raises:
        SourceError: A file is corrupt or cut short.
        SchemaError: The files' columns do not fit together.
    """
    schemas = read_schemas(found, where)
    is_grown = find_growth(found, schemas, where)
    reader = spark.read.option("mergeSchema", str(is_grown).lower())
    reader = reader.option("basePath", escaped(found.base))
    return reader.parquet(*(escaped(file) for file in found.files))


def read_schemas(found: FileSet, where: str) -> list[pa.Schema]:
    """Schemas of all files, from their footers.

    Raises:
        SourceError: A footer is missing or damaged: the file is not Parquet or was cut short.
    """

    def read(file: Path) -> pa.Schema:
        import pyarrow as pa

        try:
            return file_schema(file)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(
                "a Parquet file is corrupt or was cut short",
                where=where,
                found=f"{found.name(file)} ({_size(file)}): {error}",
                expected="a whole Parquet file",
                fix=_fix(file),
            ) from error

    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(read, found.files))


def _size(file: Path) -> str:
    try:
        return f"{file.stat().st_size:,} bytes"
    except OSError as error:
        return error.strerror or type(error).__name__


def file_schema(file: Path | RawIOBase) -> pa.Schema:
    """A file's columns as Spark reads them: INT96, however Arrow takes it, is a point in time.

    Raises:
        pyarrow.ArrowException: It is no whole Parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, memory_map=False) as parquet:
        schema = parquet.schema.to_arrow_schema()
        kinds = [parquet.schema.column(n).physical_type for n in range(len(parquet.schema))]
    if _INT96 not in kinds:
        return schema
    leaves = iter(kinds)
    return pa.schema([field.with_type(_with_times(field.type, leaves)) for field in schema])


def _with_times(kind: pa.DataType, leaves: Iterator[str]) -> pa.DataType:
    """A type in which those leaves are points in time that Parquet has as INT96."""
    import pyarrow as pa

    def inner(field: pa.Field) -> pa.Field:
        return field.with_type(_with_times(field.type, leaves))

    if pa.types.is_struct(kind):
        return pa.struct([inner(field) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(inner(kind.key_field), inner(kind.item_field))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(inner(kind.value_field))
    return pa.timestamp("us", "UTC") if next(leaves) == _INT96 else kind


def _fix(file: Path) -> str:
    told = format_of(file.name)
    if told not in (None, "parquet"):
        return f"write `format: {told}` beside the source's `uri`; nothing was published"
    return "write the file again, or take it away; nothing was published"


def find_growth(found: FileSet, schemas: Sequence[pa.Schema], where: str) -> bool:
    """Whether later files have more columns than earlier ones.

    Files are taken in the order of their names. A column may begin in a later file; from there
    on, every file must have it, with the same type: otherwise a renamed column would silently be
    read as missing values.

    Raises:
        SchemaError: A later file lacks a column or has another type.
        SourceError: A column has nanoseconds, which Spark does not read.
    """
    known: dict[str, tuple[str, str]] = {}
    for file, schema in zip(found.files, schemas, strict=True):
        name = found.name(file)
        here = {field.name: str(field.type) for field in schema}
        _refuse_nanoseconds(here, name, where)
        gone = [column for column in known if column not in here]
        retyped = [c for c, kind in here.items() if c in known and known[c][0] != kind]
        if gone or retyped:
            lines = [f"- {column} {known[column][0]} (in {known[column][1]})" for column in gone]
            lines += [f"~ {c} {known[c][0]} (in {known[c][1]}) → {here[c]}" for c in retyped]
            lines += [f"+ {column} {kind}" for column, kind in here.items() if column not in known]
            raise _misfit([name, *lines], where)
        known |= {column: (kind, name) for column, kind in here.items() if column not in known}
    return bool(schemas) and len(schemas[0].names) < len(known)


def _refuse_nanoseconds(columns: Mapping[str, str], name: str, where: str) -> None:
    for column, kind in columns.items():
        if "timestamp[ns" in kind:
            raise SourceError(
                "the source cannot be read",
                where=where,
                found=f"{name}: {column} is {kind}, INT64 (TIMESTAMP(NANOS))",
                expected="files that are whole and fit the columns",
                fix=NANOSECONDS_FIX,
            )


def _misfit(difference: list[str], where: str) -> SchemaError:
    return SchemaError(
        "the files' columns do not fit together",
        where=where,
        found="\n    ".join(difference),
        expected="the columns of the files before it, with the same types; new columns may follow",
        fix="write the file again with the same columns, or keep the kinds apart as two sources",
    )
