"""``type: sql``: a table or a query of a PostgreSQL database, whole or in slices."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from mlops_assets.config.sql import SqlSource
from mlops_assets.sources.base import SourceContext
from mlops_assets.sources.files import read_files
from mlops_assets.sources.paths import FileSet
from mlops_assets.sources.sql_parquet import write_rows
from mlops_assets.sources.sql_relation import Relation, open_relation
from mlops_assets.sources.sql_slices import Slices
from mlops_assets.sources.sql_types import target_schema
from mlops_assets.sources.sql_window import window_sql
from mlops_assets.sources.text import TextOptions
from mlops_assets.tables.contract import require_columns

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_ROW = '(source.*)::text COLLATE "C"'
_FINGERPRINT = (
    f"SELECT count(*)::text, coalesce(sum(hashtextextended({_ROW}, 0)), 0)::text, "
    f"coalesce(sum(hashtextextended({_ROW}, 1)), 0)::text FROM "
)
"""Two sums of 64-bit hashes of all rows: the order does not matter, the number of equal rows does.
The server reads the whole table for it, and sends three numbers."""


class SqlTable:
    """The whole table, read again whenever its rows are others."""

    def digest(self, spec: SqlSource, context: SourceContext) -> str:
        """Identity of the rows that are there now; computed inside the database.

        Cheap for the network, not for the server: see ``docs/concepts/databases.md``.
        """
        with open_relation(spec, context) as relation:
            return _digest(relation, window_sql(spec, relation, context))

    def inspect(self, spec: SqlSource, context: SourceContext) -> None:
        """Look at the columns' names and types."""
        with open_relation(spec, context) as relation:
            names = relation.schema.names
            target_schema(relation.schema, spec.columns, context.where)
        times = [spec.time_column] if spec.time_column else []
        require_columns([*times, *spec.pii], names, context.where, "column of the source")

    def read(self, spark: SparkSession, spec: SqlSource, context: SourceContext) -> DataFrame:
        """The rows of one snapshot of the database."""
        return self.read_snapshot(spark, spec, context)[0]

    def read_snapshot(
        self, spark: SparkSession, spec: SqlSource, context: SourceContext
    ) -> tuple[DataFrame, str]:
        """The rows of one snapshot and their digest, by the same transaction."""
        folder = context.workspace / "rows"
        folder.mkdir(parents=True)
        with open_relation(spec, context, reads=True) as relation:
            ending = window_sql(spec, relation, context)
            digest = _digest(relation, ending)
            write_rows(
                relation, spec, ending=ending, folder=folder, where=context.where, keep_empty=True
            )
        found = FileSet(folder, tuple(sorted(folder.glob("*.parquet"))))
        return read_files(spark, found, "parquet", TextOptions(), context), digest


def _digest(relation: Relation, ending: str) -> str:
    """Identity of the rows that an open session sees."""
    content = relation.session.row(f"{_FINGERPRINT}{relation.sql} {ending}")
    columns = [[field.name, str(field.type)] for field in relation.schema]
    body = json.dumps([relation.sql, ending, columns, list(content)], sort_keys=True)
    return f"sha256:{hashlib.sha256(body.encode()).hexdigest()}"


SOURCE = SqlTable()
INCREMENTAL = Slices()
