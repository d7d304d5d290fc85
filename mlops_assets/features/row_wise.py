"""Whether a query may be run over the new rows of a source only.

A query is row-wise in a source when its answer over some rows of it and its answer over the others,
put together, are its answer over all of them. Spark's own optimized plan is read for that; what is
not known to be row-wise is not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_ROW_BY_ROW = {"Project", "Filter", "Generate", "Expand", "SubqueryAlias", "View", "ResolvedHint"}
_LEFT_JOINS = {"LeftOuter", "LeftSemi", "LeftAnti"}
_VARYING = re.compile(
    r"\b(current_\w+|curdate|now|today|tomorrow|yesterday|localtimestamp|unix_timestamp"
    r"|session_user|user|_metadata)\b",
    re.I,
)
"""Words of a query whose values are not those of its rows: the plan shows some as constants."""


@dataclass(frozen=True)
class RowWise:
    """What a query's plan says.

    Attributes:
        sources: Sources in which it is row-wise.
        obstacle: What stands in the way of others, for people.
    """

    sources: frozenset[str]
    obstacle: str | None = None


def row_wise(df: DataFrame, query: str, inputs: Mapping[str, Sequence[Path]]) -> RowWise:
    """In which sources a query is row-wise.

    Args:
        df: The query's answer, not computed.
        query: Its text.
        inputs: Files by source name.
    """
    found = _VARYING.search(query)
    if found:
        return RowWise(frozenset(), f"`{found[0]}` has another value each time")
    try:
        plan = df._jdf.queryExecution().optimizedPlan()
    except AttributeError:  # Spark Connect keeps its plans to itself
        return RowWise(frozenset(), "the Spark session shows no plan")
    if not plan.deterministic():
        return RowWise(frozenset(), "the query is not deterministic")
    files = {str(path): name for name, paths in inputs.items() for path in paths}
    reader = _Reader(files)
    sources = reader.row_wise(plan)
    return RowWise(frozenset(sources), reader.obstacle)


class _Reader:
    """Reads one plan.

    Args:
        files: Source names by file.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self.obstacle: str | None = None

    def row_wise(self, node: Any) -> set[str]:
        """Sources in which this part of the plan is row-wise."""
        children = list(_all(node.children()))
        hidden = {name for plan in _all(node.subqueries()) for name in self._occurring(plan)}
        return self._row_wise(node, children) - hidden

    def _row_wise(self, node: Any, children: list[Any]) -> set[str]:
        name = str(node.nodeName())
        if not children:
            return set(self._occurring(node))
        if name in _ROW_BY_ROW:
            return self.row_wise(children[0])
        if name == "Join":
            return self._join(str(node.joinType()), *children)
        if name == "Union":
            return set.intersection(*map(self.row_wise, children))
        if self._occurring(node):
            self.obstacle = f"{name} looks at more than one row"
        return set()

    def _join(self, kind: str, left: Any, right: Any) -> set[str]:
        lefts = self.row_wise(left) - set(self._occurring(right))
        rights = self.row_wise(right) - set(self._occurring(left))
        if kind in {"Inner", "Cross"}:
            return lefts | rights
        if kind in _LEFT_JOINS or kind.startswith("ExistenceJoin"):
            return lefts
        if kind == "RightOuter":
            return rights
        self.obstacle = f"{kind} join"
        return set()

    def _occurring(self, node: Any) -> Counter[str]:
        """How often each source is read below."""
        found: Counter[str] = Counter()
        for leaf in _all(node.collectLeaves()):
            found.update(self._source(leaf))
        for part in _nodes(node):
            for plan in _all(part.subqueries()):
                found += self._occurring(plan)
        return found

    def _source(self, leaf: Any) -> list[str]:
        if str(leaf.nodeName()) not in {"LogicalRelation", "Relation"}:
            return []
        paths = {
            str(path.toUri().getPath()) for path in _all(leaf.relation().location().rootPaths())
        }
        return sorted({self._files[path] for path in paths if path in self._files})


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for child in _all(node.children()):
        yield from _nodes(child)


def _all(sequence: Any) -> Iterator[Any]:
    """The items of a Scala sequence."""
    iterator = sequence.iterator()
    while iterator.hasNext():
        yield iterator.next()
