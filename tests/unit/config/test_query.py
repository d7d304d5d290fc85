"""What a query's text tells about sources and columns."""

from __future__ import annotations

from typing import Any

import pytest

from mlops_assets.config.project import ProjectSpec
from mlops_assets.config.query import QueryReport, check_query
from mlops_assets.config.query_parser import parse_query

ATTRIBUTES: dict[str, Any] = {
    "description": "Late?",
    "task": "binary",
    "sources": {
        "flights": {"type": "files", "uri": "flights"},
        "weather": {"type": "files", "uri": "weather"},
    },
    "checks": {
        "features": [
            {"type": "expect_column_values_to_not_be_null", "column": "distance"},
            {"type": "expect_compound_columns_to_be_unique", "column_list": ["id", "departure"]},
        ]
    },
    "features": {
        "query": "features.sql",
        "entity": "id",
        "time": "departure",
        "label": {"column": "is_late"},
        "inputs": {"numeric": ["distance", "temp"], "categorical": ["carrier"]},
        "pii": ["pilot"],
    },
    "evaluation": {"slices": ["origin"]},
}
COLUMNS = "id, departure, is_late, distance, temp, carrier, pilot, origin"
JOIN = "FROM flights JOIN weather USING (id)"


def _check(sql: str) -> QueryReport:
    return check_query(sql, ProjectSpec.model_validate(ATTRIBUTES))


def test_a_fitting_query_has_no_problems() -> None:
    assert _check(f"SELECT {COLUMNS} {JOIN}") == QueryReport()
    assert _check(f"SELECT {COLUMNS.upper()} {JOIN.upper()};") == QueryReport()


@pytest.mark.parametrize("column", COLUMNS.split(", "))
def test_every_named_column_must_be_returned(column: str) -> None:
    rest = ", ".join(name for name in COLUMNS.split(", ") if name != column)
    places = {
        "id": ["features.entity", "checks.features[1].column_list[0]"],
        "departure": ["features.time", "checks.features[1].column_list[1]"],
        "is_late": ["features.label.column"],
        "distance": ["features.inputs.numeric[0]", "checks.features[0].column"],
        "temp": ["features.inputs.numeric[1]"],
        "carrier": ["features.inputs.categorical[0]"],
        "pilot": ["features.pii[0]"],
        "origin": ["evaluation.slices[0]"],
    }
    report = _check(f"SELECT {rest}, 1 AS {column}x {JOIN}")
    assert [problem.path for problem in report.in_config] == places[column]
    assert report.in_config[0].suggestion == f"{column}x"
    assert f"{column}, which the query does not return" in report.in_config[0].found


def test_a_table_that_is_no_source_is_found_with_its_line() -> None:
    report = _check(f"-- one\nSELECT {COLUMNS}\nFROM flihgts f\nJOIN weather USING (id)")
    (problem,) = report.in_query
    assert (problem.line, problem.column, problem.suggestion) == (3, 6, "flights")
    assert [(p.path, p.severity) for p in report.in_config] == [("sources.flights", "warning")]


@pytest.mark.parametrize(
    "table", ["parquet.`/etc/data`", "other.flights", "spark_catalog.default.flights", "csv.`../x`"]
)
def test_files_and_catalogs_are_no_sources(table: str) -> None:
    (problem,) = _check(f"SELECT {COLUMNS} {JOIN} CROSS JOIN {table} b").in_query
    assert "which is not a source" in problem.found


def test_columns_of_row_conditions_and_structs_must_be_returned() -> None:
    check = {"type": "expect_column_values_to_not_be_null", "column": "weather.temp"}
    condition = {"row_condition": "gone > 1", "condition_parser": "spark"}
    attributes = ATTRIBUTES | {"checks": {"features": [check | condition]}}
    spec = ProjectSpec.model_validate(attributes)
    sql = f"SELECT {COLUMNS}{{}} {JOIN}"
    found = [problem.path for problem in check_query(sql.format(""), spec).in_config]
    assert found == ["checks.features[0].row_condition", "checks.features[0].column"]
    assert check_query(sql.format(", 1 AS gone, weather"), spec).in_config == []


def test_names_in_with_are_no_sources() -> None:
    names = "a AS (SELECT * FROM flights), b AS (SELECT * FROM A)"
    assert _check(f"WITH {names} SELECT {COLUMNS} FROM b, weather") == QueryReport()


@pytest.mark.parametrize(
    ("sql", "line", "found"),
    [
        ("SELECT a\nFROM flights\nWHERE (", 3, "a syntax error"),
        ("SELECT a b c\nFROM d", 1, "a syntax error at 'c'"),
        ("SELECT a FROM", 1, "a syntax error at 'FROM' (Expected table name)"),
        ("SELECT 'abc", None, "Error tokenizing"),
        ("SELECT {{ env.X }} FROM flights", 1, "a syntax error"),
        ("SELECT 1; SELECT 2", None, "2 statements"),
        ("", None, "0 statements"),
        ("DROP TABLE flights", 1, "a statement of another kind (DROP)"),
        ("CREATE TABLE x AS SELECT 1", 1, "a statement of another kind (CREATE)"),
        ("INSERT INTO x SELECT 1", 1, "a statement of another kind (INSERT)"),
        ("ADD JAR 'x.jar'", 1, "a s"),
        ("SET spark.sql.ansi.enabled = false", 1, "a statement of another kind (SET)"),
    ],
)
def test_anything_but_one_select_is_refused(sql: str, line: int | None, found: str) -> None:
    problem = _check(sql).in_query[0]
    assert problem.line == line
    assert problem.found.startswith(found)


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("SELECT a, b AS c, d.e, f.g AS h FROM d", ("a", "c", "e", "h")),
        ("SELECT * FROM t", None),
        ("SELECT t.*, 1 AS x FROM t", None),
        ("WITH q AS (SELECT a, b FROM t) SELECT * FROM q", ("a", "b")),
        ("WITH q AS (SELECT a FROM t) SELECT r.*, 1 AS b FROM q r JOIN t", ("a", "b")),
        ("WITH q AS (SELECT a FROM t), q2 AS (SELECT *, 1 b FROM q) SELECT * FROM q2", ("a", "b")),
        ("WITH q(x, y) AS (SELECT a, b FROM t) SELECT * FROM q", ("x", "y")),
        ("SELECT * FROM (SELECT a, b FROM t)", ("a", "b")),
        ("SELECT * FROM (SELECT a FROM t) x CROSS JOIN (SELECT b FROM t) y", ("a", "b")),
        ("SELECT * FROM (SELECT a FROM t) x JOIN (SELECT a, b FROM t) y USING (a)", None),
        ("SELECT * EXCEPT (a) FROM (SELECT a, b FROM t)", None),
        ("SELECT a FROM t UNION ALL SELECT b FROM t", ("a",)),
        ("(SELECT a FROM t)", ("a",)),
        ("SELECT count(*), a FROM t", ("a",)),
        ("SELECT posexplode(m) AS (k, v) FROM t", ("k", "v")),
        ("SELECT inline(m), a FROM t", None),
        ("SELECT explode(m) FROM t", None),
        ("SELECT item FROM t LATERAL VIEW explode(m) e AS item", ("item",)),
        ("FROM t SELECT a", ("a",)),
        ("SELECT sum(a) OVER (PARTITION BY b ORDER BY c) AS w FROM t", ("w",)),
        ("SELECT * FROM t PIVOT (sum(x) FOR y IN ('a', 'b'))", None),
    ],
)
def test_output_columns(sql: str, columns: tuple[str, ...] | None) -> None:
    query = parse_query(sql)
    assert query.problems == ()
    assert query.columns == columns


def test_a_column_returned_twice_is_a_problem() -> None:
    (problem,) = _check(f"SELECT {COLUMNS}, weather.Origin {JOIN}").in_query
    assert problem.found == "the output column Origin a second time"


@pytest.mark.parametrize(
    "function",
    [
        *("now()", "current_timestamp()", "rand()", "uuid()", "curdate()", "randstr(3)"),
        *("localtimestamp", "localtimestamp()", "current_time", "current_time()", "uniform(1, 2)"),
        pytest.param("DATE'today' ", id="today"),
    ],
)
def test_functions_that_change_with_each_run_are_warned_about(function: str) -> None:
    report = _check(f"SELECT {COLUMNS},\n  {function} AS x {JOIN}")
    (problem,) = report.in_query
    assert problem.severity == "warning"
    assert problem.line == 2


def test_samples_that_change_with_each_run_are_warned_about() -> None:
    (problem,) = parse_query("SELECT a FROM t TABLESAMPLE (10 PERCENT)").problems
    assert problem.severity == "warning"
    assert parse_query("SELECT a FROM t TABLESAMPLE (10 PERCENT) REPEATABLE (3)").problems == ()


def test_a_hint_names_no_table() -> None:
    query = parse_query("SELECT /*+ BROADCAST(x) */ x.a FROM t x")
    assert [table.name for table in query.tables] == ["t"]
    assert [(use.table, use.name) for use in query.uses] == [("t", "a")]


@pytest.mark.parametrize(
    "call",
    [
        "reflect('java.lang.System', 'getenv', 'HOME')",
        "`Reflect`('java.lang.System', 'getenv', 'HOME')",
        "JAVA_METHOD('java.lang.System', 'getenv', 'HOME')",
        "builtin.try_reflect('java.lang.System', 'getenv', 'HOME')",
    ],
)
def test_calls_of_java_code_are_refused(call: str) -> None:
    report = _check(f"SELECT {COLUMNS},\n  {call} AS x {JOIN}")
    (problem,) = report.in_query
    assert (problem.line, problem.severity) == (2, "error")
    assert "calls Java code" in problem.found


def test_programs_are_refused() -> None:
    (problem,) = parse_query("SELECT TRANSFORM(a) USING 'cat' AS (b) FROM t").problems
    assert "starts a program" in problem.found


def test_what_spark_accepts_is_accepted() -> None:
    sql = f"""
    SELECT /*+ BROADCAST(weather) */ {COLUMNS},
      try_cast(x AS INT) AS a, percentile_approx(x, 0.5) AS b, `odd name` AS c,
      avg(x) OVER (PARTITION BY id ORDER BY unix_timestamp(departure)
                   RANGE BETWEEN 3600 PRECEDING AND 1 PRECEDING) AS d,
      filter(xs, z -> z > 1) AS e, departure - INTERVAL 1 DAY AS f, x <=> y AS g,
      make_timestamp(2013, 1, 1, 0, 0, 0) AS h, named_struct('a', 1).a AS i, m['k'] AS j,
      date_trunc('hour', departure) AS k, if(x > 1, 'a', 'b') AS l, x DIV 2 AS n,
      count_if(x > 1) FILTER (WHERE y) OVER () AS o, date'2013-01-01' AS p
    FROM flights LEFT ANTI JOIN weather USING (id)
    WHERE x RLIKE '^a' AND y IN (SELECT id FROM weather)
    """
    assert _check(sql) == QueryReport()


TOPIC: dict[str, Any] = {
    "type": "kafka",
    "bootstrap_servers": "b:9092",
    "topic": "t",
    "key_column": "flight",
    "columns": dict.fromkeys(COLUMNS.split(", "), "string") | {"at": "struct<x:int>"},
}


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        (f"SELECT {COLUMNS} FROM flights WHERE delay > 1", ["delay"]),
        (f"SELECT {COLUMNS}, f.gone AS x FROM flights f", ["gone"]),
        (f"SELECT {COLUMNS}, f.gone, w.other FROM flights f, weather w", ["gone"]),
        (f"SELECT {COLUMNS}, at.x, _offset, FLIGHT FROM flights ORDER BY DISTANCE", []),
        (f"SELECT {COLUMNS}, 1 AS one FROM flights WHERE one > 0 GROUP BY ALL", []),
        (f"SELECT {COLUMNS}, DATEADD(DAY, 1, departure) AS d FROM flights", []),
        (f"SELECT {COLUMNS}, EXTRACT(HOUR FROM departure) AS h, current_user FROM flights", []),
        (f"SELECT {COLUMNS}, filter(at, q -> q > 1) AS z, gone FROM flights", []),
        (f"WITH a AS (SELECT gone FROM flights) SELECT {COLUMNS}, other FROM a", []),
        (f"SELECT {COLUMNS}, v FROM flights LATERAL VIEW explode(at) t AS v", []),
        (f"SELECT {COLUMNS}, explode(at) AS (k, v) FROM flights ORDER BY k", []),
        (f"SELECT {COLUMNS}, posexplode(at) FROM flights ORDER BY pos", []),
        ("SELECT f.* FROM flights f", []),
    ],
)
def test_columns_that_a_topic_does_not_declare(sql: str, found: list[str]) -> None:
    sources = ATTRIBUTES["sources"] | {"flights": TOPIC}
    report = check_query(sql, ProjectSpec.model_validate(ATTRIBUTES | {"sources": sources}))
    assert [p.found.split()[2].rstrip(",") for p in report.in_query] == found


def test_checks_of_a_topic_name_declared_columns() -> None:
    check = {"type": "expect_column_values_to_not_be_null"}
    checks = {"flights": [check | {"column": "distnce"}, check | {"column": "Carrier"}]}
    changes = {"sources": ATTRIBUTES["sources"] | {"flights": TOPIC}, "checks": checks}
    spec = ProjectSpec.model_validate(ATTRIBUTES | changes)
    (problem,) = check_query(f"SELECT {COLUMNS} {JOIN}", spec).in_config
    assert (problem.path, problem.suggestion) == ("checks.flights[0].column", "distance")
