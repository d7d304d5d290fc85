"""A run that follows a killed one does the steps that were not done, and no others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import (
    DEFAULT_REEXECUTION_POLICY,
    get_reexecution_strategy,
)

from mlops_assets.config.compute import ComputeSpec
from mlops_assets.launching.tags import compute_tags

KILLED = """
import os, sys
import dagster as dg

@dg.asset
def features(): ...

@dg.asset(deps=[features])
def model():
    os.kill(os.getpid(), 9)

@dg.asset(deps=[model])
def evaluation(): ...

with dg.DagsterInstance.local_temp(sys.argv[1]) as instance:
    dg.materialize([features, model, evaluation], instance=instance)
"""


def test_a_killed_run_is_followed_by_one_of_the_steps_that_were_not_done(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -9
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        (run,) = instance.get_runs()
        instance.report_run_failed(run, "the worker died")
        instance.add_run_tags(run.run_id, compute_tags(ComputeSpec(max_retries=1)))
        (failed,) = instance.get_runs()
        strategy = get_reexecution_strategy(failed, instance) or DEFAULT_REEXECUTION_POLICY
        assert strategy.name == "FROM_FAILURE"
        steps, _ = KnownExecutionState.build_resume_retry_reexecution(instance, failed)
    assert sorted(steps) == ["evaluation", "model"]
