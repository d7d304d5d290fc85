"""Runs of the command line: they execute in its own process, so that process is their worker."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

import dagster as dg

from mlops_assets.launching.tags import LAUNCHED_BY_TAG
from resources.processes import ProcessRecord, start_ticks

WORKER_TAG = "mlops/worker"
"""Run tag: ``host:pid:start`` of the command that executes the run."""


def worker_tag() -> dict[str, str]:
    """The tag of a run that this process executes."""
    pid = os.getpid()
    return {WORKER_TAG: f"{socket.gethostname()}:{pid}:{start_ticks(pid)}"}


def has_died(tags: Mapping[str, str]) -> bool:
    """Whether a run's command ended; False for other runs, and for those of another machine.

    A run that a launcher started is another run, though it may repeat one of a command and have
    its tags.
    """
    if LAUNCHED_BY_TAG in tags:
        return False
    host, _, rest = tags.get(WORKER_TAG, "").rpartition(":")[0].rpartition(":")
    ticks = tags.get(WORKER_TAG, "").rpartition(":")[2]
    if host != socket.gethostname() or not rest.isdigit() or not ticks.isdigit():
        return False
    return not ProcessRecord(int(rest), int(ticks)).is_alive()


def settle_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs of killed commands as failed, and free the pool slots that they held.

    Returns:
        Ids of those runs.
    """
    going_on = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
    dead = [run for run in instance.get_runs(going_on) if has_died(run.tags)]
    for run in dead:
        instance.report_run_failed(run, "the command that executed this run was killed")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in dead]
