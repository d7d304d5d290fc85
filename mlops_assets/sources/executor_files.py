"""Files that a cluster's executors read from S3: what they hold is known from their beginnings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlops_assets.sources.parquet import find_growth, read_schemas
from mlops_assets.sources.paths import FileSet
from mlops_assets.sources.text import TextOptions, csv_table, jsonl_table, read_header
from mlops_assets.tables.executor_tasks import RemoteFile
from mlops_assets.tables.executors import lend, read_lines, read_remote

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from resources.s3_folder import S3Folder


def read_lent(
    spark: SparkSession,
    found: FileSet,
    file_format: str,
    options: TextOptions,
    *,
    folder: S3Folder,
    where: str,
) -> DataFrame:
    """Files that only this machine has as one table; executors read copies in S3.

    Raises:
        SourceError: A file is corrupt.
        SchemaError: The files' columns do not fit together.
        StoreError: S3 cannot be written.
    """
    files = lend(folder, found.files)
    if file_format == "parquet":
        return parquet_table(spark, files, found, read_schemas(found, where), where)
    return text_table(spark, files, found, file_format, options, where=where)


def parquet_table(
    spark: SparkSession,
    files: Sequence[RemoteFile],
    names: FileSet,
    schemas: Sequence[pa.Schema],
    where: str,
) -> DataFrame:
    """Parquet files in S3 as one table.

    Args:
        spark: The session.
        files: The files.
        names: Their names, for messages.
        schemas: Their schemas.
        where: The source, for messages.

    Raises:
        SchemaError: Their columns do not fit together.
    """
    find_growth(names, schemas, where)
    return read_remote(spark, files, merged(schemas))


def text_table(
    spark: SparkSession,
    files: Sequence[RemoteFile],
    heads: FileSet,
    file_format: str,
    options: TextOptions,
    *,
    where: str,
) -> DataFrame:
    """CSV or JSON-lines files in S3 as one table.

    Args:
        spark: The session.
        files: The files.
        heads: The same files on this machine, or their first lines; only CSV needs them.
        file_format: ``csv`` or ``jsonl``.
        options: How they are written.
        where: The source, for messages.

    Raises:
        SchemaError: Headers differ, or a declared column is missing.
    """
    if file_format == "csv":
        names = read_header(heads, options, where)
        lines = read_lines(spark, files, skipped=1 if options.header else 0)
        return csv_table(spark, lines, names, options, where)
    return jsonl_table(spark, read_lines(spark, files, skipped=0), options, where)


def merged(schemas: Sequence[pa.Schema]) -> StructType:
    """All columns of some files, each with the type of the first file that has it."""
    import pyarrow as pa
    from pyspark.sql.pandas.types import from_arrow_schema

    fields: dict[str, pa.Field] = {}
    for schema in schemas:
        for field in schema:
            fields.setdefault(field.name, pa.field(field.name, _plain(field.type)))
    return from_arrow_schema(pa.schema(list(fields.values())))


def _plain(kind: pa.DataType) -> pa.DataType:
    """A type as Spark reads it from Parquet: without dictionaries, and with signs."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    signed = {
        pa.uint8(): pa.int16(),
        pa.uint16(): pa.int32(),
        pa.uint32(): pa.int64(),
        pa.uint64(): pa.decimal128(20, 0),
    }
    return signed.get(kind, kind)
