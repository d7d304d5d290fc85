"""The ``sql`` feature engine: one query over the project's sources, run by Spark natively."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_assets.config.problems import nearest
from mlops_assets.config.project import ProjectSpec
from mlops_assets.errors import ConfigError, MlopsError
from mlops_assets.features.columns import cast_columns
from mlops_assets.tables.shipping import is_connect
from mlops_assets.tables.spark_errors import summary, translated

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_UNKNOWN_TABLE = re.compile(r"TABLE_OR_VIEW_NOT_FOUND\] The table or view `?([^`\s]+)`?")
_PLACE = re.compile(r"(?:== SQL.*?line |line )(\d+)")


def build_features(
    spark: SparkSession,
    spec: ProjectSpec,
    query: str,
    inputs: Mapping[str, Sequence[Path] | DataFrame],
    *,
    where: str = "features",
) -> DataFrame:
    """Run a project's query and give its columns their stored types.

    Args:
        spark: The session.
        spec: The project's spec.
        query: Text of the query.
        inputs: Raw data by source name: the files of a version, or a data frame.
        where: The query, for messages.

    Returns:
        One row for each entity and time, computed when it is used.

    Raises:
        ConfigError: The query is not one SELECT, or names what does not exist.
        SchemaError: Its columns do not fit the declared ones.
    """
    with _views(spark, inputs), query_errors(spec, where):
        return cast_columns(spark.sql(as_subquery(query, where)), spec, where)


def as_subquery(query: str, where: str) -> str:
    """The query as a subquery, where nothing but one query can stand: no command, no second one.

    Raises:
        ConfigError: The text holds no query.
    """
    text = query.strip().removesuffix(";").rstrip()
    if not text:
        raise ConfigError("the query is empty", where=where, expected="one SELECT")
    return "\n".join(("SELECT * FROM (", text, ")"))


@contextmanager
def query_errors(spec: ProjectSpec, where: str) -> Iterator[None]:
    """Turn what Spark says about the query, or about data that it fails on, into a ConfigError."""
    has_pii = bool(spec.features.pii) or any(source.pii for source in spec.sources.values())

    def to_error(text: str) -> MlopsError:
        unknown = _UNKNOWN_TABLE.search(text)
        if unknown:
            near = nearest(unknown[1], spec.sources)
            return ConfigError(
                "the query reads a table that is not a source",
                where=_where(text, where),
                found=unknown[1],
                expected=f"one of {', '.join(spec.sources)}",
                fix=f"did you mean {near}?" if near else "add it under `sources:`",
            )
        return ConfigError(
            "the query failed",
            where=_where(text, where),
            found=summary(text, hide_values=has_pii),
            expected="one SELECT (WITH is allowed) that runs on the raw data",
            fix="correct the query; nothing was published",
        )

    with translated(to_error):
        yield


@contextmanager
def _views(spark: SparkSession, inputs: Mapping[str, Sequence[Path] | DataFrame]) -> Iterator[None]:
    """The sources as views, for as long as the query is analysed.

    A Connect server analyses a query whenever its table is used: there they stay until the next.
    """
    if is_connect(spark):
        for view in spark.catalog.listTables():
            if view.isTemporary:
                spark.catalog.dropTempView(view.name)
    try:
        for name, data in inputs.items():
            files = [str(path) for path in data] if isinstance(data, Sequence) else []
            table: DataFrame = spark.read.parquet(*files) if files else data
            table.createOrReplaceTempView(name)
        yield
    finally:
        for name in () if is_connect(spark) else inputs:
            spark.catalog.dropTempView(name)


def _where(text: str, where: str) -> str:
    """The file and, where Spark tells it, the line: one less, for the line put before it."""
    match = _PLACE.search(text)
    return f"{where}:{max(int(match[1]) - 1, 1)}" if match else where
