"""What a source of type ``sql`` reads: a table or a query, found in the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_assets.config.problems import nearest
from mlops_assets.config.sql import SqlSource
from mlops_assets.config.sql_query import plain_query
from mlops_assets.errors import SourceError
from mlops_assets.sources.base import SourceContext
from resources.sql import Session, open_session, quoted

if TYPE_CHECKING:
    import pyarrow as pa

_MAX_TABLES = 5000


@dataclass(frozen=True)
class Relation:
    """A table or query of an open session.

    Attributes:
        session: The session.
        sql: What stands after ``FROM``; its name in SQL is ``source``.
        schema: Columns as the driver describes them.
    """

    session: Session
    sql: str
    schema: pa.Schema


@contextmanager
def open_relation(
    spec: SqlSource, context: SourceContext, *, reads: bool = False
) -> Iterator[Relation]:
    """Connect to the database and look at the columns.

    Args:
        spec: The source.
        context: Whose source it is.
        reads: Whether rows are read, which may take longer than to look for something new.

    Raises:
        SourceError: The server is away, or there is no such table.
        EnvironmentProblemError: There is no URI.
    """
    where = context.where
    timeout = spec.statement_timeout if reads else spec.check_timeout
    with open_session(spec.uri_env, where=where, statement_timeout=timeout) as session:
        sql = _relation_sql(spec, session, context)
        yield Relation(session, sql, session.schema(f"SELECT * FROM {sql} LIMIT 0"))


def _relation_sql(spec: SqlSource, session: Session, context: SourceContext) -> str:
    if spec.table is None:
        return f"(\n{plain_query(context.file(str(spec.query)).decode())}\n) AS source"
    name = quoted(*spec.table.split("."))
    session.set({"mlops.table": name})
    if session.row("SELECT to_regclass(current_setting('mlops.table'))::text") == (None,):
        raise _missing(spec.table, session, context.where)
    return f"{name} AS source"


def _missing(table: str, session: Session, where: str) -> SourceError:
    rows = session.rows(
        "SELECT table_schema || '.' || table_name FROM information_schema.tables "
        "WHERE table_schema NOT IN ('pg_catalog', 'information_schema') "
        f"ORDER BY 1 LIMIT {_MAX_TABLES}"
    )
    names = [row[0] for row in rows]
    near = nearest(table, names)
    return SourceError(
        "there is no such table",
        where=where,
        found=table,
        expected=f"one of the {len(names)} tables and views that this user may see",
        fix=f"did you mean {near}?" if near else "look at the name, and GRANT SELECT on the table",
    )
