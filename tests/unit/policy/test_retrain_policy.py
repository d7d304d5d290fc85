"""The retrain policy: one case for every rule, and properties that hold whatever the evidence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.config.automation import AutomationSpec
from mlops_assets.config.monitoring import MonitoringSpec
from mlops_assets.policy.decision import (
    Decision,
    PerformanceEvidence,
    Retrain,
    WindowEvidence,
    decide,
)

DAY = timedelta(days=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
BUNDLE = "sha256:one"
MONITORING = MonitoringSpec.model_validate(
    {"inference_log": {"uri": "x"}, "drift": {"persist": "2 of 3"}}
)
AUTOMATION = AutomationSpec.model_validate({"cooldown": "2d", "max_retrains_per_week": 2})


def window(day: int, drift: str = "stable", **changes: Any) -> WindowEvidence:
    base = WindowEvidence(
        name=f"{day:03d}",
        end=START + day * DAY,
        bundle_id=BUNDLE,
        rows=5000,
        enough_rows=True,
        drift=drift,
        drifted="temp (40% of the importance)" if drift == "drifted" else "",
    )
    return replace(base, **changes)


def lost(day: int, decayed: bool | None = True, bundle: str = BUNDLE) -> PerformanceEvidence:
    return PerformanceEvidence(f"{day:03d}", bundle, decayed, "roc_auc 0.6 against 0.7")


def judge(
    windows: list[WindowEvidence],
    performance: list[PerformanceEvidence] | None = None,
    retrains: list[Retrain] | None = None,
    monitoring: MonitoringSpec = MONITORING,
    automation: AutomationSpec = AUTOMATION,
) -> Decision:
    return decide(windows, performance or [], retrains or [], monitoring, automation)


DRIFTING = [window(1), window(2, "drifted"), window(3, "drifted")]


def test_calm_windows_wait() -> None:
    decision = judge([window(1), window(2)])
    assert (decision.verdict, decision.cause) == ("wait", "nothing")
    assert "5,000 good requests" in decision.reason


def test_bad_data_never_retrain_even_when_everything_else_says_so() -> None:
    bad = replace(DRIFTING[-1], bad=("missing values in carrier: 60%, expected at most 20%",))
    decision = judge([*DRIFTING[:-1], bad], [lost(2)])
    assert (decision.verdict, decision.cause) == ("blocked", "bad_data")
    assert "carrier" in decision.reason


def test_drift_must_persist() -> None:
    first = judge([window(1), window(2, "drifted")])
    assert (first.verdict, first.cause) == ("wait", "drift")
    assert "not yet in 2 of 3" in first.reason
    assert judge(DRIFTING).verdict == "retrain"


def test_flapping_drift_counts_only_when_it_is_there_now() -> None:
    decision = judge([window(1, "drifted"), window(2, "drifted"), window(3)])
    assert decision.verdict == "wait"


def test_windows_of_another_model_do_not_count() -> None:
    other = replace(window(2, "drifted"), bundle_id="sha256:before")
    assert judge([window(1), other, window(3, "drifted")]).verdict == "wait"


def test_bad_windows_do_not_count_as_drift() -> None:
    bad = replace(window(2, "drifted"), bad=("nulls",))
    assert judge([window(1), bad, window(3, "drifted")]).verdict == "wait"


def test_too_few_rows_are_insufficient_never_fine() -> None:
    small = window(3, "insufficient", rows=40, enough_rows=False)
    decision = judge([window(1), small])
    assert decision.verdict == "insufficient_data"
    assert "40 requests are too few" in decision.reason


def test_a_loss_decides_even_in_a_small_window() -> None:
    small = window(3, "insufficient", rows=40, enough_rows=False)
    decision = judge([window(1), small], [lost(1)])
    assert (decision.verdict, decision.cause) == ("retrain", "performance")
    assert "roc_auc 0.6 against 0.7" in decision.reason


def test_a_loss_of_the_model_before_does_not_count() -> None:
    assert judge([window(1), window(2)], [lost(1, bundle="sha256:before")]).verdict == "wait"


def test_a_loss_that_is_over_does_not_count() -> None:
    assert judge([window(1), window(2)], [lost(1), lost(2, decayed=False)]).verdict == "wait"


def test_only_told_when_the_project_wants_that() -> None:
    told = MonitoringSpec.model_validate(
        {
            "inference_log": {"uri": "x"},
            "drift": {"persist": "1 of 1", "on_drift": "alert"},
            "performance": {"on_decay": "alert"},
        }
    )
    assert judge([window(1, "drifted")], monitoring=told).verdict == "wait"
    decision = judge([window(1)], [lost(1)], monitoring=told)
    assert (decision.verdict, decision.cause) == ("wait", "performance")


def test_cooldown() -> None:
    recent = Retrain(START + 2 * DAY, "promoted", "sha256:before")
    decision = judge(DRIFTING, retrains=[recent])
    assert decision.verdict == "wait"
    assert "cooldown is 2d" in decision.reason
    earlier = replace(recent, at=START + DAY)
    assert judge(DRIFTING, retrains=[earlier]).verdict == "retrain"


def test_one_retrain_at_a_time() -> None:
    decision = judge(DRIFTING, retrains=[Retrain(START - 30 * DAY, "pending", BUNDLE)])
    assert decision.verdict == "wait"
    assert "goes on" in decision.reason


def test_evidence_about_a_model_that_was_replaced_is_history() -> None:
    decision = decide(DRIFTING, [lost(2)], [], MONITORING, AUTOMATION, live="sha256:newer")
    assert (decision.verdict, decision.cause) == ("wait", "nothing")
    assert "replaced since" in decision.reason
    again = decide(DRIFTING, [lost(2)], [], MONITORING, AUTOMATION, live=BUNDLE)
    assert again.verdict == "retrain"


def test_weekly_budget() -> None:
    spent = [Retrain(START - n * DAY, "promoted", "sha256:before") for n in (3, 1)]
    decision = judge(DRIFTING, retrains=spent)
    assert decision.verdict == "wait"
    assert "budget of 2" in decision.reason


def test_rejected_retrains_back_off_and_then_ask_people() -> None:
    one = [Retrain(START - 0 * DAY, "rejected", BUNDLE)]
    decision = judge(DRIFTING, retrains=one)
    assert decision.verdict == "wait"
    assert "cooldown is 4d" in decision.reason
    three = [Retrain(START - n * 30 * DAY, "rejected", BUNDLE) for n in (3, 2, 1)]
    decision = judge(DRIFTING, retrains=three)
    assert decision.verdict == "blocked"
    assert "a person is needed" in decision.reason


def test_a_promotion_ends_the_back_off() -> None:
    history = [Retrain(START - n * 30 * DAY, "rejected", "sha256:before") for n in (4, 3, 2)]
    assert judge(DRIFTING, retrains=history).verdict == "retrain"


def test_the_evidence_is_complete_and_in_order() -> None:
    rules = [row["rule"] for row in judge(DRIFTING).tests]
    assert rules == [
        "data are good",
        "the model that answered is live",
        "realised performance",
        "enough rows",
        "inputs and predictions",
        "retrains under way",
        "retrains that replaced nothing",
        "cooldown",
        "budget",
    ]


states = st.sampled_from(["drifted", "stable", "insufficient"])


@settings(max_examples=200, deadline=None)
@given(st.lists(states, min_size=1, max_size=30), st.lists(st.booleans(), max_size=30))
def test_retrains_are_never_closer_than_the_cooldown_nor_above_the_budget(
    drift: list[str], decayed: list[bool]
) -> None:
    retrains: list[Retrain] = []
    for day in range(1, len(drift) + 1):
        windows = [window(n, drift[n - 1]) for n in range(1, day + 1)]
        performance = [lost(n, flag) for n, flag in enumerate(decayed[: day - 1])]
        decision = judge(windows, performance, retrains)
        assert decision.reason
        if decision.verdict == "retrain":
            retrains.append(Retrain(windows[-1].end, "unchanged", BUNDLE))
    times = [item.at for item in retrains]
    assert all(b - a >= 2 * DAY for a, b in pairwise(times))
    for moment in times:
        assert sum(0 <= (moment - t).days < 7 for t in times) <= 2
    assert len(times) <= 3


@pytest.mark.parametrize("outcome", ["rejected", "failed", "unchanged"])
def test_every_retrain_without_effect_counts(outcome: Any) -> None:
    three = [Retrain(START - n * 30 * DAY, outcome, BUNDLE) for n in (3, 2, 1)]
    assert judge(DRIFTING, retrains=three).verdict == "blocked"
