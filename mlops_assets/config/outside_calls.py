"""What SQL must not do: run Java code or programs. Queries and conditions look at rows only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlglot import exp

JAVA_FUNCTIONS = ("reflect", "java_method", "try_reflect")
"""Spark functions that call Java code by name; the engine's own sessions do not have them."""


def outside_calls(tree: exp.Expr) -> Iterator[tuple[exp.Expr, str]]:
    """Every place where the text calls Java code or a program, and what it calls."""
    from sqlglot import exp

    for call in tree.find_all(exp.Anonymous):
        if call.name.lower() in JAVA_FUNCTIONS:
            yield call, f"{call.name}(), which calls Java code"
    for script in tree.find_all(exp.QueryTransform):
        yield script, "TRANSFORM … USING, which starts a program"
