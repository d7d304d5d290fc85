"""The sensor that tries a failed deployment again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from mlops_assets.assets.platform import PlatformResource
from mlops_assets.config.project import Project
from mlops_assets.errors import MlopsError
from mlops_assets.keys import ACCEPTED_VERDICTS
from sensors.pace import pace
from sensors.requests import request
from sensors.rounds import Round

AFTER = (timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=3), timedelta(hours=12))
"""When a deployment is tried again, counted from the evaluation that accepted it."""
SETTLED = frozenset({"promote", "rollback", "quarantine", "retire"})
TAKEN_BACK = frozenset({"rollback", "retire"})


def build_redeploy_sensor(team: str, projects: Sequence[Project]) -> dg.SensorDefinition:
    """One sensor for the deployments of a team.

    An accepted model that never went live, was not refused and was not taken back is deployed
    again: at most once for each of :data:`AFTER`.
    """

    @dg.sensor(
        name=f"{team}__redeploy",
        target=dg.AssetSelection.assets(*(dg.AssetKey(p.id.deployment_key) for p in projects)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=pace(60),
        description="Tries a failed deployment again, a bounded number of times.",
    )
    def redeploy_sensor(
        context: dg.SensorEvaluationContext, platform: PlatformResource
    ) -> dg.SensorResult:
        requests: list[dg.RunRequest] = []
        problems: list[str] = []
        turn = Round(projects, lambda project: str(project.id), context.cursor)
        for project in turn:
            try:
                due = attempt_due(project, platform, datetime.now(UTC))
            except MlopsError as error:
                problems.append(f"{project.id}: {error.problem}")
                continue
            if due is not None:
                keys = [dg.AssetKey(project.id.deployment_key)]
                run_key = f"redeploy:{project.id}:{due}"
                requests.append(request(project, keys, run_key=run_key, cause="failed deployment"))
        if requests:
            return dg.SensorResult(run_requests=requests, cursor=turn.resume)
        nothing = f"nothing to deploy in {len(projects)} projects"
        reason = "; ".join([nothing, *problems, *turn.notes])
        return dg.SensorResult(skip_reason=reason, cursor=turn.resume)

    return redeploy_sensor


def attempt_due(project: Project, platform: PlatformResource, now: datetime) -> str | None:
    """Identity of the attempt that is due, if one is."""
    from resources.ledger import Ledger

    store = platform.store()
    evaluation = store.latest(project.id.evaluations_collection)
    if evaluation is None or evaluation.metadata.get("verdict") not in ACCEPTED_VERDICTS:
        return None
    attempts = sum(now - evaluation.created_at >= wait for wait in AFTER)
    if not attempts:
        return None
    bundle = evaluation.metadata["bundle_id"]
    for entry in Ledger(store, project.id.ledger_prefix).newest_first():
        if entry.action in SETTLED and entry.bundle_id == bundle:
            return None
        if entry.action in TAKEN_BACK and entry.at > evaluation.created_at:
            return None
    return f"{evaluation.sequence}:{attempts}"
