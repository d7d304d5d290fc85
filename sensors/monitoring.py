"""The sensor that notices new files of live traffic or of labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from mlops_assets.assets.platform import PlatformResource
from mlops_assets.config.project import Project
from mlops_assets.errors import MlopsError
from sensors.pace import pace
from sensors.repeats import repeats
from sensors.requests import monitoring_keys, request
from sensors.rounds import RESUME, Round


def build_monitoring_sensor(team: str, projects: Sequence[Project]) -> dg.SensorDefinition:
    """One sensor for the inference logs and labels of a team.

    Its cursor holds the state of each project's files. A run's key contains that state, so that a
    killed daemon neither loses nor repeats a run.
    """

    @dg.sensor(
        name=f"{team}__monitoring",
        target=dg.AssetSelection.assets(*(k for p in projects for k in monitoring_keys(p))),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=pace(60),
        description="Closes monitoring windows when new requests or labels are there.",
    )
    def monitoring_sensor(
        context: dg.SensorEvaluationContext, platform: PlatformResource
    ) -> dg.SensorResult:
        seen: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
        requests: list[dg.RunRequest] = []
        problems: list[str] = []
        turn = Round(projects, lambda project: str(project.id), seen.pop(RESUME, None))
        for project in turn:
            name = str(project.id)
            try:
                state = files_state(project, platform)
            except MlopsError as error:
                problems.append(f"{name}: {error.problem}")
                context.log.warning(str(error))
                continue
            if state not in ("", seen.get(name)):
                run_key = f"monitor:{name}:{state}"
                keys = monitoring_keys(project)
                requests.append(request(project, keys, run_key=run_key, cause="new traffic"))
                seen[name] = state
        requests += repeats(context.instance, f"{team}__monitoring", datetime.now(UTC), requests)
        cursor = json.dumps(seen | {RESUME: turn.resume}, sort_keys=True)
        if requests:
            return dg.SensorResult(run_requests=requests, cursor=cursor)
        reason = "; ".join([f"no new files of {len(projects)} projects", *problems, *turn.notes])
        return dg.SensorResult(skip_reason=reason, cursor=cursor)

    return monitoring_sensor


def files_state(project: Project, platform: PlatformResource) -> str:
    """Identity of the project's log and label files; empty while the log has none."""
    from mlops_assets.monitoring.register import NO_FILES, stream_digest
    from mlops_assets.monitoring.streams import inference_log, labels

    store = platform.store()
    log = stream_digest(project, inference_log(project), store)
    if log == NO_FILES:
        return ""
    declared = labels(project)
    return log if declared is None else f"{log}-{stream_digest(project, declared, store)}"
