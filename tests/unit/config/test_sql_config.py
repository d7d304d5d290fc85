"""Sources of type sql in YAML: names that cannot carry SQL, URIs that never stand there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlops_assets.config.checking import CheckReport, check_paths
from mlops_assets.config.loader import load_project
from mlops_assets.config.sql_query import _EXPECTED, find_sql_problem, plain_query

WriteProject = Callable[..., Path]
DEFS = """\
type: mlops_assets.MLProject
attributes:
  description: Will this flight arrive late?
  task: binary
  sources:
    flights: {{type: sql, {source}}}
  features:
    query: features.sql
    entity: flight_id
    time: departure
    label: {{column: is_late}}
    inputs: {{numeric: [distance], categorical: [carrier]}}
"""


def check(write: WriteProject, root: Path, source: str) -> CheckReport:
    directory = write(defs=DEFS.format(source=source))
    return check_paths([directory], root, {})


@pytest.mark.parametrize(
    "source",
    [
        "uri_env: FLIGHTS_DB, table: public.flights",
        "uri_env: DB, table: Sales_2.Order$s, incremental: {column: id, start: 12}",
        "uri_env: DB, table: a.b, incremental: {column: at, start: 2025-01-01T00:00:00Z}",
        "uri_env: DB, table: a.b, incremental: {column: at, start: '2025-01-01', settle: 0s}",
    ],
)
def test_valid_sources(write_project: WriteProject, tmp_path: Path, source: str) -> None:
    assert check(write_project, tmp_path, source).problems == ()


@pytest.mark.parametrize(
    "table",
    [
        "flights",
        "public.flights; DROP TABLE x",
        'public.\\"flights\\"',
        "public.flights--",
        "public.flights WHERE 1=1",
        "public.(SELECT 1)",
        "a.b.c",
        "public.flights\\n",
        "pg_catalog.pg_authid UNION SELECT",
        "public." + "x" * 64,
    ],
)
def test_sql_in_a_table_name_is_refused(
    write_project: WriteProject, tmp_path: Path, table: str
) -> None:
    (problem,) = check(write_project, tmp_path, f'uri_env: DB, table: "{table}"').errors
    assert problem.path == "sources.flights.table"
    assert "<schema>.<table>" in problem.text


def test_a_uri_in_the_yaml_is_refused_and_not_shown(
    write_project: WriteProject, tmp_path: Path
) -> None:
    uri = "postgresql://me:hunter2@host/db"
    for written, environ in ((uri, {}), ("{{ env.DB }}", {"DB": uri})):
        directory = write_project(
            defs=DEFS.format(source=f'uri_env: "{written}", table: public.flights')
        )
        (problem,) = check_paths([directory], tmp_path, environ).errors
        assert problem.path == "sources.flights.uri_env"
        assert "the name of an environment variable" in problem.text
        assert "hunter2" not in str(problem)


@pytest.mark.parametrize(
    ("source", "path", "words"),
    [
        ("uri_env: DB", "sources.flights", "neither table nor query"),
        ("uri_env: DB, table: a.b, query: q.sql", "sources.flights", "both table and query"),
        ("table: a.b", "sources.flights.uri_env", "name of an environment variable"),
        ("uri_env: DB, query: ../q.sql", "sources.flights.query", "inside the project's folder"),
        ("uri_env: DB, query: none.sql", "sources.flights.query", "does not exist"),
        (
            "uri_env: DB, table: a.b, statement_timeout: 0s",
            "sources.flights.statement_timeout",
            "1s or more",
        ),
        (
            "uri_env: DB, table: a.b, incremental: {column: 'id; --'}",
            "sources.flights.incremental.column",
            "a column name",
        ),
        (
            "uri_env: DB, table: a.b, incremental: {column: at, start: yesterday}",
            "sources.flights.incremental.start",
            "a moment such as",
        ),
    ],
)
def test_problems(
    write_project: WriteProject, tmp_path: Path, source: str, path: str, words: str
) -> None:
    problems = check(write_project, tmp_path, source).errors
    assert [problem.path for problem in problems] == [path]
    assert words in problems[0].text


def test_the_query_of_a_source_is_checked_and_kept(
    write_project: WriteProject, tmp_path: Path
) -> None:
    directory = write_project(defs=DEFS.format(source="uri_env: DB, query: flights.sql"))
    (directory / "flights.sql").write_text("SELECT *\nFROM flights WHERE x IN (1, 2;\n")
    (problem,) = check_paths([directory], tmp_path, {}).errors
    assert problem.place == "project_configs/flights/delay/flights.sql:2"
    (directory / "flights.sql").write_text("SELECT * FROM public.flights")
    assert check_paths([directory], tmp_path, {}).errors == ()
    assert load_project(directory, tmp_path, {}).text("flights.sql").startswith("SELECT *")


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM x",
        "SELECT 1; DROP TABLE x",
        "WITH gone AS (DELETE FROM x RETURNING *) SELECT * FROM gone",
        "SELECT * INTO y FROM x",
        "SELECT * FROM x FOR UPDATE",
        "SELECT 1) AS a; DROP TABLE x; SELECT * FROM (SELECT 1",
        "",
        "SELECT 'open",
    ],
)
def test_queries_that_are_not_one_select(sql: str) -> None:
    assert find_sql_problem(sql) is not None


def test_a_query_that_ends_too_soon_is_told_in_words() -> None:
    assert find_sql_problem("SELECT a FROM") == (1, "Expected table name", _EXPECTED)


def test_queries_of_postgres() -> None:
    sql = "WITH a AS (SELECT x::numeric(12,2), j->>'k' AS k FROM t) SELECT * FROM a UNION TABLE b;"
    assert find_sql_problem(sql) is None
    assert plain_query(" SELECT 1 ;\n") == "SELECT 1"
