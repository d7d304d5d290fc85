"""Which run a process was started for, so that a run's worker loads that run's projects only.

Dagster loads a code location the same way in its server and in a run's worker, and tells the
loading code nothing about the run. The worker's arguments name it.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from dagster._grpc.types import ExecuteExternalJobArgs, ExecuteRunArgs

ASSET_JOB = "__ASSET_JOB"
"""Dagster's job of a code location's assets, by which all projects run."""
_COMMAND = ["api", "execute_run"]
_STORED_AS = ('"ExecuteExternalPipelineArgs"', '"ExecuteRunArgs"')


def projects_of_this_run(team: str) -> frozenset[str] | None:
    """Names of the team's projects that the run of this process is of.

    None in a process that is no run's worker, and for a run that may need more than projects of
    the team: then everything has to be loaded.
    """
    arguments = run_arguments()
    if arguments is None or arguments.instance_ref is None:
        return None
    with dg.DagsterInstance.from_ref(arguments.instance_ref) as instance:
        run = instance.get_run_by_id(arguments.run_id)
    if run is None or run.job_name != ASSET_JOB:
        return None
    keys = set(run.asset_selection or ()) | {c.asset_key for c in run.asset_check_selection or ()}
    return project_names(keys, team)


def project_names(keys: Iterable[dg.AssetKey], team: str) -> frozenset[str] | None:
    """Names of the projects whose assets these may be; None when one is not of the team."""
    paths = [key.path for key in keys]
    if not paths or any(len(path) < 3 or path[0] != team for path in paths):
        return None
    return frozenset(path[1] for path in paths)


def run_arguments() -> ExecuteExternalJobArgs | ExecuteRunArgs | None:
    """What Dagster told this process about the run that it executes, if it does.

    None too where a later Dagster tells it in other words: everything is loaded then.
    """
    for text in _texts():
        if any(name in text for name in _STORED_AS):
            try:
                from dagster._grpc.types import ExecuteExternalJobArgs, ExecuteRunArgs
                from dagster._serdes import deserialize_value

                return deserialize_value(text, (ExecuteExternalJobArgs, ExecuteRunArgs))
            except Exception:  # noqa: BLE001 - whatever a later Dagster raises, all projects do
                return None
    return None


def _texts() -> Iterator[str]:
    """Arguments of a code server's worker, or of ``dagster api execute_run`` in a container."""
    own = getattr(multiprocessing.current_process(), "_args", ())
    yield from (argument for argument in own if isinstance(argument, str))
    if sys.argv[1:3] == _COMMAND:
        yield from sys.argv[3:]
