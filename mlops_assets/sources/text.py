"""CSV and JSON-lines files, refused as a whole when one record does not fit."""

from __future__ import annotations

import bz2
import csv
import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from mlops_assets.errors import SchemaError, SourceError
from mlops_assets.sources.paths import FileSet
from mlops_assets.tables.contract import require_columns, require_distinct_names
from mlops_assets.tables.globbing import escaped

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType


@dataclass(frozen=True)
class TextOptions:
    """How text files are written and read.

    Attributes:
        columns: Types by column; the others' are inferred from all rows.
        delimiter: Column separator.
        header: Whether the first line names the columns.
        null_value: Text that means a missing value, besides empty cells.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    delimiter: str = ","
    header: bool = True
    null_value: str = ""


def read_csv(spark: SparkSession, found: FileSet, options: TextOptions, where: str) -> DataFrame:
    """Read CSV files as one table.

    Raises:
        SchemaError: Headers differ between files, or a declared column is missing.
    """
    names = read_header(found, options, where)
    return csv_table(spark, [escaped(file) for file in found.files], names, options, where)


def csv_table(
    spark: SparkSession,
    rows: list[str] | DataFrame,
    names: Sequence[str],
    options: TextOptions,
    where: str,
) -> DataFrame:
    """CSV rows as a table.

    Args:
        spark: The session.
        rows: Paths of files, or lines without headers.
        names: Names of the columns.
        options: How the rows are written.
        where: The source, for messages.

    Raises:
        SchemaError: A declared column is missing.
    """
    columns = options.columns
    has_header = options.header and isinstance(rows, list)
    require_columns(columns, names, where, "declared column")
    reader = (
        spark.read.option("sep", options.delimiter)
        .option("header", has_header)
        .option("enforceSchema", False)
        .option("nullValue", options.null_value)
        .option("quote", '"')
        .option("escape", '"')
        .option("mode", "FAILFAST")
    )
    if all(name in columns for name in names):
        return reader.schema(_schema(spark, columns, names, where)).csv(rows)
    inferred = reader.option("inferSchema", True).csv(rows)
    if not has_header:
        inferred = inferred.toDF(*names)
    if not columns:
        return inferred
    types = {field.name: field.dataType.simpleString() for field in inferred.schema}
    return reader.schema(_schema(spark, types | dict(columns), names, where)).csv(rows)


def read_jsonl(spark: SparkSession, found: FileSet, options: TextOptions, where: str) -> DataFrame:
    """Read JSON-lines files as one table.

    Raises:
        SchemaError: A declared column is in no record.
    """
    return jsonl_table(spark, [escaped(file) for file in found.files], options, where)


def jsonl_table(
    spark: SparkSession, rows: list[str] | DataFrame, options: TextOptions, where: str
) -> DataFrame:
    """JSON records as a table.

    Args:
        spark: The session.
        rows: Paths of files, or lines.
        options: The declared columns.
        where: The source, for messages.

    Raises:
        SchemaError: A declared column is in no record.
    """
    columns = options.columns
    reader = spark.read.option("mode", "FAILFAST")
    inferred = reader.json(rows)
    names = inferred.columns
    require_columns(columns, names, where, "declared column")
    if not columns:
        return inferred
    types = {field.name: field.dataType.simpleString() for field in inferred.schema}
    return reader.schema(_schema(spark, types | dict(columns), names, where)).json(rows)


def read_header(found: FileSet, options: TextOptions, where: str) -> list[str]:
    """Column names of CSV files; ``_c0``, ``_c1``, … when they have no header.

    Raises:
        SourceError: A file is empty or cannot be read.
        SchemaError: The files' headers differ, or a name occurs twice.
    """
    headers = [_first_record(file, found.name(file), options, where) for file in found.files]
    first = headers[0]
    for file, header in zip(found.files, headers, strict=True):
        differs = header != first if options.header else len(header) != len(first)
        if differs:
            raise SchemaError(
                "the files' headers differ",
                where=where,
                found=f"{found.name(file)}: {', '.join(header)}",
                expected=f"as in {found.name(found.files[0])}: {', '.join(first)}",
                fix="write the files again with the same columns in the same order",
            )
    if not options.header:
        return [f"_c{position}" for position in range(len(first))]
    require_distinct_names(first, where)
    if "" in first:
        raise SchemaError("a column has no name", where=where, found=", ".join(first))
    return first


def _first_record(file: Path, name: str, options: TextOptions, where: str) -> list[str]:
    try:
        with _open_text(file) as lines:
            record = next(csv.reader(lines, delimiter=options.delimiter), None)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise SourceError(
            "a CSV file cannot be read", where=where, found=f"{name}: {error}"
        ) from error
    if not record:
        raise SourceError(
            "a CSV file is empty",
            where=where,
            found=name,
            expected="a header and rows" if options.header else "rows",
            fix="write the file again, or take it away",
        )
    return record


def _open_text(file: Path) -> IO[str]:
    ending = file.suffix.lower()
    if ending == ".gz":
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    if ending == ".bz2":
        return bz2.open(file, "rt", encoding="utf-8-sig", newline="")
    return file.open(encoding="utf-8-sig", newline="")


def _schema(
    spark: SparkSession, types: Mapping[str, str], names: Sequence[str], where: str
) -> StructType:
    """The schema of some columns, from Spark SQL's type names."""
    from pyspark.errors import PySparkException
    from pyspark.sql.types import StructType

    schema = StructType()
    for name in names:
        try:
            schema = schema.add(name, StructType.fromDDL(f"value {types[name]}")[0].dataType)
        except PySparkException as error:
            raise SchemaError(
                "the declared type is not one of Spark SQL's",
                where=where,
                found=f"{name}: {types[name]}",
                expected="a type such as int, bigint, double, string, timestamp, decimal(10,2)",
            ) from error
    return schema
