from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mlops_assets.config.evaluation import EvaluationSpec, GateSpec
from mlops_assets.evaluation.compare import Comparison
from mlops_assets.evaluation.decision import Facts, decide, figure
from mlops_assets.evaluation.measures import margin_of
from mlops_assets.evaluation.verdict import gate_results

BETTER = Comparison(
    metric="roc_auc", goal="increase", champion=0.731, challenger=0.7423, difference=0.0113,
    lower=0.0087, upper=0.0139, confidence=0.95, resamples=500, undefined=0, units=58_210,
    margin=0.002, non_inferior=True,
)  # fmt: skip
WORSE = replace(BETTER, difference=-0.0113, lower=-0.015, upper=-0.008, non_inferior=False)
GATE_KEPT = {"metric": "roc_auc", "min": 0.65, "max": None, "value": 0.7423, "passed": True}
GATE_FAILED = {"metric": "roc_auc", "min": 0.75, "max": None, "value": 0.7423, "passed": False}


def _facts(**changes: Any) -> Facts:
    facts = Facts(
        spec=EvaluationSpec(),
        primary="roc_auc",
        rows=58_210,
        immature=0,
        metrics={"roc_auc": 0.7423},
        gates=[GATE_KEPT],
    )
    return replace(facts, **changes)


LIVE = {"has_champion": True, "champion_version": 3}


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({"rows": 99}, "insufficient_data", ["99", "100"]),
        ({"metrics": {"roc_auc": None}}, "insufficient_data", ["roc_auc", "not defined"]),
        ({"problem": "7 of its 9 predictions are not finite"}, "reject", ["7 of its 9"]),
        ({"gates": [GATE_FAILED]}, "reject", ["0.7423", "minimum 0.75", "58,210"]),
        ({}, "promote", ["Nothing is live", "0.7423", "58,210"]),
        ({**LIVE, "is_live": True}, "unchanged", ["version 3", "0.7423"]),
        ({**LIVE, "champion_problem": "it is gone"}, "blocked", ["version 3", "it is gone"]),
        ({**LIVE, "comparison": BETTER}, "promote", ["0.731", "+0.0113", "+0.0087", "−0.002"]),
        ({**LIVE, "comparison": WORSE}, "reject", ["−0.0113", "−0.015", "beyond", "−0.002"]),
        ({**LIVE}, "blocked", ["roc_auc is not defined"]),
        ({"has_champion": True}, "blocked", ["roc_auc is not defined"]),
        (
            {**LIVE, "comparison": replace(BETTER, lower=None, undefined=180, non_inferior=False)},
            "insufficient_data",
            ["180 of 500 resamples"],
        ),
    ],
)
def test_the_verdict_and_its_sentence(
    changes: dict[str, Any], verdict: str, words: list[str]
) -> None:
    found, reason = decide(_facts(**changes))
    assert found == verdict
    assert reason.endswith(".")
    assert "\n" not in reason
    for word in words:
        assert word in reason


def test_earlier_rules_come_first() -> None:
    everything = {
        "rows": 5,
        "problem": "7 of its 9 predictions are not finite",
        "gates": [GATE_FAILED],
        "is_live": True,
        "champion_problem": "it is gone",
        **LIVE,
    }
    order = []
    for cured in ({}, {"rows": 500}, {"problem": None}, {"gates": []}, {"is_live": False}):
        everything |= cured
        order.append(decide(_facts(**everything))[0])
    assert order == ["insufficient_data", "reject", "reject", "unchanged", "blocked"]


def test_immature_labels_are_pending_and_counted() -> None:
    verdict, reason = decide(_facts(rows=72, immature=1204))
    assert verdict == "insufficient_data"
    assert "pending: 1,204 newer rows wait for their labels to mature" in reason


def test_an_unavailable_champion_blocks_unless_the_spec_says_otherwise() -> None:
    facts = _facts(**LIVE, champion_problem="its bundle is not in the store")
    assert decide(facts)[0] == "blocked"
    brave = EvaluationSpec.model_validate({"promote_if": {"if_champion_unavailable": "promote"}})
    verdict, reason = decide(replace(facts, spec=brave))
    assert verdict == "promote"
    assert "if_champion_unavailable" in reason
    assert "its bundle is not in the store" in reason


def test_a_lower_is_better_metric_is_told_by_its_upper_bound() -> None:
    worse = replace(
        WORSE, metric="log_loss", goal="decrease", champion=0.4, challenger=0.41,
        difference=0.01, lower=0.008, upper=0.012, margin=0.004,
    )  # fmt: skip
    facts = _facts(**LIVE, primary="log_loss", metrics={"log_loss": 0.41}, comparison=worse)
    verdict, reason = decide(facts)
    assert verdict == "reject"
    assert "at most +0.012, beyond the margin of +0.004" in reason


def test_a_gate_of_the_live_model_says_that_it_is_live() -> None:
    _, reason = decide(_facts(**LIVE, is_live=True, gates=[GATE_FAILED]))
    assert "this is the live model" in reason


@pytest.mark.parametrize(
    ("gate", "value", "passed"),
    [
        ({"min": 0.65}, 0.65, True),
        ({"min": 0.65}, 0.649, False),
        ({"max": 0.5}, 0.5, True),
        ({"max": 0.5}, 0.51, False),
        ({"min": 0.1, "max": 0.2}, 0.3, False),
        ({"min": 0.1, "max": 0.2}, 0.15, True),
        ({"min": 0.0}, None, False),
    ],
)
def test_gates(gate: dict[str, float], value: float | None, passed: bool) -> None:
    spec = GateSpec.model_validate({"metric": "roc_auc", **gate})
    [result] = gate_results([spec], {"roc_auc": value})
    assert result["passed"] is passed
    assert result["value"] == value
    verdict, _ = decide(_facts(gates=[result]))
    assert verdict == ("promote" if passed else "reject")


@pytest.mark.parametrize(
    ("written", "champion", "margin"),
    [(0.002, 0.74, 0.002), ("1%", 0.74, 0.0074), ("2.5%", -0.4, 0.01), ("0%", 3.0, 0.0)],
)
def test_a_margin_may_be_a_percentage_of_the_champion(
    written: float | str, champion: float, margin: float
) -> None:
    assert margin_of(written, champion) == pytest.approx(margin)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.74231, "0.7423"), (-0.0113, "−0.0113"), (1234567.8, "1,234,568"), (None, "undefined")],
)
def test_figures_are_for_people(value: float | None, text: str) -> None:
    assert figure(value) == text
