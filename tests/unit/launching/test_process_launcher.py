"""``ProcessRunLauncher``: a code server that was started again has lost its workers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._core.test_utils import instance_for_test
from dagster._grpc.client import DagsterGrpcClient
from launching_runs import make_run

from mlops_assets.launching.process import SERVER_TAG, ProcessRunLauncher
from resources.processes import HOST
from tests.ports import spare_port


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with instance_for_test() as made:
        yield made


def launched(instance: dg.DagsterInstance, server: str) -> dg.DagsterRun:
    address = json.dumps({"host": HOST, "port": spare_port()})  # nobody listens there
    return make_run(instance, {SERVER_TAG: server, ".dagster/grpc_info": address})


@pytest.mark.parametrize(
    ("answer", "status"), [("one", WorkerStatus.RUNNING), ("two", WorkerStatus.NOT_FOUND)]
)
def test_identity_decides(
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    status: WorkerStatus,
) -> None:
    monkeypatch.setattr(DagsterGrpcClient, "get_server_id", lambda *_, **__: answer)
    run = launched(instance, "one")
    assert ProcessRunLauncher(watch=True).check_run_worker_health(run).status is status


def test_a_silent_server_is_gone_only_after_a_while(instance: dg.DagsterInstance) -> None:
    run = launched(instance, "one")
    patient = ProcessRunLauncher(watch=True, unreachable_seconds=3600)
    assert patient.check_run_worker_health(run).status is WorkerStatus.RUNNING
    hasty = ProcessRunLauncher(watch=True, unreachable_seconds=0)
    result = hasty.check_run_worker_health(run)
    assert result.status is WorkerStatus.NOT_FOUND
    assert "has not answered" in str(result.msg)


def test_a_silence_that_ended_unseen_is_not_held_against_a_later_run(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run ends while the server is silent; nobody asks it again for an hour."""
    clock = [0.0]
    monkeypatch.setattr("mlops_assets.launching.process.time.monotonic", lambda: clock[0])
    launcher = ProcessRunLauncher(watch=True)
    early = launched(instance, "one")
    assert launcher.check_run_worker_health(early).status is WorkerStatus.RUNNING
    clock[0] = 3600
    late = early._replace(run_id="2")
    assert launcher.check_run_worker_health(late).status is WorkerStatus.RUNNING
    beside = early._replace(run_id="3")
    assert launcher.check_run_worker_health(beside).status is WorkerStatus.RUNNING
    clock[0] = 3600 + launcher.unreachable_seconds
    for lost in (late, beside):
        assert launcher.check_run_worker_health(lost).status is WorkerStatus.NOT_FOUND
    assert launcher._silent_since == {}


def test_a_run_without_a_noted_server_counts_as_running(instance: dg.DagsterInstance) -> None:
    health = ProcessRunLauncher(watch=True).check_run_worker_health(make_run(instance, {}))
    assert health.status is WorkerStatus.RUNNING


def test_watching_is_a_choice() -> None:
    assert not ProcessRunLauncher().supports_check_run_worker_health
    assert ProcessRunLauncher(watch=True).supports_check_run_worker_health
