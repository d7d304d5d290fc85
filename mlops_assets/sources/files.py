"""``type: files``: Parquet, CSV or JSON-lines files, local or in S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops_assets.config.sources import FilesSource
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.digests import files_digest
from mlops_assets.sources.executor_files import read_lent
from mlops_assets.sources.objects import find_objects, is_s3
from mlops_assets.sources.parquet import find_growth, read_parquet, read_schemas
from mlops_assets.sources.paths import FileSet, find_files
from mlops_assets.sources.reading import reading
from mlops_assets.sources.text import TextOptions, read_csv, read_header, read_jsonl

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class Files:
    """A file, a folder or a glob, local or in S3."""

    def digest(self, spec: FilesSource, context: SourceContext) -> str:
        """Identity of the files that are there now."""
        options = spec.model_dump(include={"format", "delimiter", "header", "null_value"})
        uri = _uri(spec, context)
        if is_s3(uri):
            return find_objects(uri, spec.format, context).digest(options)
        found = find_files(uri, spec.format, context)
        named = [(found.name(file), file) for file in found.files]
        return files_digest(named, options, context.where)

    def inspect(self, spec: FilesSource, context: SourceContext) -> None:
        """Look at every footer or header."""
        found = _files(spec, context)
        inspect_files(found, spec.format, _options(spec), context.where)

    def read(self, spark: SparkSession, spec: FilesSource, context: SourceContext) -> DataFrame:
        """The files as one table."""
        found = _files(spec, context)
        return read_files(spark, found, spec.format, _options(spec), context)


def _files(spec: FilesSource, context: SourceContext) -> FileSet:
    """The files on this machine; those in S3 are fetched into the workspace, once."""
    uri = _uri(spec, context)
    if is_s3(uri):
        return find_objects(uri, spec.format, context).fetch(context.workspace)
    return find_files(uri, spec.format, context)


def _uri(spec: FilesSource, context: SourceContext) -> str:
    """The address of all files, or of one partition's."""
    return context.window.start.strftime(spec.uri) if context.window else spec.uri


def _options(spec: FilesSource) -> TextOptions:
    return TextOptions(spec.columns, spec.delimiter, spec.header, spec.null_value)


def inspect_files(found: FileSet, file_format: str, options: TextOptions, where: str) -> None:
    """Look at files of one format without Spark."""
    if file_format == "parquet":
        find_growth(found, read_schemas(found, where), where)
    elif file_format == "csv":
        read_header(found, options, where)


def read_files(
    spark: SparkSession,
    found: FileSet,
    file_format: str,
    options: TextOptions,
    context: SourceContext,
) -> DataFrame:
    """Read files of one format, on this machine or by executors that they are lent to."""
    where = context.where
    with reading(where, found.files):
        if context.lent is not None:
            return read_lent(spark, found, file_format, options, folder=context.lent, where=where)
        if file_format == "parquet":
            return read_parquet(spark, found, where)
        if file_format == "csv":
            return read_csv(spark, found, options, where)
        return read_jsonl(spark, found, options, where)


SOURCE = Files()
