"""What the text of a SQL query tells: tables read, columns returned. No Spark is started."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from mlops_assets.config.outside_calls import outside_calls
from mlops_assets.config.problems import Severity

if TYPE_CHECKING:
    from sqlglot import exp

_DIALECT = "spark"
_CHANGING = frozenset(
    (
        *("current_timestamp", "current_date", "current_time", "localtimestamp", "now"),
        *("rand", "randn", "random", "randstr", "uniform", "uuid", "shuffle"),
        *("monotonically_increasing_id",),
    )
)
_MOVING_DAYS = frozenset(("now", "today", "tomorrow", "yesterday"))
"""Texts that Spark takes for a time: ``DATE 'today'``."""
_CHANGING_WORDS = frozenset(("current_time", "localtimestamp"))
"""Functions without parentheses that the parser takes for columns."""
_WORDS = frozenset(
    (
        *("all", "user", "session_user", "current_user", "current_catalog", "current_database"),
        *("current_schema", "current_date", "current_time", "current_timestamp", "localtimestamp"),
        *("year", "quarter", "month", "week", "day", "dayofyear", "hour", "minute", "second"),
        *("millisecond", "microsecond", "_metadata", "grouping__id"),
    )
)
"""Words that a parser may take for columns."""
_MAKES_COLUMNS = frozenset(
    (
        *("inline", "inline_outer", "explode", "explode_outer", "posexplode", "posexplode_outer"),
        *("stack", "json_tuple", "parse_url_tuple"),
    )
)


class QueryProblem(NamedTuple):
    """A problem at a place in the SQL file."""

    line: int | None
    column: int | None
    found: str
    expected: str
    suggestion: str | None = None
    severity: Severity = "error"


class TableUse(NamedTuple):
    """A table named in the query."""

    name: str
    line: int
    column: int


class ColumnUse(NamedTuple):
    """A column of a table, named in the query."""

    name: str
    table: str
    line: int
    column: int


@dataclass(frozen=True)
class Query:
    """What is known of a query from its text.

    Attributes:
        problems: What is wrong without knowing the project.
        tables: Tables read, without the query's own ``WITH`` names.
        columns: Output columns, or None when the text does not tell (``SELECT *`` of a source).
        uses: Columns of tables, where the query is so simple that its text tells whose they are.
    """

    problems: tuple[QueryProblem, ...] = ()
    tables: tuple[TableUse, ...] = ()
    columns: tuple[str, ...] | None = None
    uses: tuple[ColumnUse, ...] = ()


@functools.lru_cache(maxsize=2048)
def parse_query(sql: str) -> Query:
    """Parse a query; equal texts are parsed once."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import ParseError, TokenError

    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        statements = [s for s in sqlglot.parse(sql, read=_DIALECT) if s is not None]
    except ParseError as error:
        return Query(tuple(_syntax_problem(details) for details in error.errors[:5]))
    except TokenError as error:
        return Query((QueryProblem(None, None, str(error), "valid Spark SQL"),))
    if len(statements) != 1:
        found = f"{len(statements)} statements"
        return Query((QueryProblem(None, None, found, "exactly one SELECT"),))
    statement = statements[0]
    if not isinstance(statement, exp.Query):
        found = f"a statement of another kind ({statement.key.upper()})"
        return Query((QueryProblem(1, 1, found, "exactly one SELECT"),))
    columns = _output_columns(statement, {})
    problems = (
        *_outside(sql, statement),
        *_changing(sql, statement),
        *_twice(columns or ()),
    )
    uses = tuple(_column_uses(sql, statement))
    return Query(problems, tuple(_tables(sql, statement)), columns, uses)


def _syntax_problem(details: dict[str, object]) -> QueryProblem:
    token = f" at {details['highlight']!r}" if details.get("highlight") else ""
    text = without_token(str(details.get("description", ""))).rstrip(". ")
    line = details.get("line")
    place = line if isinstance(line, int) else None
    return QueryProblem(place, None, f"a syntax error{token} ({text})", "valid Spark SQL")


def without_token(description: str) -> str:
    """What a parser says, without its own way of showing what it met."""
    return description.partition(" but got <Token")[0]


def _place(sql: str, node: exp.Expr) -> tuple[int, int]:
    """Line and column from a node's offset; the parser's own columns count from elsewhere."""
    offset = node.meta.get("start")
    if offset is None:
        return 1, 1
    return sql.count("\n", 0, offset) + 1, offset - (sql.rfind("\n", 0, offset) + 1) + 1


def _column_uses(sql: str, statement: exp.Query) -> Iterator[ColumnUse]:
    """Columns of a query without subqueries, ``WITH``, lambdas and columns made on the way.

    Columns made on the way are those of ``LATERAL VIEW`` and of functions such as ``explode``.
    """
    from sqlglot import exp

    others = (exp.Lateral, exp.Unnest, exp.Lambda, exp.Pivot, exp.SetOperation, exp.Subquery)
    if len(list(statement.find_all(exp.Query))) != 1 or statement.find(*others):
        return
    if any(_function_name(function) in _MAKES_COLUMNS for function in statement.find_all(exp.Func)):
        return
    tables = {table.alias_or_name.lower(): table.name for table in _real_tables(statement)}
    own = {alias.alias.lower() for alias in statement.find_all(exp.Alias)}
    for column in statement.find_all(exp.Column):
        first, *rest = column.parts
        name, alias = first.name, first.name.lower()
        if column.is_star:
            continue
        if rest and alias in tables:
            yield ColumnUse(rest[0].name, tables[alias], *_place(sql, first))
        elif len(tables) == 1 and alias not in own | _WORDS:
            yield ColumnUse(name, next(iter(tables.values())), *_place(sql, first))


def _tables(sql: str, statement: exp.Query) -> Iterator[TableUse]:
    from sqlglot import exp

    own = {cte.alias.lower() for cte in statement.find_all(exp.CTE)}
    for table in _real_tables(statement):
        name = ".".join(part.name for part in table.parts)
        if name.lower() not in own:
            yield TableUse(name, *_place(sql, table.parts[0]))


def _real_tables(statement: exp.Query) -> Iterator[exp.Table]:
    """Tables that are read: neither functions nor what a hint names."""
    from sqlglot import exp

    for table in statement.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and table.find_ancestor(exp.Hint) is None:
            yield table


def _outside(sql: str, statement: exp.Query) -> Iterator[QueryProblem]:
    for node, found in outside_calls(statement):
        expected = "functions that look at the rows only"
        yield QueryProblem(*_place(sql, node), found, expected)


def _changing(sql: str, statement: exp.Query) -> Iterator[QueryProblem]:
    """Functions that give another result each time: unchanged data would retrain."""
    found = [*_changing_functions(statement), *_moving_days(statement)]
    for node, name in found:
        expected = "the same rows from the same data, or every run is a new version"
        changes = f"{name}, which changes with each run"
        yield QueryProblem(*_place(sql, node), changes, expected, None, "warning")


def _changing_functions(statement: exp.Query) -> Iterator[tuple[exp.Expr, str]]:
    from sqlglot import exp

    for function in statement.find_all(exp.Func):
        if (name := _function_name(function)) in _CHANGING:
            yield function, f"{name}()"
    for column in statement.find_all(exp.Column):
        if len(column.parts) == 1 and column.name.lower() in _CHANGING_WORDS:
            yield column.parts[0], column.name.lower()
    for sample in statement.find_all(exp.TableSample):
        if sample.args.get("seed") is None:
            yield sample, "TABLESAMPLE without REPEATABLE"


def _moving_days(statement: exp.Query) -> Iterator[tuple[exp.Expr, str]]:
    from sqlglot import exp

    for text in statement.find_all(exp.Literal):
        is_time = isinstance(text.parent, exp.Cast | exp.TsOrDsToDate)
        if text.is_string and is_time and text.name.strip().lower() in _MOVING_DAYS:
            yield text, f"the time '{text.name}'"


def _twice(columns: tuple[str, ...]) -> Iterator[QueryProblem]:
    seen: set[str] = set()
    for column in columns:
        if column.lower() in seen:
            found = f"the output column {column} a second time"
            yield QueryProblem(None, None, found, "each column once")
        seen.add(column.lower())


_Known = dict[str, tuple[str, ...] | None]


def _output_columns(query: exp.Expr, outer: _Known) -> tuple[str, ...] | None:
    """Names of the columns that a query returns; None when its text does not tell."""
    from sqlglot import exp

    known = dict(outer)
    for cte in query.ctes if isinstance(query, exp.Query) else []:
        known[cte.alias.lower()] = _renamed(cte, _output_columns(cte.this, known))
    if isinstance(query, exp.Subquery):
        return _output_columns(query.this, known)
    if isinstance(query, exp.SetOperation):
        return _output_columns(query.left, known)
    if not isinstance(query, exp.Select):
        return None
    columns: list[str] = []
    for projection in query.expressions:
        names = _projected(projection, query, known)
        if names is None:
            return None
        columns.extend(names)
    return tuple(columns)


def _renamed(aliased: exp.Expr, columns: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Columns under the names of ``AS t(a, b)``, when there are such."""
    names = tuple(aliased.alias_column_names)
    return names or columns


def _projected(projection: exp.Expr, query: exp.Select, known: _Known) -> tuple[str, ...] | None:
    from sqlglot import exp

    if isinstance(projection, exp.Aliases):
        return tuple(name.name for name in projection.expressions)
    if isinstance(projection, exp.Alias | exp.Dot):
        return (projection.alias_or_name,)
    if isinstance(projection, exp.Star):
        plain = not any(projection.args.get(key) for key in ("except_", "replace", "rename"))
        return _star(query, known) if plain else None
    if isinstance(projection, exp.Column):
        if isinstance(projection.this, exp.Star):
            return _relations(query, known).get(projection.table.lower())
        return (projection.name,)
    if isinstance(projection, exp.Func) and _function_name(projection) in _MAKES_COLUMNS:
        return None
    return ()


def _function_name(function: exp.Func) -> str:
    from sqlglot import exp

    name = function.name if isinstance(function, exp.Anonymous) else function.sql_name()
    return str(name).lower()


def _star(query: exp.Select, known: _Known) -> tuple[str, ...] | None:
    from sqlglot import exp

    joins = query.args.get("joins") or []
    merging = any(join.args.get("using") or join.method == "NATURAL" for join in joins)
    partial = any(join.kind in ("SEMI", "ANTI") for join in joins)
    if merging or partial or query.args.get("laterals") or query.find(exp.Pivot):
        return None
    columns: list[str] = []
    for names in _relations(query, known).values():
        if names is None:
            return None
        columns.extend(names)
    return tuple(columns)


def _relations(query: exp.Select, known: _Known) -> _Known:
    """Columns of what stands after FROM and JOIN, by alias."""
    from sqlglot import exp

    source = query.args.get("from_") or query.args.get("from")
    relations = [source.this] if source is not None else []
    relations += [join.this for join in query.args.get("joins") or []]
    found: _Known = {}
    for relation in relations:
        if isinstance(relation, exp.Table):
            columns = known.get(relation.name.lower()) if not relation.db else None
        else:
            columns = _output_columns(relation, known)
        if relation.args.get("pivots"):
            columns = None
        found[relation.alias_or_name.lower()] = _renamed(relation, columns)
    return found
