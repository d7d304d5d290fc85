"""``type: sql``: a table or a query of a PostgreSQL database, whole or in slices."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from mlops_assets.config.sql import SqlSource
from mlops_assets.config.sql_query import plain_query
from mlops_assets.errors import SourceError
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.sql_parquet import write_rows
from mlops_assets.sources.sql_slices import Slices
from mlops_assets.sources.sql_types import target_schema
from mlops_assets.tables.contract import require_columns
from resources.sql import Session, open_session, quoted

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pyspark.sql import DataFrame, SparkSession

_ROW = '(source.*)::text COLLATE "C"'
_FINGERPRINT = (
    f"SELECT count(*)::text, coalesce(sum(hashtextextended({_ROW}, 0)), 0)::text, "
    f"coalesce(sum(hashtextextended({_ROW}, 1)), 0)::text FROM "
)
"""Two sums of 64-bit hashes of all rows: the order does not matter, the number of equal rows does.
The server reads the whole table for it."""


def relation_of(spec: SqlSource, context: SourceContext) -> str:
    """SQL of what the source reads, to stand after ``FROM``; its name is ``source``.

    Raises:
        SourceError: The query's file is gone.
    """
    if spec.table is not None:
        return f"{quoted(*spec.table.split('.'))} AS source"
    return f"(\n{plain_query(_query_text(spec, context))}\n) AS source"


def _query_text(spec: SqlSource, context: SourceContext) -> str:
    try:
        return (context.project_directory / str(spec.query)).read_text(encoding="utf-8")
    except OSError as error:
        raise SourceError(
            "the source's query cannot be read",
            where=context.where,
            found=f"{spec.query}: {error.strerror}",
        ) from error


def session_of(spec: SqlSource, context: SourceContext) -> AbstractContextManager[Session]:
    """A session of the source's database."""
    where, timeout = context.where, spec.statement_timeout
    return open_session(spec.uri_env, where=where, statement_timeout=timeout)


class SqlTable:
    """The whole table, read again whenever its rows are others."""

    def digest(self, spec: SqlSource, context: SourceContext) -> str:
        """Identity of the rows that are there now; computed inside the database."""
        relation = relation_of(spec, context)
        with session_of(spec, context) as session:
            schema = session.schema(f"SELECT * FROM {relation} LIMIT 0")
            content = session.row(_FINGERPRINT + relation)
        columns = [[field.name, str(field.type)] for field in schema]
        body = json.dumps([relation, columns, list(content)], sort_keys=True)
        return f"sha256:{hashlib.sha256(body.encode()).hexdigest()}"

    def inspect(self, spec: SqlSource, context: SourceContext) -> None:
        """Look at the columns' names and types."""
        with session_of(spec, context) as session:
            schema = session.schema(f"SELECT * FROM {relation_of(spec, context)} LIMIT 0")
        target_schema(schema, spec.columns, context.where)
        times = [spec.time_column] if spec.time_column else []
        require_columns([*times, *spec.pii], schema.names, context.where, "column")

    def read(self, spark: SparkSession, spec: SqlSource, context: SourceContext) -> DataFrame:
        """The rows of one snapshot of the database."""
        folder = context.workspace / "sql"
        folder.mkdir(parents=True)
        relation = relation_of(spec, context)
        with session_of(spec, context) as session:
            write_rows(session, spec, relation, folder=folder, where=context.where, keep_empty=True)
        return spark.read.parquet(str(folder))


SOURCE = SqlTable()
INCREMENTAL = Slices(session_of, relation_of)
