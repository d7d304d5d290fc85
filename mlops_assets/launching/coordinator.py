"""The run queue, which gives each run the tags of the project that it belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext
from dagster._core.storage.tags import MAX_RUNTIME_SECONDS_TAG

from mlops_assets.errors import ConfigError
from mlops_assets.keys import PROJECT_TAG
from mlops_assets.launching.tags import LAUNCHER_TAG, PROCESS, RUN_TAGS_METADATA
from mlops_assets.launching.written import tag_changes

if TYPE_CHECKING:
    from dagster._core.workspace.context import BaseWorkspaceRequestContext

OWNER_TAGS = ("team", "project")
SEVERAL = "*"
"""In the place of the project in a run of several; no project can have that name."""
SHOWN_PROJECTS = 5


class ProjectRunCoordinator(QueuedRunCoordinator):
    """Dagster's queue; a run gets its project's tags before anything looks at them.

    Sensors, schedules, declarative automation, retries and the UI's *Materialize* all submit runs
    here, and only here are all of them alike: the tags of an asset are not tags of its runs. Tags
    that a run already has are kept, unless they were written here for the run that it repeats.
    """

    def submit_run(self, context: SubmitRunContext) -> dg.DagsterRun:
        """Tag the run and queue it; a run of projects that contradict each other fails."""
        run = context.dagster_run
        try:
            wanted = project_tags(run, context.workspace)
        except ConfigError as error:
            self._instance.report_run_failed(run, str(error))
            return self._instance.get_run_by_id(run.run_id) or run
        wanted.setdefault(LAUNCHER_TAG, PROCESS)
        changes = tag_changes(run.tags, wanted, self._instance.run_retries_max_retries)
        self._instance.add_run_tags(run.run_id, changes)
        return super().submit_run(context)


def project_tags(run: dg.DagsterRun, workspace: BaseWorkspaceRequestContext) -> dict[str, str]:
    """Tags of the project whose assets a run materializes or checks.

    Raises:
        ConfigError: The assets belong to projects that ask for different launchers or resources.
    """
    keys = set(run.asset_selection or ())
    keys |= {check.asset_key for check in run.asset_check_selection or ()}
    if not keys or run.remote_job_origin is None:
        return {}
    origin = run.remote_job_origin.repository_origin
    location = workspace.get_code_location(origin.code_location_origin.location_name)
    graph = location.get_repository(origin.repository_name).asset_graph
    nodes = [graph.get(key) for key in sorted(keys) if graph.has(key)]
    return combined((node.tags, node.metadata) for node in nodes)


def combined(assets: Iterable[tuple[Mapping[str, str], Mapping[str, Any]]]) -> dict[str, str]:
    """What several assets, by their tags and metadata, want from one run.

    A run of several projects may take as long as all of their runs together: their steps follow
    each other.

    Raises:
        ConfigError: They want different things.
    """
    owners: set[tuple[str, ...]] = set()
    wishes: dict[tuple[tuple[str, str], ...], str] = {}
    for tags, metadata in assets:
        owner = tuple(tags.get(name, "") for name in OWNER_TAGS)
        owners.add(owner)
        found = metadata.get(RUN_TAGS_METADATA)
        wish = getattr(found, "value", found) or {}
        wishes.setdefault(tuple(sorted(wish.items())), "/".join(owner))
    if len(wishes) > 1:
        raise ConfigError(
            "one run of projects whose `compute:` differs",
            found=", ".join(sorted(wishes.values())[:SHOWN_PROJECTS]),
            expected="assets of one project, or of projects with the same `compute:`",
            fix="materialize one project at a time",
        )
    tags = dict(next(iter(wishes), ()))
    if seconds := tags.get(MAX_RUNTIME_SECONDS_TAG):
        tags[MAX_RUNTIME_SECONDS_TAG] = str(int(seconds) * len(owners))
    return tags | _owner_tags(owners)


def _owner_tags(owners: set[tuple[str, ...]]) -> dict[str, str]:
    """Whose run it is, for people and for the queue's limit; nobody's where no project is in it."""
    named = [owner for owner in owners if all(owner)]
    if not named:
        return {}
    team, project = (
        found.pop() if len(found) == 1 else SEVERAL
        for found in (set(part) for part in zip(*named, strict=True))
    )
    whose = {PROJECT_TAG: f"{team}/{project}"}
    return whose | dict(zip(OWNER_TAGS, named[0], strict=True)) if len(owners) == 1 else whose
