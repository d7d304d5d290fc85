"""``ProjectRunCoordinator`` on a real instance: what a run has in its storage when it is queued."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.run_coordinator import SubmitRunContext
from dagster._core.test_utils import instance_for_test
from launching_runs import make_run

from mlops_assets.launching import coordinator

CONFIG = {
    "run_coordinator": {"module": "mlops_assets.launching", "class": "ProjectRunCoordinator"},
    "run_retries": {"enabled": True, "max_retries": 2},
}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with instance_for_test(overrides=CONFIG) as made:
        yield made


def queued(
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    tags: dict[str, str],
    wanted: dict[str, str],
) -> dict[str, str]:
    """Tags of a queued run that had some, and whose project wants others."""
    monkeypatch.setattr(coordinator, "project_tags", lambda *_: dict(wanted))
    run = make_run(instance, tags)
    instance.run_coordinator.submit_run(SubmitRunContext(run, None))  # type: ignore[arg-type]
    stored = instance.get_run_by_id(run.run_id)
    assert stored is not None
    assert stored.status is dg.DagsterRunStatus.QUEUED
    return dict(stored.tags)


def test_a_run_and_the_one_that_repeats_it_get_todays_wishes(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = queued(instance, monkeypatch, {"mine": "1"}, {"dagster/max_runtime": "3600"})
    assert first["dagster/max_runtime"] == "3600"
    assert first["mlops/launcher"] == "process"
    again = queued(
        instance, monkeypatch, first, {"mlops/launcher": "ecs", "dagster/max_retries": "1"}
    )
    assert again["dagster/max_runtime"] == ""
    assert again["dagster/max_retries"] == "1"
    assert again["mlops/launcher"] == "ecs"
    assert again["mine"] == "1"
    assert queued(instance, monkeypatch, again, {})["dagster/max_retries"] == "2"
