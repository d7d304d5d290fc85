"""What a team may write under ``evaluation:``, and what it is told otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from mlops_assets.config.evaluation import EvaluationSpec
from mlops_assets.config.metrics import METRICS
from mlops_assets.config.project import Project


@pytest.mark.parametrize(
    ("written", "read"),
    [("1%", "1%"), ("2.5 %", "2.5%"), (0.002, 0.002), ("0.01", 0.01), (0, 0.0)],
)
def test_a_margin_is_a_number_or_a_percentage(written: object, read: object) -> None:
    spec = EvaluationSpec.model_validate({"promote_if": {"non_inferior_within": written}})
    assert spec.promote_if.non_inferior_within == read


@pytest.mark.parametrize("written", ["abc", "-1%", "1%%", True, None, [], float("nan")])
def test_other_margins_are_told_what_is_expected(written: object) -> None:
    with pytest.raises(ValidationError, match="a percentage of the champion's value"):
        EvaluationSpec.model_validate({"promote_if": {"non_inferior_within": written}})


@pytest.mark.parametrize(
    ("promotion", "told"),
    [
        ({"confidence": 0.05}, "greater than 0.5"),
        ({"confidence": 95}, "less than 1"),
        ({"confidence": 0.999}, "at least 5000 for a confidence of 0.999"),
        ({"resamples": 99}, "at least 100 for a confidence of 0.95"),
    ],
)
def test_confidence_needs_to_be_one_and_resamples_to_carry_it(
    promotion: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValidationError, match=told):
        EvaluationSpec.model_validate({"promote_if": promotion})


def test_enough_resamples_pass() -> None:
    for promotion in ({"resamples": 100}, {"confidence": 0.99}, {"confidence": 0.6}):
        EvaluationSpec.model_validate({"promote_if": promotion})


@pytest.mark.parametrize("bound", [float("nan"), float("inf")])
def test_a_gate_needs_a_finite_bound(bound: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        EvaluationSpec.model_validate({"gates": [{"metric": "rmse", "max": bound}]})


def test_a_margin_of_one_for_a_share_is_taken_for_a_slip(
    make_project: Callable[..., Project],
) -> None:
    slip = {"promote_if": {"non_inferior_within": 1}}
    with pytest.raises(ValidationError, match="accepts nearly any roc_auc"):
        make_project(evaluation=slip)
    make_project(task="regression", evaluation=slip)


def test_which_metrics_lie_between_0_and_1() -> None:
    unbounded = {name for name, info in METRICS.items() if not info.is_share}
    assert unbounded == {"log_loss", "rmse", "mae", "r2"}
