"""Features with real Spark: types by role, domains, one query only, reuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.errors import ConfigError, EmptyDataError, QualityError, SchemaError, StoreError
from mlops_assets.features.materialize import FeaturesResult, materialize_features
from mlops_assets.sources.ingest import ingest
from resources.local_store import LocalStore

pytestmark = pytest.mark.spark

SHOP = """
SELECT * FROM VALUES
  (1, timestamp'2024-01-01 10:00:00', 1.5D, 'red', 1, 10),
  (2, timestamp'2024-01-02 10:00:00', CAST('NaN' AS DOUBLE), '', 0, 20),
  (3, timestamp'2024-01-03 10:00:00', NULL, NULL, NULL, 30)
AS t(id, at, x, colour, label, extra)
"""


@pytest.fixture
def run(store: LocalStore, spark: Any) -> Callable[..., FeaturesResult]:
    def run(project: Any, **arguments: Any) -> FeaturesResult:
        if store.latest(project.id.raw_collection("shop")) is None:
            pq.write_table(pa.table({"id": [1]}), project.directory / "shop" / "a.parquet")
            _ingest(project, store, spark)
        defaults = {
            "store": store,
            "spark_factory": lambda: spark,
            "check": lambda df, profile: {},
            "code_version": "1",
        }
        return materialize_features(project, **(defaults | arguments))

    return run


def _ingest(project: Any, store: LocalStore, spark: Any) -> None:
    ingest(
        project,
        "shop",
        store=store,
        spark_factory=lambda: spark,
        check=lambda df, profile: {},
    )


def no_spark() -> Any:
    raise AssertionError("Spark was started though nothing changed")


def stored(store: LocalStore, result: FeaturesResult) -> pa.Table:
    return pq.read_table(store.path(result.manifest)).sort_by("id")


def select(**columns: str) -> str:
    """One row with some columns replaced."""
    row = {
        "id": "1",
        "at": "timestamp'2024-01-01 10:00:00'",
        "x": "1.5D",
        "colour": "'red'",
        "label": "1",
    } | columns
    return "SELECT " + ", ".join(f"{value} AS {name}" for name, value in row.items())


def test_types_follow_the_roles(make_project: Any, run: Any, store: LocalStore) -> None:
    table = stored(store, run(make_project(SHOP)))
    types = {field.name: str(field.type) for field in table.schema}
    assert types == {
        "id": "int32",
        "at": "timestamp[us, tz=UTC]",
        "x": "float",
        "colour": "string",
        "label": "int32",
        "extra": "int32",
    }
    assert table["colour"].to_pylist() == ["red", None, None]  # an empty text is a missing one
    assert table["label"].to_pylist() == [1, 0, None]


@pytest.mark.parametrize(
    ("task", "columns", "expected"),
    [
        ("binary", {"label": "true"}, 1),
        ("binary", {"label": "1.0D"}, 1),
        ("binary", {"label": "CAST('NaN' AS DOUBLE)"}, None),
        ("multiclass", {"label": "7"}, "7"),
        ("multiclass", {"label": "true"}, "true"),
        ("multiclass", {"label": "''"}, None),
        ("regression", {"label": "7"}, 7.0),
        ("regression", {"label": "CAST(1.25 AS DECIMAL(9,2))"}, 1.25),
        ("regression", {"label": "CAST('NaN' AS DOUBLE)"}, None),
    ],
)
def test_labels(
    make_project: Any, run: Any, store: LocalStore, task: str, columns: Any, expected: Any
) -> None:
    table = stored(store, run(make_project(select(**columns), task=task)))
    assert table["label"].to_pylist() == [expected]


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("x", "true", 1.0),
        ("x", "NULL", None),
        ("x", "CAST(3 AS BIGINT)", 3.0),
        ("colour", "true", "true"),
        ("colour", "CAST(3 AS BIGINT)", "3"),
        ("colour", "NULL", None),
    ],
)
def test_inputs(
    make_project: Any, run: Any, store: LocalStore, column: str, value: str, expected: Any
) -> None:
    table = stored(store, run(make_project(select(**{column: value}))))
    assert table[column].to_pylist() == [expected]


def test_dates_are_moments_in_utc(make_project: Any, run: Any, store: LocalStore) -> None:
    table = stored(store, run(make_project(select(at="date'2024-02-29'"))))
    assert str(table["at"][0].as_py()) == "2024-02-29 00:00:00+00:00"


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"x": "'1.5'"}, "~ x is string, but a number is needed"),
        ({"colour": "1.5D"}, "~ colour is double, but a text, boolean or whole number is needed"),
        ({"label": "'yes'"}, "~ label is string, but a boolean or 0/1 is needed"),
        ({"at": "'2024-01-01'"}, "~ at is string, but a timestamp or date is needed"),
        ({"other": "NULL"}, "~ other has no type"),
    ],
)
def test_other_types_are_refused(make_project: Any, run: Any, columns: Any, line: str) -> None:
    with pytest.raises(SchemaError) as raised:
        run(make_project(select(**columns)))
    assert line in str(raised.value)


def test_all_missing_columns_are_told_at_once(make_project: Any, run: Any) -> None:
    query = "SELECT 1 AS id, now() AS at, 1.0D AS x, 'r' AS color, 1 AS lable"
    project = make_project(
        query,
        features={"pii": ["phone"]},
        evaluation={"slices": ["region"]},
    )
    with pytest.raises(SchemaError) as raised:
        run(project)
    text = str(raised.value)
    assert "- colour (input); did you mean color?" in text
    assert "- label (label); did you mean lable?" in text
    assert "- region (slice)" in text
    assert "- phone (pii)" in text


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"label": "2"}, "other values than 0 and 1"),
        ({"label": "-1"}, "other values than 0 and 1"),
        ({"label": "0.5D"}, "other values than 0 and 1"),
        ({"label": "CAST(5000000000 AS BIGINT)"}, "other values than 0 and 1"),
        ({"at": "CAST(NULL AS TIMESTAMP)"}, "the time is missing"),
        ({"id": "CAST(NULL AS INT)"}, "the entity is missing"),
    ],
)
def test_values_outside_the_domain_are_never_published(
    make_project: Any, run: Any, store: LocalStore, columns: Any, problem: str
) -> None:
    project = make_project(select(**columns))
    with pytest.raises(SchemaError, match=problem):
        run(project)
    assert store.latest(project.id.features_collection) is None


def test_an_infinite_target_is_refused(make_project: Any, run: Any) -> None:
    project = make_project(select(label="CAST('Infinity' AS DOUBLE)"), task="regression")
    with pytest.raises(SchemaError, match="infinite"):
        run(project)


@pytest.mark.parametrize(
    "query",
    [
        "",
        ";",
        "CREATE TABLE t AS SELECT 1 AS id",
        "INSERT INTO shop SELECT 2",
        "SELECT 1 AS id; SELECT 2 AS id",
        "SELECT 1 AS id) x; DROP VIEW shop; SELECT * FROM (SELECT 1",
        "DROP VIEW shop",
        "SELECT nonsense FROM shop",
        "SELEC 1",
        "SELECT CAST('abc' AS INT) AS id, now() AS at, 1D AS x, 'r' AS colour, 1 AS label",
    ],
)
def test_only_one_working_query_is_run(
    make_project: Any, run: Any, store: LocalStore, query: str
) -> None:
    project = make_project(query)
    with pytest.raises(ConfigError, match=r"features\.sql"):
        run(project)
    assert store.latest(project.id.features_collection) is None


def test_an_unknown_table_gets_the_nearest_source(make_project: Any, run: Any) -> None:
    with pytest.raises(ConfigError, match=r"did you mean shop\?"):
        run(make_project("SELECT * FROM shpo"))


def test_a_query_reads_no_files(make_project: Any, run: Any, store: LocalStore) -> None:
    """Another team's data cannot be read past the sources."""
    project = make_project(select())
    run(project)
    path = store.path(store.latest(project.id.raw_collection("shop")))
    with pytest.raises(ConfigError):
        run(make_project(f"SELECT * FROM parquet.`{path}`"))


@pytest.mark.parametrize("name", ["reflect", "java_method", "try_reflect", "builtin.reflect"])
def test_a_query_calls_no_java_code(
    make_project: Any, run: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Even where the check of the text was passed by."""
    monkeypatch.setenv("A_SECRET", "hunter2")
    query = f"SELECT *, {name}('java.lang.System', 'getenv', 'A_SECRET') AS s FROM shop"
    with pytest.raises(ConfigError, match="Cannot resolve routine") as raised:
        run(make_project(query=query))
    assert "hunter2" not in str(raised.value)


def test_a_query_reads_no_variables(make_project: Any, run: Any, store: LocalStore) -> None:
    """Spark would put them in before it parses the text, secrets of the environment too."""
    variables = ("${env:PATH}", "${system:user.name}", "${spark.app.id}", "${hiveconf:x}")
    columns = {f"v{number}": f"'{text}'" for number, text in enumerate(variables)}
    table = stored(store, run(make_project(select(**columns))))
    assert [table[name].to_pylist() for name in columns] == [[text] for text in variables]


def test_with_comments_and_semicolon(make_project: Any, run: Any) -> None:
    query = f"-- first\nWITH a AS ({select()})\nSELECT * FROM a -- last\n;\n"
    assert run(make_project(query)).manifest.rows == 1


def test_views_are_gone_afterwards(make_project: Any, run: Any, spark: Any) -> None:
    run(make_project(select()))
    with pytest.raises(ConfigError):
        run(make_project("SELECT nonsense FROM shop"))
    assert spark.catalog.listTables() == []


def test_values_do_not_appear_in_errors_of_projects_with_personal_data(
    make_project: Any, run: Any
) -> None:
    query = select(id="CAST('jane@example.org' AS INT)")
    with pytest.raises(ConfigError) as raised:
        run(make_project(query, features={"pii": ["id"]}))
    assert "jane" not in str(raised.value)


def test_unchanged_inputs_are_not_computed_again(
    make_project: Any, run: Any, store: LocalStore, spark: Any
) -> None:
    project = make_project(SHOP)
    first = run(project)
    again = run(project, spark_factory=no_spark, code_version="2")
    assert again.reused
    assert again.manifest == first.manifest
    assert again.profile == first.profile
    with pytest.raises(AssertionError):
        run(make_project(SHOP + " "), spark_factory=no_spark)
    pq.write_table(pa.table({"id": [2]}), project.directory / "shop" / "b.parquet")
    _ingest(project, store, spark)
    with pytest.raises(AssertionError):
        run(project, spark_factory=no_spark)
    changed = run(project)
    assert changed.raw_versions != first.raw_versions
    assert changed.manifest.data_version == first.manifest.data_version
    assert changed.manifest.location == first.manifest.location


def test_refused_features_are_never_visible(make_project: Any, run: Any, store: LocalStore) -> None:
    def refuse(df: Any, profile: Any) -> None:
        raise QualityError("refused")

    project = make_project(SHOP)
    with pytest.raises(QualityError):
        run(project, check=refuse)
    assert store.latest(project.id.features_collection) is None


def test_no_rows_are_refused(make_project: Any, run: Any) -> None:
    with pytest.raises(EmptyDataError, match="team/shop/features"):
        run(make_project(select() + " WHERE false"))


def test_a_source_without_data_is_named(make_project: Any, store: LocalStore) -> None:
    with pytest.raises(StoreError, match="raw/shop"):
        materialize_features(
            make_project(SHOP),
            store=store,
            spark_factory=no_spark,
            check=lambda df, profile: {},
            code_version="1",
        )


def test_the_snapshot_of_the_query_is_run(make_project: Any, run: Any) -> None:
    """An edit during a run changes nothing: the text was taken when the project was loaded."""
    project = make_project(SHOP)
    (project.directory / "features.sql").write_text("DROP TABLE everything")
    assert run(project).manifest.rows == 3
