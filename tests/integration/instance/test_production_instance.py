"""The instance of production: what is killed, is noticed, and nothing runs twice or for ever."""

from __future__ import annotations

import os
import signal
import time

import dagster as dg
import pytest
from instance_stack import TEAMS, InstanceStack, is_success, until

from tests.postgres_server import PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

GPU = "gpu"


def claimed(instance: dg.DagsterInstance) -> list[str]:
    """Runs that hold a slot of the pool."""
    info = instance.event_log_storage.get_concurrency_info(GPU)
    return [slot.run_id for slot in info.claimed_slots]


def retry_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun | None:
    runs = instance.get_runs(dg.RunsFilter(tags={"dagster/parent_run_id": run_id}))
    assert len(runs) <= 1
    return runs[0] if runs else None


def test_a_run_goes_through_the_daemon_and_into_postgres(
    stack: InstanceStack, instance: dg.DagsterInstance, postgres: PostgresServer
) -> None:
    run_id = stack.materialize("alpha", "probe", "quick")
    until(lambda: is_success(instance, run_id), stack.log("daemon"))
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.tags["mlops/launched_by"] == "process"
    query = "SELECT dagster_event_type FROM event_logs WHERE run_id = %s"
    kinds = {kind for (kind,) in postgres.execute(query, parameters=[run_id])}
    assert {"PIPELINE_ENQUEUED", "ASSET_MATERIALIZATION", "PIPELINE_SUCCESS"} <= kinds


def test_the_button_gives_a_run_its_projects_tags(
    stack: InstanceStack, instance: dg.DagsterInstance
) -> None:
    run = instance.get_run_by_id(stack.materialize("alpha", "churn", "features"))
    assert run is not None
    expected = {
        "mlops/launcher": "process",
        "dagster/max_retries": "1",
        "dagster/max_runtime": "7200",
        "team": "alpha",
        "project": "churn",
        "mlops/project": "alpha/churn",
    }
    assert {name: run.tags.get(name) for name in expected} == expected
    other = instance.get_run_by_id(stack.materialize("beta", "churn", "features"))
    assert other is not None
    assert "dagster/max_runtime" not in other.tags
    assert other.tags["mlops/project"] == "beta/churn"
    assert other.tags["mlops/launcher"] == "process"  # the queue's limits count it


def test_a_killed_worker_is_noticed_and_its_run_started_again(
    stack: InstanceStack, instance: dg.DagsterInstance
) -> None:
    first = stack.materialize("alpha", "probe", "gpu_step")
    ((_, _, worker),) = until(lambda: stack.marks("alpha"), stack.log("daemon"))
    assert claimed(instance) == [first]
    os.kill(worker, signal.SIGKILL)
    retry = until(lambda: retry_of(instance, first), stack.log("daemon"))
    failed = instance.get_run_by_id(first)
    assert failed is not None
    assert failed.status is dg.DagsterRunStatus.FAILURE
    until(lambda: len(stack.marks("alpha")) == 2, "the second worker got the slot")
    assert claimed(instance) == [retry.run_id]
    (stack.place / "alpha.go").touch()
    until(lambda: is_success(instance, retry.run_id), stack.log("daemon"))
    until(lambda: not claimed(instance), "the slot was freed")


def test_a_run_that_takes_too_long_fails_for_good(
    stack: InstanceStack, instance: dg.DagsterInstance
) -> None:
    run_id = stack.materialize("beta", "probe", "gpu_step", tags={"dagster/max_runtime": "3"})

    def over() -> dg.DagsterRun | None:
        run = instance.get_run_by_id(run_id)
        return run if run and run.is_finished else None

    stopped = until(over, stack.log("daemon"))
    assert stopped.status is dg.DagsterRunStatus.FAILURE
    until(lambda: "dagster/will_retry" in instance.get_run_by_id(run_id).tags, "decided")  # type: ignore[union-attr]
    time.sleep(6)  # the daemon starts runs again every few seconds
    assert retry_of(instance, run_id) is None
    assert len(stack.marks("beta")) <= 1


def test_a_pool_of_one_is_never_shared(stack: InstanceStack, instance: dg.DagsterInstance) -> None:
    runs = {team: stack.materialize(team, "probe", "gpu_step") for team in ("alpha", "beta")}
    ((first, _, _),) = until(stack.marks, stack.log("daemon"))
    second = "beta" if first == "alpha" else "alpha"
    (stack.place / f"{second}.go").touch()
    later = stack.materialize(second, "probe", "quick")
    until(lambda: is_success(instance, later), "the queue was looked through")
    waiting = instance.get_run_by_id(runs[second])
    assert waiting is not None
    assert waiting.status is dg.DagsterRunStatus.QUEUED
    assert stack.marks(second) == []
    (stack.place / f"{first}.go").touch()
    for run_id in runs.values():
        until(lambda run_id=run_id: is_success(instance, run_id), stack.log("daemon"))
    order = [(team, word) for team, word, _ in stack.marks()]
    assert order == [(first, "start"), (first, "end"), (second, "start"), (second, "end")]


def test_a_killed_code_server_takes_nobody_along_and_recovers(
    stack: InstanceStack, instance: dg.DagsterInstance
) -> None:
    lost = stack.materialize("beta", "probe", "gpu_step")
    until(stack.marks, stack.log("daemon"))
    stack.kill("beta")
    other = stack.materialize("alpha", "probe", "quick")
    until(lambda: is_success(instance, other), stack.log("daemon"))
    stack.start("beta")
    retry = until(lambda: retry_of(instance, lost), stack.log("daemon"))
    failed = instance.get_run_by_id(lost)
    assert failed is not None
    assert failed.status is dg.DagsterRunStatus.FAILURE
    until(lambda: len(stack.marks("beta")) == 2, stack.log("daemon"))
    (stack.place / "beta.go").touch()
    until(lambda: is_success(instance, retry.run_id), stack.log("daemon"))
    until(lambda: set(stack.locations().values()) == {"RepositoryLocation"}, stack.log("web"))


def test_a_code_server_that_is_stopped_waits_for_its_runs(
    stack: InstanceStack, instance: dg.DagsterInstance
) -> None:
    going_on = stack.materialize("alpha", "probe", "gpu_step")
    until(lambda: stack.marks("alpha"), stack.log("daemon"))
    stack.stop("alpha")
    time.sleep(2)
    waiting = stack.materialize("alpha", "probe", "quick")
    time.sleep(36)  # `dagster code-server start` would wait for 30 seconds
    assert not stack.has_ended("alpha"), stack.log("alpha")
    asked = instance.get_run_by_id(waiting)
    assert asked is not None
    assert asked.status is dg.DagsterRunStatus.QUEUED
    (stack.place / "alpha.go").touch()
    until(lambda: is_success(instance, going_on), stack.log("daemon"))
    until(lambda: stack.has_ended("alpha"), stack.log("alpha"))
    stack.start("alpha")
    until(lambda: is_success(instance, waiting), stack.log("daemon"))
    assert retry_of(instance, going_on) is None


def test_reloading_a_code_server_leaves_its_runs_alone(
    stack: InstanceStack, instance: dg.DagsterInstance
) -> None:
    run_id = stack.materialize("alpha", "probe", "gpu_step")
    until(lambda: stack.marks("alpha"), stack.log("daemon"))
    text = 'mutation { reloadRepositoryLocation(repositoryLocationName: "alpha") { __typename } }'
    answer = stack.query(text)["reloadRepositoryLocation"]["__typename"]
    assert answer == "WorkspaceLocationEntry"
    time.sleep(6)  # run monitoring looks every two seconds
    (stack.place / "alpha.go").touch()
    until(lambda: is_success(instance, run_id), stack.log("daemon"))
    assert retry_of(instance, run_id) is None


def test_a_killed_daemon_neither_loses_nor_repeats_a_request(
    stack: InstanceStack, instance: dg.DagsterInstance
) -> None:
    wishes = [f"{team}-{number}" for team in ("alpha", "beta") for number in range(2)]
    for wish in wishes:
        (stack.place / "wishes" / wish).touch()

    def made() -> dict[str, list[dg.DagsterRun]]:
        runs = {wish: instance.get_runs(dg.RunsFilter(tags={"wish": wish})) for wish in wishes}
        return {wish: found for wish, found in runs.items() if found}

    until(made, stack.log("daemon"))
    stack.kill("daemon")
    stack.start("daemon")
    until(lambda: len(made()) == len(wishes), stack.log("daemon"))
    done = dg.DagsterRunStatus.SUCCESS
    until(lambda: all(r[0].status is done for r in made().values()), stack.log("daemon"))
    all_made = time.time()

    def looked_again() -> bool:
        """Whether each team's sensor has ended a tick that began after the last run."""
        sensors = [s for s in instance.all_instigator_state() if s.instigator_name in names]
        newest = [
            instance.get_ticks(s.instigator_origin_id, s.selector_id, limit=2) for s in sensors
        ]
        ended = [
            [t for t in ticks if t.timestamp > all_made and t.is_completed] for ticks in newest
        ]
        return len(sensors) == len(names) and all(ended)

    names = {f"{team}_wishes" for team in TEAMS}
    until(looked_again, "both sensors looked again")
    assert {wish: len(runs) for wish, runs in made().items()} == dict.fromkeys(wishes, 1)
