"""Expectations on real Spark, against numbers counted by hand in ``conftest.ROWS``."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mlops_assets.config.expectation_catalogue import expectation_names
from mlops_assets.config.expectations import ExpectationSpec
from mlops_assets.errors import QualityError
from mlops_assets.quality.privacy import MASK
from mlops_assets.quality.runner import ExpectationResult, raise_for_errors, validate

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

Check = Callable[..., ExpectationResult]


def expectation(type_: str, /, **arguments: Any) -> ExpectationSpec:
    return ExpectationSpec.model_validate({"type": f"expect_{type_}", **arguments})


@pytest.fixture(scope="session")
def check(frame: DataFrame) -> Check:
    """Validate the ten rows against one expectation."""

    def run(type_: str, /, *, pii: tuple[str, ...] = (), **arguments: Any) -> ExpectationResult:
        spec = expectation(type_, **arguments)
        (result,) = validate(frame, [spec], pii=pii, where="rows")
        return result

    return run


# type, arguments, passed, unexpected rows, judged share in percent, rows looked at, missing
ROW_EXPECTATIONS: list[tuple[str, dict[str, Any], bool, int, float | None, int]] = [
    ("column_values_to_not_be_null", {"column": "id"}, True, 0, 0.0, 10),
    ("column_values_to_not_be_null", {"column": "delay"}, False, 2, 20.0, 10),
    ("column_values_to_not_be_null", {"column": "delay", "mostly": 0.8}, True, 2, 20.0, 10),
    ("column_values_to_not_be_null", {"column": "delay", "mostly": 0.81}, False, 2, 20.0, 10),
    ("column_values_to_be_between", {"column": "delay", "min_value": 0}, False, 1, 12.5, 10),
    ("column_values_to_be_between", {"column": "delay", "min_value": -30}, True, 0, 0.0, 10),
    (
        "column_values_to_be_between",
        {"column": "delay", "min_value": -30, "strict_min": True},
        False,
        1,
        12.5,
        10,
    ),
    (
        "column_values_to_be_between",
        {"column": "day", "min_value": date(2013, 1, 2), "max_value": "2013-01-09"},
        False,
        2,
        20.0,
        10,
    ),
    (
        "column_values_to_be_between",
        {"column": "at", "min_value": "2013-01-02T12:00:00", "strict_min": True},
        False,
        2,
        20.0,
        10,
    ),
    (
        "column_values_to_be_in_set",
        {"column": "origin", "value_set": ["JFK", "EWR", "LGA"]},
        False,
        2,
        20.0,
        10,
    ),
    ("column_values_to_be_unique", {"column": "id"}, False, 2, 20.0, 10),
    ("column_values_to_match_regex", {"column": "email", "regex": "@"}, False, 1, 100 / 9, 10),
    (
        "column_values_to_be_between",
        {"column": "distance", "min_value": 1, "row_condition": "origin = 'JFK'"},
        False,
        1,
        100 / 3,
        3,
    ),
    (
        "column_pair_values_a_to_be_greater_than_b",
        {"column_A": "distance", "column_B": "air_time"},
        False,
        2,
        20.0,
        10,
    ),
    ("compound_columns_to_be_unique", {"column_list": ["id", "carrier"]}, True, 0, 0.0, 10),
    ("compound_columns_to_be_unique", {"column_list": ["origin", "id"]}, False, 2, 20.0, 10),
    (
        "multicolumn_sum_to_equal",
        {"column_list": ["constant", "air_time"], "sum_total": 25},
        False,
        9,
        90.0,
        10,
    ),
]

STATISTICS: list[tuple[str, dict[str, Any], bool, Any]] = [
    ("table_row_count_to_equal", {"value": 10}, True, 10),
    ("table_row_count_to_be_between", {"min_value": 11}, False, 10),
    ("table_column_count_to_equal", {"value": 11}, True, 11),
    ("column_to_exist", {"column": "delay"}, True, None),
    ("column_to_exist", {"column": "dealy"}, False, None),
    ("column_mean_to_be_between", {"column": "delay", "max_value": 29}, False, 30.0),
    ("column_max_to_be_between", {"column": "distance", "max_value": 800}, True, 800),
    ("column_sum_to_be_between", {"column": "constant", "min_value": 50}, True, 50),
    ("column_unique_value_count_to_be_between", {"column": "carrier", "min_value": 5}, False, 4),
    ("column_stdev_to_be_between", {"column": "constant", "min_value": 1}, False, 0.0),
    (
        "column_proportion_of_non_null_values_to_be_between",
        {"column": "carrier", "min_value": 0.95},
        False,
        0.9,
    ),
    ("column_values_to_be_of_type", {"column": "id", "type_": "IntegerType"}, True, "IntegerType"),
    (
        "column_distinct_values_to_equal_set",
        {"column": "origin", "value_set": ["EWR", "JFK", "LGA", "BOS"]},
        False,
        {"unexpected values": ["SFO"], "missing values": ["BOS"]},
    ),
    (
        "column_most_common_value_to_be_in_set",
        {"column": "constant", "value_set": [5]},
        True,
        [5],
    ),
]


def test_rows_are_counted(frame: DataFrame) -> None:
    specs = [expectation(type_, **arguments) for type_, arguments, *_ in ROW_EXPECTATIONS]
    results = validate(frame, specs, pii=(), where="rows")
    assert [result.error for result in results] == [None] * len(specs)
    found = [(r.passed, r.unexpected_count, r.unexpected_percent, r.element_count) for r in results]
    for numbers, (type_, arguments, *wanted) in zip(found, ROW_EXPECTATIONS, strict=True):
        assert list(numbers) == pytest.approx(wanted), (type_, arguments)
    for result in results:
        assert len(result.unexpected_sample) == result.unexpected_count


def test_statistics_are_observed(frame: DataFrame) -> None:
    specs = [expectation(type_, **arguments) for type_, arguments, *_ in STATISTICS]
    results = validate(frame, specs, pii=(), where="rows")
    assert [result.error for result in results] == [None] * len(specs)
    for result, (type_, arguments, passed, observed) in zip(results, STATISTICS, strict=True):
        assert (result.passed, result.observed) == (passed, observed), (type_, arguments)
        assert result.element_count is None


def test_the_sample_shows_the_unexpected_rows(check: Check) -> None:
    result = check("column_values_to_be_between", column="delay", min_value=0)
    (row,) = result.unexpected_sample
    assert list(row)[:2] == ["delay", "id"]
    assert row["delay"] == -30.0
    assert row["id"] == 8
    assert row["at"].startswith("2013-01-08")
    json.dumps(result.to_dict())


def test_results_survive_being_stored(check: Check) -> None:
    result = check("column_values_to_be_in_set", column="origin", value_set=["JFK"], mostly=0.1)
    stored = json.loads(json.dumps(result.to_dict()))
    assert ExpectationResult.from_dict(stored) == result


def test_equal_expectations_each_get_their_own_result(frame: DataFrame) -> None:
    spec = expectation("column_values_to_not_be_null", column="delay")
    results = validate(frame, [spec, spec], pii=(), where="rows")
    assert [result.unexpected_count for result in results] == [2, 2]
    assert results[1].check_name == f"{results[0].check_name}_2"


def test_an_error_stays_with_its_expectation(frame: DataFrame) -> None:
    """ANSI mode refuses to compare text with numbers; the job is shared by all counts."""
    specs = [
        expectation("column_values_to_not_be_null", column="id"),
        expectation("column_values_to_be_between", column="carrier", min_value=3),
        expectation("column_values_to_be_in_set", column="email", value_set=[1, 2]),
        expectation("column_values_to_be_in_set", column="origin", value_set=[1, 2]),
        expectation("column_values_to_not_be_null", column="delay"),
        expectation("column_mean_to_be_between", column="carrier", min_value=0),
        expectation("column_values_to_not_be_null", column="dely"),
    ]
    good, between, email, origin, null, mean, unknown = validate(frame, specs, pii=(), where="rows")
    assert good.passed and good.error is None
    assert (null.error, null.unexpected_count) == (None, 2)
    for broken in (between, email, origin, mean):
        assert not broken.passed
        assert broken.error
        assert len(broken.error) <= 500
    for cast, quoted, other in ((email, "@example", "'JFK'"), (origin, "'", "@example")):
        assert "CAST_INVALID_INPUT" in (cast.error or "")
        assert quoted in (cast.error or "")
        assert other not in (cast.error or "")
    assert "numeric" in (mean.error or "")
    assert unknown.error == "the data have no column dely; did you mean delay?"


@pytest.mark.parametrize(
    ("type_", "arguments"),
    [
        ("column_values_to_match_regex", {"column": "email", "regex": "^x"}),
        ("column_values_to_be_in_set", {"column": "email", "value_set": ["ann@example.org"]}),
        ("column_values_to_be_in_set", {"column": "email", "value_set": [1, 2]}),
        ("column_values_to_be_unique", {"column": "origin"}),
        ("column_distinct_values_to_be_in_set", {"column": "email", "value_set": ["a"]}),
        ("column_max_to_be_between", {"column": "email", "max_value": "2013-01-01"}),
        ("column_most_common_value_to_be_in_set", {"column": "email", "value_set": ["a"]}),
        ("column_mean_to_be_between", {"column": "email", "min_value": 1}),
        ("column_pair_values_to_be_equal", {"column_A": "email", "column_B": "carrier"}),
        ("multicolumn_values_to_be_equal", {"column_list": ["carrier", "email"]}),
        ("column_value_lengths_to_equal", {"column": "email", "value": 3}),
        ("column_values_to_be_null", {"column": "id", "row_condition": "email LIKE 'ann@%'"}),
    ],
)
def test_no_personal_value_is_shown(check: Check, type_: str, arguments: dict[str, Any]) -> None:
    result = check(type_, pii=("Email",), **arguments)
    assert not result.passed
    shown = json.dumps(
        [
            result.observed,
            result.unexpected_sample,
            result.error,
            result.found,
            result.expected,
            result.arguments,
        ]
    )
    assert "@" not in shown.replace(result.spec.check_name, "")
    assert "-at-" not in shown
    if result.unexpected_sample and arguments.get("column") == "email":
        assert {row["email"] for row in result.unexpected_sample} == {MASK}
    else:
        assert all("email" not in row or row["email"] == MASK for row in result.unexpected_sample)
    with pytest.raises(QualityError) as raised:
        raise_for_errors([result], "rows")
    assert "@" not in str(raised.value)


def test_counts_of_a_personal_column_are_shown(check: Check) -> None:
    result = check("column_values_to_not_be_null", column="email", pii=("email",))
    assert (result.unexpected_count, result.unexpected_percent) == (1, 10.0)
    unique = check(
        "column_unique_value_count_to_be_between", column="email", max_value=3, pii=("email",)
    )
    assert unique.observed == 9


def test_severity_decides_what_blocks(frame: DataFrame) -> None:
    specs = [
        expectation("column_values_to_not_be_null", column="delay", severity="warn"),
        expectation("column_values_to_not_be_null", column="carrier"),
        expectation("column_mean_to_be_between", column="delay", max_value=29),
        expectation("column_values_to_not_be_null", column="id"),
    ]
    results = validate(frame, specs, pii=(), where="rows")
    raise_for_errors([results[0], results[3]], "rows")
    with pytest.raises(QualityError) as raised:
        raise_for_errors(results, "team/project rows")
    error = raised.value
    assert error.where == "team/project rows"
    assert "2 of 4 expectations failed" in error.problem
    assert "column_values_to_not_be_null__carrier: 1 unexpected of 10 (10 %)" in (error.found or "")
    assert "column_mean_to_be_between__delay: observed 30.0" in (error.found or "")
    assert "max_value = 29" in (error.expected or "")
    assert "__delay: 2 unexpected" not in str(error)


def test_a_column_without_values_says_so(check: Check) -> None:
    """Case 14: all null."""
    between = check("column_values_to_be_between", column="empty", min_value=0)
    assert between.passed
    assert (between.missing_count, between.unexpected_count) == (10, 0)
    assert between.note == "every value is missing: nothing was checked"
    null = check("column_values_to_not_be_null", column="empty", mostly=0.01)
    assert (null.passed, null.unexpected_count, null.unexpected_percent) == (False, 10, 100.0)
    for statistic in ("mean", "min", "stdev"):
        result = check(f"column_{statistic}_to_be_between", column="empty", min_value=0)
        assert (result.passed, result.observed, result.error) == (False, None, None)
        assert result.note == "there is no value to judge"


def test_a_constant_column_has_defined_statistics(check: Check) -> None:
    """Case 14: constant."""
    stdev = check("column_stdev_to_be_between", column="constant", min_value=0.1)
    assert (stdev.passed, stdev.observed) == (False, 0.0)
    unique = check("column_unique_value_count_to_be_between", column="constant", min_value=2)
    assert (unique.passed, unique.observed) == (False, 1)
    scores = check(
        "column_value_z_scores_to_be_less_than", column="constant", threshold=3, double_sided=True
    )
    assert scores.passed or scores.error


def test_a_frame_without_rows(frame: DataFrame) -> None:
    specs = [
        expectation("column_values_to_not_be_null", column="id"),
        expectation("column_values_to_be_unique", column="id"),
        expectation("column_mean_to_be_between", column="delay", min_value=0),
        expectation("table_row_count_to_be_between", min_value=1),
    ]
    nulls, unique, mean, rows = validate(frame.limit(0), specs, pii=(), where="rows")
    for result in (nulls, unique):
        assert result.passed
        assert (result.unexpected_count, result.element_count) == (0, 0)
        assert result.note == "there are no rows to check"
    assert (mean.passed, mean.observed, mean.note) == (False, None, "there is no value to judge")
    assert (rows.passed, rows.observed) == (False, 0)


def test_no_expectations_need_no_great_expectations(frame: DataFrame) -> None:
    assert validate(frame, [], pii=(), where="rows") == []


def test_little_reaches_the_driver(spark: SparkSession) -> None:
    """A million unexpected rows of every kind, and all of them are counted."""
    large = spark.range(1_000_000).selectExpr("id", "id % 2 AS twice", "repeat('x', 50) AS text")
    specs = [
        expectation("column_values_to_be_null", column="text"),
        expectation("column_values_to_be_between", column="id", min_value=-2, max_value=-1),
        expectation("column_values_to_be_unique", column="twice"),
        expectation("column_distinct_values_to_be_in_set", column="id", value_set=[-1]),
        expectation("column_pair_values_to_be_equal", column_A="id", column_B="text"),
        expectation("column_most_common_value_to_be_in_set", column="id", value_set=[1]),
    ]
    last = max(_result_bytes(spark), default=-1)
    *counted, pair, common = validate(large, specs, pii=(), where="rows")
    for result in counted:
        assert (result.passed, result.unexpected_count) == (False, 1_000_000)
        assert len(result.unexpected_sample) == 10
    assert pair.error
    assert common.error == "id has more than 100,000 distinct values, too many to compare"
    sent = [size for stage, size in _result_bytes(spark).items() if stage > last]
    assert 0 < sum(sent) < 2_000_000


def _result_bytes(spark: SparkSession) -> dict[int, int]:
    """Bytes that the tasks of each stage still remembered have sent to the driver."""
    context = spark.sparkContext
    context._jsc.sc().listenerBus().waitUntilEmpty()
    no_quantiles = context._gateway.new_array(context._jvm.double, 0)
    store = context._jsc.sc().statusStore()
    stages = store.stageList(None, False, False, no_quantiles, None)
    listed = [stages.apply(index) for index in range(stages.size())]
    return {stage.stageId(): stage.resultSize() for stage in listed}


def test_nothing_is_written_or_printed(
    frame: DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    caplog.set_level(logging.DEBUG, logger="great_expectations")
    specs = [
        expectation("column_values_to_not_be_null", column="delay"),
        expectation("column_mean_to_be_between", column="carrier", min_value=0),
    ]
    validate(frame, specs, pii=("carrier",), where="rows")
    assert list(tmp_path.rglob("*")) == []
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


EXAMPLES: dict[str, Any] = {
    "column": "delay",
    "column_A": "distance",
    "column_B": "air_time",
    "column_list": ["distance", "air_time"],
    "column_set": ["distance"],
    "double_sided": True,
    "partition_object": {"bins": [-100, 0, 100], "weights": [0.2, 0.8]},
    "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 50]]},
    "regex": "A",
    "regex_list": ["A"],
    "strftime_format": "%Y",
    "sum_total": 1,
    "threshold": 3,
    "type_": "DoubleType",
    "type_list": ["DoubleType"],
    "value": 10,
    "value_pairs_set": [[100, 20]],
    "value_set": [0.0, 10.0],
}
TEXT = ("length", "regex", "strftime")


@pytest.mark.slow
def test_every_expectation_of_the_catalogue_runs_on_spark(frame: DataFrame) -> None:
    from mlops_assets.config.expectation_catalogue import load_catalogue

    specs = []
    for name in expectation_names():
        known = load_catalogue()[name]["arguments"]
        arguments = {
            argument: EXAMPLES[argument] for argument in known if known[argument]["required"]
        }
        if "min_value" in known and "partition_object" not in known:
            arguments["min_value"] = 0
        if any(word in name for word in TEXT):
            arguments["column"] = "carrier"
        specs.append(expectation(name.removeprefix("expect_"), **arguments))
    results = validate(frame, specs, pii=(), where="rows")
    assert len(results) == len(expectation_names()) > 40
    assert {r.check_name: r.error for r in results if r.error} == {}


def test_nan_is_a_value_for_spark(spark: SparkSession) -> None:
    """As the page about checks says, with its remedy."""
    nan = spark.sql("SELECT double('NaN') AS x, nanvl(double('NaN'), NULL) AS repaired")
    specs = [
        expectation("column_values_to_not_be_null", column=column) for column in ("x", "repaired")
    ]
    as_is, repaired = validate(nan, specs, pii=(), where="rows")
    assert (as_is.passed, repaired.passed) == (True, False)
