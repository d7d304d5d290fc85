"""The rows of one partition of a table, by its time column."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mlops_assets.config.sql import SqlSource
from mlops_assets.errors import SchemaError
from mlops_assets.sources.base import SourceContext
from mlops_assets.tables.contract import require_columns
from resources.sql import quoted

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_assets.sources.sql_relation import Relation

_DAY = timedelta(days=1)


def window_sql(spec: SqlSource, relation: Relation, context: SourceContext) -> str:
    """SQL that leaves the rows of ``context.window``, from its start to before its end, in UTC.

    Empty when the whole table is meant.

    Raises:
        SchemaError: The time column is missing or holds no moments.
    """
    window, name = context.window, spec.time_column
    if window is None or name is None:
        return ""
    require_columns([name], relation.schema.names, context.where, "time_column")
    kind = _moment_type(relation.schema.field(name).type)
    if kind is None or (kind == "date" and window.end - window.start < _DAY):
        raise SchemaError(
            "rows cannot be taken by this column",
            where=context.where,
            found=f"{name}, a column of type {relation.schema.field(name).type}",
            expected="timestamp, timestamp with time zone or, by days and longer, date",
            fix="name another `time_column`, or cast it in a query",
        )
    column = f"source.{quoted(name)}"
    start, end = (f"'{at:%Y-%m-%dT%H:%M:%S+00}'::{kind}" for at in (window.start, window.end))
    return f"WHERE {column} >= {start} AND {column} < {end}"


def _moment_type(kind: pa.DataType) -> str | None:
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    return "date" if pa.types.is_date(kind) else None
