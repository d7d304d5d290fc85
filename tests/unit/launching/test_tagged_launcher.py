"""``TaggedRunLauncher``: the tag chooses, and the choice stays with the run."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.launcher.base import LaunchRunContext, ResumeRunContext, WorkerStatus
from dagster._core.test_utils import instance_for_test
from dagster._daemon.monitoring.run_monitoring import check_run_timeout
from launching_runs import RecordingLauncher, make_run

from mlops_assets.errors import EnvironmentProblemError
from mlops_assets.launching import TaggedRunLauncher
from mlops_assets.launching.command_line import WORKER_TAG, settle_dead_runs, worker_tag
from mlops_assets.launching.launcher import CLASSES
from mlops_assets.launching.overtime import is_over_time
from resources.processes import start_ticks

CONFIG = {
    "module": "mlops_assets.launching",
    "class": "TaggedRunLauncher",
    "config": {"launchers": {"ecs": {"name": "one"}, "docker": {"name": "other"}}},
}


@pytest.fixture(autouse=True)
def recording(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    for name in ("ecs", "docker"):
        monkeypatch.setitem(CLASSES, name, ("launching_runs", "RecordingLauncher"))
    monkeypatch.setattr(RecordingLauncher, "asked", [])
    return RecordingLauncher.asked


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    overrides = {
        "run_launcher": CONFIG,
        "run_retries": {"enabled": True, "max_retries": 1},
        "run_monitoring": {"enabled": True, "max_runtime_seconds": 60},
    }
    with instance_for_test(overrides=overrides) as made:
        yield made


def launcher(instance: dg.DagsterInstance) -> TaggedRunLauncher:
    assert isinstance(instance.run_launcher, TaggedRunLauncher)
    return instance.run_launcher


def launch(instance: dg.DagsterInstance, **tags: str) -> dg.DagsterRun:
    run = make_run(instance, tags)
    launcher(instance).launch_run(LaunchRunContext(run, None))
    again = instance.get_run_by_id(run.run_id)
    assert again is not None
    return again


def test_the_tag_chooses_and_the_choice_is_on_the_run(
    instance: dg.DagsterInstance, recording: list[tuple[str, str]]
) -> None:
    run = launch(instance, **{"mlops/launcher": "docker"})
    assert recording == [("other", "launch")]
    assert run.tags["mlops/launched_by"] == "docker"
    launch(instance, **{"mlops/launcher": "ecs"})
    assert recording[-1] == ("one", "launch")


def test_another_process_asks_the_launcher_that_started_the_run(
    instance: dg.DagsterInstance, recording: list[tuple[str, str]]
) -> None:
    run = launch(instance, **{"mlops/launcher": "docker"})
    instance.add_run_tags(run.run_id, {"mlops/launcher": "ecs"})
    with dg.DagsterInstance.from_ref(instance.get_ref()) as later:
        found = later.get_run_by_id(run.run_id)
        assert found is not None
        assert later.run_launcher.terminate(run.run_id)
        assert later.run_launcher.check_run_worker_health(found).status is WorkerStatus.FAILED
        later.run_launcher.resume_run(ResumeRunContext(found, None, 1))
        assert later.run_launcher.get_run_worker_debug_info(found) == "other"
    did = ["launch", "terminate", "health", "resume", "debug"]
    assert recording == [("other", what) for what in did]


def test_a_run_without_a_tag_is_a_process(instance: dg.DagsterInstance) -> None:
    assert launcher(instance).choose({}) == "process"
    assert isinstance(launcher(instance).inner("process"), dg.DefaultRunLauncher)


def test_a_launcher_that_is_not_configured_is_refused(instance: dg.DagsterInstance) -> None:
    with pytest.raises(EnvironmentProblemError) as caught:
        launch(instance, **{"mlops/launcher": "kubernetes"})
    text = str(caught.value)
    assert "no launcher 'kubernetes'" in text
    assert "docker, ecs, process" in text
    assert "launchers: {kubernetes: …}" in text
    with pytest.raises(EnvironmentProblemError):
        launcher(instance).choose({"mlops/launcher": "moon"})


def test_a_developers_instance_runs_everything_as_a_process() -> None:
    config = CONFIG | {"config": {"missing": "process"}}
    with instance_for_test(overrides={"run_launcher": config}) as made:
        assert launcher(made).choose({"mlops/launcher": "kubernetes"}) == "process"
        with pytest.raises(EnvironmentProblemError):
            launcher(made).choose({"mlops/launcher": "moon"})


def test_a_run_that_nobody_launched_counts_as_running(instance: dg.DagsterInstance) -> None:
    run = make_run(instance, {})
    assert launcher(instance).check_run_worker_health(run).status is WorkerStatus.RUNNING


def test_a_killed_command_is_noticed_and_its_run_settled(instance: dg.DagsterInstance) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        own = worker_tag()[WORKER_TAG]
        mine = f":{os.getpid()}:{start_ticks(os.getpid())}"
        tag = own.replace(mine, f":{child.pid}:{start_ticks(child.pid)}")
        runs = [make_run(instance, {WORKER_TAG: text}) for text in (tag, own)]
        for run in runs:
            instance.handle_new_event(_started(run.run_id))
        health = launcher(instance).check_run_worker_health
        assert [health(run).status for run in runs] == [WorkerStatus.RUNNING] * 2
        assert settle_dead_runs(instance) == []
        child.kill()
        child.wait()
    assert [health(run).status for run in runs] == [WorkerStatus.NOT_FOUND, WorkerStatus.RUNNING]
    again = make_run(instance, {WORKER_TAG: tag, "mlops/launched_by": "process"})
    instance.handle_new_event(_started(again.run_id))
    assert settle_dead_runs(instance) == [runs[0].run_id]
    statuses = [found.status for run in runs if (found := instance.get_run_by_id(run.run_id))]
    assert statuses == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED]


def _started(run_id: str, seconds_ago: float = 0) -> dg.EventLogEntry:
    event = dg.DagsterEvent("PIPELINE_START", "lifecycle", message="")
    at = time.time() - seconds_ago
    return dg.EventLogEntry(None, "info", "", run_id, at, dagster_event=event)


@pytest.mark.parametrize(
    ("tags", "instance_seconds"), [({"dagster/max_runtime": "60"}, 0), ({}, 60)]
)
def test_a_run_that_takes_too_long_is_not_started_again(
    instance: dg.DagsterInstance, tags: dict[str, str], instance_seconds: float
) -> None:
    """Dagster's own monitoring stops it; its own retries look at ``dagster/will_retry``."""
    run = launch(instance, **{"mlops/launcher": "docker", "dagster/max_retries": "2", **tags})
    instance.handle_new_event(_started(run.run_id, seconds_ago=100))
    (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))
    check_run_timeout(instance, record, logging.getLogger("test"), instance_seconds)
    failed = instance.get_run_by_id(run.run_id)
    assert failed is not None
    assert failed.status is dg.DagsterRunStatus.FAILURE
    assert failed.tags["dagster/will_retry"] == "false"


def test_a_run_that_is_stopped_in_time_keeps_its_retries(instance: dg.DagsterInstance) -> None:
    asked = {"mlops/launcher": "docker", "dagster/max_retries": "2", "dagster/max_runtime": "60"}
    run = launch(instance, **asked)
    instance.handle_new_event(_started(run.run_id))
    assert instance.run_launcher.terminate(run.run_id)
    stopped = instance.get_run_by_id(run.run_id)
    assert stopped is not None
    assert stopped.tags["dagster/max_retries"] == "2"
    assert not instance.run_launcher.terminate("nobody")


def test_time_is_counted_as_dagster_counts_it(instance: dg.DagsterInstance) -> None:
    run = launch(instance, **{"dagster/max_runtime": "soon", "mlops/launcher": "docker"})
    instance.handle_new_event(_started(run.run_id, seconds_ago=100))
    (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))
    assert not is_over_time(record, 60)
    instance.add_run_tags(run.run_id, {"dagster/max_runtime": ""})
    (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[run.run_id]))
    assert is_over_time(record, 60)
    assert not is_over_time(record, 0)
    other = launch(instance, **{"dagster/max_runtime_seconds": "50", "mlops/launcher": "docker"})
    instance.handle_new_event(_started(other.run_id, seconds_ago=100))
    (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[other.run_id]))
    assert is_over_time(record, 0), "Dagster takes this tag, too"


def test_nothing_is_imported_that_is_not_configured() -> None:
    code = (
        "import sys, dagster\n"
        "from mlops_assets.launching import TaggedRunLauncher, ProjectRunCoordinator\n"
        "found = {'docker', 'kubernetes', 'boto3', 'dagster_k8s', 'torch'} & set(sys.modules)\n"
        "print(sorted(found))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
