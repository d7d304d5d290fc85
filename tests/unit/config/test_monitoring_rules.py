"""Monitoring and automation in the YAML: defaults, and what does not fit together."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from mlops_assets.config.project import ProjectSpec

LOG = {"inference_log": {"uri": "live"}}


def spec(monitoring: dict[str, Any] | None = None, **changes: Any) -> ProjectSpec:
    written = {
        "description": "x",
        "task": "binary",
        "sources": {"a": {"type": "files", "uri": "a"}},
        "features": {
            "query": "q.sql",
            "entity": "id",
            "time": "at",
            "label": {"column": "y"},
            "inputs": {"numeric": ["temp"], "categorical": ["carrier"]},
        },
        "monitoring": monitoring or {},
    }
    return ProjectSpec.model_validate(written | changes)


def test_what_retrains_follows_from_what_is_declared() -> None:
    assert not spec().retrains_on_decision
    assert spec(LOG).retrains_on_decision
    by_data = spec(LOG, automation={"retrain_on": "new_data"})
    assert not by_data.retrains_on_decision
    assert by_data.is_monitored


def test_persistence_reads_back_as_it_was_written() -> None:
    found = spec({"drift": {"persist": "3 of 5"}}).monitoring.drift
    assert found.persist == (3, 5)
    assert found.model_dump(mode="json")["persist"] == "3 of 5"


def test_the_watched_metric_is_the_primary_one_by_default() -> None:
    assert spec().watched_metric == "roc_auc"
    assert spec({"performance": {"metric": "brier"}}).watched_metric == "brier"


def test_windows_may_be_as_short_as_a_minute() -> None:
    found = spec({**LOG, "window": {"every": "1m"}}).monitoring.window.every
    assert found == timedelta(minutes=1)


@pytest.mark.parametrize(
    ("monitoring", "said"),
    [
        ({"labels": {"uri": "x"}}, "labels without an inference log"),
        ({"inference_log": {"uri": "x", "time": "temp"}}, "which is an input"),
        ({"inference_log": {"uri": "x", "time": "t", "prediction": "T"}}, "which is time too"),
        ({"window": {"every": "30s"}}, "one minute or more"),
        ({"window": {"every": "7h"}, "reference": "same_weekday"}, "do not divide a day"),
        ({"window": {"every": "1d"}, "reference": "same_hour"}, "do not divide an hour"),
        ({"drift": {"tests": "pis"}}, "psi"),
        ({"drift": {"tests": {"tmp": "psi"}}}, "which is no input"),
        ({"drift": {"tests": {"carrier": "wasserstein"}}}, "wasserstein for a categorical column"),
        ({"drift": {"thresholds": {"psy": 0.1}}}, "psi"),
        ({"drift": {"thresholds": {"psi": 0}}}, "an effect size above 0"),
        ({"drift": {"persist": "3 of 2"}}, "k ≤ m"),
        ({"drift": {"multivariate": True}, "reference": "previous_window"}, "keep no rows"),
        ({"drift": {"persist": "often"}}, "2 of 3"),
        ({"performance": {"metric": "rmse"}}, "a metric for binary"),
        ({"performance": {"max_drop": 0}}, "greater than 0"),
    ],
)
def test_what_does_not_fit_is_refused(monitoring: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        spec(monitoring)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("automation", "said"),
    [
        ({"retrain_on": "decision"}, "without anything to decide by"),
        ({"fallback_schedule": "every monday"}, "five cron fields"),
        ({"max_retrains_per_week": 0}, "greater than or equal to 1"),
    ],
)
def test_automation_that_cannot_work_is_refused(automation: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        spec(automation=automation)
    assert said in str(caught.value)
