"""Rules between a project and its features query, as far as the query's text tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_assets.config.cross_field import FEATURES
from mlops_assets.config.expectation_catalogue import COLUMN_ARGUMENTS, columns_of
from mlops_assets.config.kafka import ENGINE_COLUMNS, KafkaSource
from mlops_assets.config.problems import FieldProblem, Location, nearest, one_of
from mlops_assets.config.query_parser import Query, QueryProblem, parse_query

if TYPE_CHECKING:
    from mlops_assets.config.project import ProjectSpec

_MAX_LISTED = 30


@dataclass
class QueryReport:
    """Problems between a project and its query.

    Attributes:
        in_query: Problems in the SQL file.
        in_config: Problems in the YAML: names that the query does not return.
    """

    in_query: list[QueryProblem] = field(default_factory=list)
    in_config: list[FieldProblem] = field(default_factory=list)


def check_query(sql: str, spec: ProjectSpec) -> QueryReport:
    """Hold a query against the project that names it."""
    query = parse_query(sql)
    report = QueryReport(list(query.problems))
    if any(problem.severity == "error" for problem in query.problems):
        return report
    known = {name.lower(): name for name in spec.sources}
    for table in query.tables:
        if table.name.lower() not in known:
            hint = nearest(table.name, spec.sources)
            found = f"the table {table.name}, which is not a source"
            report.in_query.append(
                QueryProblem(table.line, table.column, found, one_of(spec.sources), hint)
            )
    used = {table.name.lower() for table in query.tables}
    for name in spec.sources:
        if name.lower() not in used:
            found = f"the source {name}, which the query does not read"
            report.in_config.append(
                FieldProblem(("sources", name), found, "a source in use", severity="warning")
            )
    report.in_query.extend(_undeclared(query, spec))
    report.in_config.extend(_undeclared_in_checks(spec))
    if query.columns is not None:
        report.in_config.extend(_missing_columns(query.columns, spec))
    return report


def _declared(source: KafkaSource) -> list[str]:
    """All columns of a topic: nothing else is read from its messages."""
    own = [source.key_column] if source.key_column else []
    return [*source.columns, *own, *ENGINE_COLUMNS]


def _undeclared(query: Query, spec: ProjectSpec) -> Iterator[QueryProblem]:
    topics = {n.lower(): s for n, s in spec.sources.items() if isinstance(s, KafkaSource)}
    for use in query.uses:
        source = topics.get(use.table.lower())
        known = _declared(source) if source else []
        if source and use.name.lower() not in {name.lower() for name in known}:
            found = f"the column {use.name}, which {use.table} does not declare"
            expected = f"one of {', '.join(known[:_MAX_LISTED])}"
            yield QueryProblem(use.line, use.column, found, expected, nearest(use.name, known))


def _undeclared_in_checks(spec: ProjectSpec) -> Iterator[FieldProblem]:
    for name, source in spec.sources.items():
        if not isinstance(source, KafkaSource):
            continue
        known = _declared(source)
        names = {column.lower() for column in known}
        for index, expectation in enumerate(spec.checks.get(name, ())):
            arguments = expectation.arguments
            for column in sorted(columns_of(expectation.type, arguments)):
                if column.lower() not in names:
                    location = ("checks", name, index, *_argument_with(column, arguments))
                    found = f"{column}, which the source does not declare"
                    expected = f"one of {', '.join(known[:_MAX_LISTED])}"
                    yield FieldProblem(location, found, expected, nearest(column, known))


def _missing_columns(columns: tuple[str, ...], spec: ProjectSpec) -> Iterator[FieldProblem]:
    returned = {column.lower() for column in columns}
    listed = ", ".join(columns[:_MAX_LISTED]) + (", …" if len(columns) > _MAX_LISTED else "")
    for location, column in _needed_columns(spec):
        if column.lower() not in returned:
            yield FieldProblem(
                location,
                f"{column}, which the query does not return",
                f"one of {listed}",
                nearest(column, columns),
            )


def _needed_columns(spec: ProjectSpec) -> Iterator[tuple[Location, str]]:
    features = spec.features
    yield ("features", "entity"), features.entity
    yield ("features", "time"), features.time
    yield ("features", "label", "column"), features.label.column
    lists: tuple[tuple[Location, tuple[str, ...]], ...] = (
        (("features", "inputs", "numeric"), features.inputs.numeric),
        (("features", "inputs", "categorical"), features.inputs.categorical),
        (("features", "pii"), features.pii),
        (("evaluation", "slices"), spec.evaluation.slices),
    )
    for location, columns in lists:
        for index, column in enumerate(columns):
            yield (*location, index), column
    for index, expectation in enumerate(spec.checks.get(FEATURES, ())):
        arguments = expectation.arguments
        for column in sorted(columns_of(expectation.type, arguments)):
            yield ("checks", FEATURES, index, *_argument_with(column, arguments)), column


def _argument_with(column: str, arguments: dict[str, Any]) -> Location:
    """Which argument of an expectation names a column (or a field of a struct column)."""
    for argument in COLUMN_ARGUMENTS:
        if str(arguments.get(argument)).partition(".")[0] == column:
            return (argument,)
    for position, name in enumerate(arguments.get("column_list") or ()):
        if str(name).partition(".")[0] == column:
            return ("column_list", position)
    return ("row_condition",)
