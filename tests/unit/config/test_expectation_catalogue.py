"""The catalogue of expectations: what it accepts, what it refuses and how it says so."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from mlops_assets.config.expectation_catalogue import (
    columns_of,
    describe,
    expectation_names,
    find_problem,
    find_problems,
    load_catalogue,
)
from mlops_assets.config.expectations import ExpectationSpec, unique_check_names

NOT_NULL = "expect_column_values_to_not_be_null"
BETWEEN = "expect_column_values_to_be_between"
IN_SET = "expect_column_values_to_be_in_set"
REGEX = "expect_column_values_to_match_regex"

SPECIAL: dict[str, Any] = {
    "column_A": "a",
    "column_B": "b",
    "column_list": ["a", "b"],
    "partition_object": {"values": ["x", "y"], "weights": [0.4, 0.6]},
    "quantile_ranges": {"quantiles": [0.1, 0.9], "value_ranges": [[0, 5], [10, None]]},
    "value_pairs_set": [["x", "y"]],
    "strftime_format": "%Y-%m-%d",
}
BY_TYPE: dict[str, Any] = {"string": "x", "number": 0.5, "integer": 1, "boolean": True}


def _example(name: str) -> dict[str, Any]:
    """Valid arguments, made from the required ones (and one limit where limits are optional)."""
    known = load_catalogue()[name]["arguments"]
    chosen = {}
    for argument, schema in known.items():
        if not schema["required"]:
            continue
        (kind,) = schema["types"]
        value = schema["choices"][0] if "choices" in schema else BY_TYPE.get(kind, "x")
        chosen[argument] = SPECIAL.get(argument, [value] if kind == "array" else value)
    if "min_value" in known and "partition_object" not in known:
        chosen["min_value"] = 1
    return chosen


def test_the_catalogue_is_not_empty() -> None:
    assert len(expectation_names()) >= 45
    assert NOT_NULL in expectation_names()


@pytest.mark.parametrize("name", expectation_names())
def test_every_expectation_accepts_its_required_arguments(name: str) -> None:
    arguments = _example(name)
    assert find_problems(name, arguments) == []
    ExpectationSpec.model_validate({"type": name, **arguments})


@pytest.mark.parametrize("name", expectation_names())
def test_every_expectation_misses_each_required_argument(name: str) -> None:
    arguments = _example(name)
    assert arguments
    for argument in arguments:
        rest = {key: value for key, value in arguments.items() if key != argument}
        problem = find_problem(name, rest)
        assert problem is not None
        assert argument in problem


@pytest.mark.parametrize("name", expectation_names())
def test_every_argument_refuses_a_wrong_type(name: str) -> None:
    for argument, schema in load_catalogue()[name]["arguments"].items():
        wrong: Any = "x" if "string" not in schema["types"] else 3
        (problem,) = find_problems(name, {**_example(name), argument: wrong})
        assert problem.location[0] == argument


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (
        "expect_column_values_to_not_be_nul",
        {"column": "a"},
        "type: found 'expect_column_values_to_not_be_nul', which Great Expectations does not "
        f"offer on Spark, expected the name of a Great Expectations core expectation; did you "
        f"mean {NOT_NULL}?",
    ),
    (NOT_NULL, {}, f"found no column, expected column (text), which {NOT_NULL} needs"),
    (
        NOT_NULL,
        {"colum": "a"},
        f"colum: found the unknown argument colum of {NOT_NULL}, expected one of column, "
        "condition_parser, mostly, row_condition; did you mean column?",
    ),
    (
        NOT_NULL,
        {"column": "a", "mostly": "0.9"},
        "mostly: found '0.9', which is text, expected a number",
    ),
    (NOT_NULL, {"column": "a", "mostly": True}, "mostly: found true, expected a number"),
    (NOT_NULL, {"column": "a", "mostly": float("nan")}, "mostly: found nan"),
    (
        NOT_NULL,
        {"column": "a", "mostly": 1.5},
        "mostly: found 1.5, expected a number from 0 to 1",
    ),
    (NOT_NULL, {"column": " "}, "column: found empty text, expected a column"),
    (NOT_NULL, {"column": None}, "column: found nothing, expected text"),
    (
        NOT_NULL,
        {"column": "a", "result_format": "COMPLETE"},
        "result_format: found the argument result_format, which the engine sets",
    ),
    (
        BETWEEN,
        {"column": "a"},
        f"found neither min_value nor max_value, expected at least one, for {BETWEEN}",
    ),
    (
        BETWEEN,
        {"column": "a", "min_value": 3, "max_value": 2},
        "min_value: found 3, expected at most max_value (2)",
    ),
    (
        BETWEEN,
        {"column": "a", "min_value": 2, "max_value": 2, "strict_max": True},
        "min_value: found 2, expected less than max_value (2)",
    ),
    (
        BETWEEN,
        {"column": "a", "min_value": "2014-01-01", "max_value": date(2013, 1, 1)},
        "min_value: found '2014-01-01', expected at most max_value",
    ),
    (
        BETWEEN,
        {"column": "a", "min_value": 1, "max_value": "2013-01-01"},
        "expected values of one type",
    ),
    (
        BETWEEN,
        {"column": "a", "min_value": "1"},
        "min_value: found '1', which is text, expected a date or a number",
    ),
    (IN_SET, {"column": "a", "value_set": []}, "value_set: found an empty list"),
    (IN_SET, {"column": "a", "value_set": "JFK"}, "value_set: found 'JFK', which is text"),
    (
        IN_SET,
        {"column": "a", "value_set": ["a", 1]},
        "value_set[1]: found 1 beside 'a', expected values of one type",
    ),
    (IN_SET, {"column": "a", "value_set": ["a", "a"]}, "value_set[1]: found 'a' a second time"),
    (IN_SET, {"column": "a", "value_set": [["a"]]}, "value_set[0]: found a list"),
    (REGEX, {"column": "a", "regex": "(a"}, "regex: found '(a': missing ), unterminated"),
    (REGEX, {"column": "a", "regex": "(?P<x>a)"}, "Java writes a named group"),
    (
        "expect_column_values_to_match_regex_list",
        {"column": "a", "regex_list": ["a", "["]},
        "regex_list[1]: found '['",
    ),
    (
        "expect_column_values_to_be_of_type",
        {"column": "a", "type_": "Integer"},
        "did you mean IntegerType?",
    ),
    (
        "expect_column_pair_values_to_be_equal",
        {"column_A": "a", "column_B": "a"},
        "column_B: found 'a', which is column_A",
    ),
    (
        "expect_column_values_to_match_strftime_format",
        {"column": "a", "strftime_format": "%Q"},
        "strftime_format: found '%Q'",
    ),
    (
        "expect_column_quantile_values_to_be_between",
        {"column": "a", "quantile_ranges": {"quantiles": [0.9, 0.1], "value_ranges": []}},
        "quantile_ranges.quantiles",
    ),
    (
        "expect_column_quantile_values_to_be_between",
        {"column": "a", "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[2, 1]]}},
        "quantile_ranges.value_ranges[0]",
    ),
    (
        "expect_column_kl_divergence_to_be_less_than",
        {
            "column": "a",
            "threshold": 0.1,
            "partition_object": {"bins": [0, 1], "weights": [0.5, 0.5]},
        },
        "partition_object: found 2 weights",
    ),
    (
        "expect_column_pair_values_to_be_in_set",
        {"column_A": "a", "column_B": "b", "value_pairs_set": [["x"]]},
        "value_pairs_set[0]: found a list of 1",
    ),
    (
        "expect_table_row_count_to_be_between",
        {"min_value": -1},
        "min_value: found -1, expected a whole number 0 or more",
    ),
    (
        NOT_NULL,
        {"column": "a", "row_condition": "x > (select max(x) from other)"},
        "row_condition: found a query inside the condition",
    ),
    (
        NOT_NULL,
        {"column": "a", "row_condition": "true; drop table x"},
        "row_condition: found something else than one condition",
    ),
    (
        NOT_NULL,
        {"column": "a", "row_condition": "reflect('java.lang.System', 'exit', 0) = 1"},
        "row_condition: found reflect(), which calls Java code",
    ),
    (NOT_NULL, {"column": "a", "row_condition": "x >"}, "row_condition: found text that Spark"),
    (NOT_NULL, {"column": "a", "condition_parser": "spark"}, "expected a row_condition"),
]


@pytest.mark.parametrize(("name", "arguments", "text"), REFUSED, ids=lambda v: str(v)[:40])
def test_a_wrong_expectation_is_refused(name: str, arguments: dict[str, Any], text: str) -> None:
    problem = find_problem(name, arguments)
    assert problem is not None
    assert text in problem


def test_all_problems_are_found_at_once() -> None:
    problems = find_problems(BETWEEN, {"column": 3, "min": 2, "mostly": 2})
    assert [problem.path for problem in problems] == ["min", "column", "mostly"]
    assert problems[0].suggestion == "min_value"


@pytest.mark.parametrize(
    "regex",
    [r"^\p{Lu}+$", r"(?<year>\d{4})", r"\Qa(b\E", r"(?i)abc", r"a++b", r"\x{1F600}", r"\h+\z"],
)
def test_what_only_java_writes_is_a_regular_expression(regex: str) -> None:
    assert find_problem(REGEX, {"column": "a", "regex": regex}) is None


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("2013-01-01", "2013-01-01T05:00:00+00:00"),
        (date(2013, 1, 1), datetime(2013, 1, 1, 1)),
        (1, 1),
        (None, 5),
    ],
)
def test_limits_in_order_are_accepted(low: Any, high: Any) -> None:
    arguments = {"column": "a", "min_value": low, "max_value": high}
    given = {name: value for name, value in arguments.items() if value is not None}
    assert find_problem(BETWEEN, given) is None


def test_columns_that_an_expectation_needs() -> None:
    pair = {"column_A": "a", "column_B": "b"}
    assert columns_of("expect_column_pair_values_to_be_equal", pair) == {"a", "b"}
    both = {"column_list": ["a", "b"]}
    assert columns_of("expect_compound_columns_to_be_unique", both) == {"a", "b"}
    assert columns_of("expect_table_columns_to_match_ordered_list", both) == set()
    assert columns_of("expect_column_to_exist", {"column": "a"}) == set()
    assert columns_of(NOT_NULL, {"column": "person.email"}) == {"person"}
    condition = "origin = 'JFK' AND `dep time` IS NOT NULL AND lower(dest) LIKE 'a%'"
    arguments = {"column": "a", "row_condition": condition}
    assert columns_of(NOT_NULL, arguments) == {"a", "origin", "dep time", "dest"}


def test_an_expectation_in_words() -> None:
    text = describe(IN_SET, {"column": "origin", "value_set": ["JFK", "LGA"]})
    assert text == (
        'Expect each column value to be in a given set. column = origin, value_set = ["JFK", "LGA"]'
    )
    assert len(describe(IN_SET, {"column": "a", "value_set": list(range(10_000))})) < 400


def test_a_wrong_expectation_fails_as_configuration() -> None:
    with pytest.raises(ValidationError, match="did you mean column"):
        ExpectationSpec.model_validate({"type": NOT_NULL, "colunm": "a"})


def test_check_names_are_valid_unique_and_stable() -> None:
    specs = [
        ExpectationSpec.model_validate({"type": NOT_NULL, "column": column})
        for column in ("a.b", "a_b", "c", "c", "a b", "c")
    ]
    names = unique_check_names(specs)
    stem = "column_values_to_not_be_null"
    assert names == [
        f"{stem}__a_b",
        f"{stem}__a_b_2",
        f"{stem}__c",
        f"{stem}__c_2",
        f"{stem}__a_b_3",
        f"{stem}__c_3",
    ]
    assert unique_check_names(specs[:4]) == names[:4]


def test_a_suffix_never_takes_the_name_of_another_check() -> None:
    names = ("x", "x", "x_2")
    specs = [
        ExpectationSpec.model_validate({"type": NOT_NULL, "column": "a", "name": name})
        for name in names
    ]
    assert unique_check_names(specs) == ["x", "x_3", "x_2"]


def test_long_check_names_are_cut_and_stay_apart() -> None:
    columns = [f"column_with_a_long_name_{number}" for number in range(10)]
    one, other = (
        ExpectationSpec.model_validate(
            {"type": "expect_compound_columns_to_be_unique", "column_list": chosen}
        ).check_name
        for chosen in (columns, columns[:9])
    )
    assert len(one) <= 100
    assert one != other


def test_checking_a_config_imports_no_great_expectations() -> None:
    code = (
        "import sys\n"
        "from mlops_assets.config.expectations import ExpectationSpec\n"
        f"ExpectationSpec(type={NOT_NULL!r}, column='a')\n"
        "assert not {'great_expectations', 'pyspark', 'sqlglot'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
