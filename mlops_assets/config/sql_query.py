"""Whether a source's SQL file is one query that only reads, as far as its text tells."""

from __future__ import annotations

import functools

from mlops_assets.config.query_parser import without_token

_EXPECTED = "one SELECT statement of PostgreSQL"


@functools.lru_cache(maxsize=2048)
def find_sql_problem(sql: str) -> tuple[int | None, str, str] | None:
    """What is wrong with a query: (line, found, expected), or None."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import ParseError, TokenError

    try:
        statements = [s for s in sqlglot.parse(sql, read="postgres") if s is not None]
    except ParseError as error:
        details = error.errors[0] if error.errors else {}
        said = without_token(str(details.get("description") or "an error"))
        return details.get("line"), said, _EXPECTED
    except TokenError as error:
        return None, str(error), _EXPECTED
    if len(statements) != 1:
        return None, f"{len(statements)} statements", _EXPECTED
    changing = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Into, exp.Lock)
    if not isinstance(statements[0], exp.Query):
        return None, f"a statement {statements[0].key.upper()}", _EXPECTED
    found = statements[0].find(*changing)
    if found is not None:
        return None, f"{found.key.upper()} in the query", _EXPECTED
    return None


def plain_query(sql: str) -> str:
    """The query's text as it may stand between brackets: without a closing semicolon."""
    return sql.strip().removesuffix(";").rstrip()
