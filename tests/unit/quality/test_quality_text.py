"""What a result says, how values become plain, and what stays hidden. No Spark."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from mlops_assets.config.expectations import ExpectationSpec
from mlops_assets.errors import QualityError
from mlops_assets.quality.plain import MAX_ITEMS, MAX_TEXT, to_plain
from mlops_assets.quality.privacy import MASK, hide_error, hide_observed, hide_row, is_private
from mlops_assets.quality.result import ExpectationResult
from mlops_assets.quality.runner import raise_for_errors


def _result(column: str = "a", **fields: Any) -> ExpectationResult:
    spec = ExpectationSpec.model_validate(
        {
            "type": "expect_column_values_to_not_be_null",
            "column": column,
            "severity": fields.pop("severity", "error"),
        }
    )
    return ExpectationResult(spec, spec.check_name, **{"passed": False, **fields})


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.5, 0.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (Decimal("1.5"), 1.5),
        (np.float64(2.5), 2.5),
        (np.int64(2), 2),
        (np.bool_(True), True),
        (date(2013, 1, 2), "2013-01-02"),
        (datetime(2013, 1, 2, tzinfo=UTC), "2013-01-02T00:00:00+00:00"),
        (b"abc", "‹3 bytes›"),
        ({1: [Decimal("1")]}, {"1": [1.0]}),
        ({"b", "a"}, ["a", "b"]),
        ((1, None), [1, None]),
    ],
)
def test_values_become_plain(value: Any, plain: Any) -> None:
    assert to_plain(value) == plain
    assert type(to_plain(value)) is type(plain)


def test_plain_values_are_bounded() -> None:
    assert len(to_plain("x" * 10_000)) == MAX_TEXT
    assert to_plain(list(range(1000)))[-1] == f"… {1000 - MAX_ITEMS} more"
    assert len(to_plain(dict.fromkeys(range(1000)))) == MAX_ITEMS


def test_a_row_shows_no_personal_value() -> None:
    row = {"Email": "ann@example.org", "name": "Ann", "delay": 3}
    assert hide_row(row, {"Email"}, ["email", "name"]) == {"Email": MASK, "delay": 3}
    assert hide_row(row, {"delay"}, []) == row
    assert is_private(["person.email"], ["person"])
    assert not is_private(["personal"], ["person"])


def test_a_mean_is_hidden_and_a_count_is_not() -> None:
    assert hide_observed("expect_column_mean_to_be_between", 3.5) == MASK
    assert hide_observed("expect_column_mean_to_be_between", None) is None
    assert hide_observed("expect_column_unique_value_count_to_be_between", 3) == 3


def test_an_error_text_is_bounded_and_keeps_secrets() -> None:
    text = "[CAST_INVALID_INPUT] The value 'ann@example.org' cannot be cast. SQLSTATE: 22018"
    hidden = hide_error(text, ["email"])
    assert "ann" not in hidden
    assert hidden.startswith("CAST_INVALID_INPUT (details withheld")
    assert hide_error(text, []) == text
    assert hide_error(f'{text}\n== DataFrame ==\n"isin" at /home/ann/x.py:97', []) == text
    assert len(hide_error("x" * 10_000, [])) == 500
    assert "ann" not in hide_error("ann@example.org", ["email"])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"error": "boom"}, "not evaluated: boom"),
        (
            {"unexpected_count": 1200, "element_count": 10_000, "unexpected_percent": 12.0},
            "1,200 unexpected of 10,000 (12 %)",
        ),
        ({"observed": 3.5}, "observed 3.5"),
        ({"observed": 0, "note": "there are no rows to check"}, "observed 0; there are no rows"),
        ({"passed": True}, "as expected"),
        ({}, "not as expected"),
    ],
)
def test_a_result_in_words(fields: dict[str, Any], words: str) -> None:
    assert _result(**fields).found.startswith(words)


def test_a_private_result_hides_the_values_that_were_expected() -> None:
    spec = ExpectationSpec.model_validate(
        {
            "type": "expect_column_values_to_be_in_set",
            "column": "email",
            "value_set": ["ann@example.org"],
        }
    )
    result = ExpectationResult(spec, spec.check_name, False, private=True)
    assert result.arguments == {"column": "email", "value_set": MASK}
    assert "ann" not in result.expected


def test_only_failed_errors_raise() -> None:
    raise_for_errors([], "x")
    raise_for_errors([_result(passed=True), _result(severity="warn")], "x")
    with pytest.raises(QualityError) as raised:
        raise_for_errors([_result("a"), _result("b", severity="warn"), _result("c")], "team/p")
    assert "2 of 3 expectations failed" in raised.value.problem
    assert "__b" not in str(raised.value)
    assert raised.value.where == "team/p"
    assert raised.value.fix


def test_many_failures_stay_readable() -> None:
    results = [_result(f"column_{number}", error="x" * 400) for number in range(300)]
    with pytest.raises(QualityError) as raised:
        raise_for_errors(results, "team/p")
    text = str(raised.value)
    assert len(text) < 8000
    assert "300 of 300" in text
    assert "and 280 more" in text
    assert text.count("column_values_to_not_be_null__column_19") == 3
