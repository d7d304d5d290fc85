"""A project's real sensors and runs, driven by hand in this process instead of by the daemon."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_assets.keys import CAUSE_TAG

if TYPE_CHECKING:
    import dagster as dg

    from mlops_assets.config.project import Project
    from resources.settings import Settings

RUN_KEY_TAG = "dagster/run_key"
SKIPPED = ("automation", "reconcile")
"""Sensors that are left out: they need the daemon, or find nothing here."""
MAX_ROUNDS = 10


@dataclass(frozen=True)
class FinishedRun:
    """A run that a sensor asked for.

    Attributes:
        run_id: Dagster run.
        cause: Why it was started.
        success: Whether every step succeeded.
        run_key: Identity of the cause.
    """

    run_id: str
    cause: str
    success: bool
    run_key: str


class Ticker:
    """Evaluates the sensors of one project and executes what they request, one JVM for all.

    Args:
        project: The project.
        settings: Its home and root.
        instance: The Dagster instance that records everything.
    """

    def __init__(self, project: Project, settings: Settings, instance: dg.DagsterInstance) -> None:
        from mlops_assets.assets import build_project_definitions
        from mlops_assets.definitions import compose

        part = build_project_definitions(project)
        self._definitions = compose([part], [project], project.id.team, settings.root)
        self._repository = self._definitions.get_repository_def()
        self._job = self._definitions.resolve_implicit_global_asset_job_def()
        self._instance = instance
        self.settings = settings
        self._cursors: dict[str, str | None] = {}

    def settle(self) -> list[FinishedRun]:
        """Tick until no sensor asks for anything more."""
        finished: list[FinishedRun] = []
        for _ in range(MAX_ROUNDS):
            requests = [request for name in self._names() for request in self._tick(name)]
            if not requests:
                break
            finished += [run for request in requests for run in self._execute(request)]
        return finished

    def _names(self) -> list[str]:
        return [
            sensor.name
            for sensor in self._repository.sensor_defs
            if sensor.name.rpartition("__")[2] not in SKIPPED
        ]

    def _tick(self, name: str) -> list[dg.RunRequest]:
        import dagster as dg

        sensor = self._repository.get_sensor_def(name)
        with dg.build_sensor_context(
            instance=self._instance,
            cursor=self._cursors.get(name),
            sensor_name=name,
            repository_def=self._repository,
            resources=self._repository.get_top_level_resources(),
        ) as context:
            result = sensor.evaluate_tick(context)
        self._cursors[name] = result.cursor
        return list(result.run_requests or [])

    def _execute(self, request: dg.RunRequest) -> list[FinishedRun]:
        """Nothing when a run of the same key was started before, as the daemon would do."""
        import dagster as dg

        key = request.run_key or uuid.uuid4().hex
        if self._instance.get_runs(dg.RunsFilter(tags={RUN_KEY_TAG: key}), limit=1):
            return []
        run_id = str(uuid.uuid4())
        result = self._job.execute_in_process(
            run_id=run_id,
            instance=self._instance,
            asset_selection=list(request.asset_selection or []),
            tags={**request.tags, RUN_KEY_TAG: key},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
        return [FinishedRun(run_id, request.tags.get(CAUSE_TAG, ""), result.success, key)]
