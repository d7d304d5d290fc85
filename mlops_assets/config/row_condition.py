"""``row_condition:`` of an expectation: a Spark SQL condition on the row itself."""

from __future__ import annotations

from functools import lru_cache

from mlops_assets.config.outside_calls import outside_calls


def find_condition_problem(condition: str) -> str | None:
    """What is wrong with a row condition, or None.

    It must be one condition on the columns of the row: queries, other tables and calls of Java
    code are refused.
    """
    problem, _ = _parse(condition)
    return problem


def condition_columns(condition: str) -> tuple[str, ...]:
    """Columns that the condition reads; empty when it cannot be parsed."""
    _, columns = _parse(condition)
    return columns


@lru_cache(maxsize=1024)
def _parse(condition: str) -> tuple[str | None, tuple[str, ...]]:
    import sqlglot
    from sqlglot import expressions as sql

    try:
        statements = sqlglot.parse(condition, dialect="spark")
    except sqlglot.errors.SqlglotError:
        return "text that Spark SQL cannot parse", ()
    tree = statements[0] if len(statements) == 1 else None
    if not isinstance(tree, sql.Condition):
        return "something else than one condition", ()
    if tree.find(sql.Query):
        return "a query inside the condition", ()
    for _, call in outside_calls(tree):
        return call, ()
    columns = dict.fromkeys(column.parts[0].name for column in tree.find_all(sql.Column))
    return None, tuple(columns)
