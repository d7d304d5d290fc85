"""The sensor that tries a failed deployment again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from mlops_assets.assets.platform import PlatformResource
from mlops_assets.config.project import Project
from mlops_assets.errors import MlopsError
from mlops_assets.keys import ACCEPTED_VERDICTS
from sensors.requests import request

AFTER = (timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=3), timedelta(hours=12))
"""When a deployment is tried again, counted from the evaluation that accepted it."""


def build_redeploy_sensor(team: str, projects: Sequence[Project]) -> dg.SensorDefinition:
    """One sensor for the deployments of a team.

    An accepted model that never went live, was not refused and was not taken back is deployed
    again: at most once for each of :data:`AFTER`.
    """

    @dg.sensor(
        name=f"{team}__redeploy",
        target=dg.AssetSelection.assets(*(dg.AssetKey(p.id.deployment_key) for p in projects)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=60,
        description="Tries a failed deployment again, a bounded number of times.",
    )
    def redeploy_sensor(
        context: dg.SensorEvaluationContext, platform: PlatformResource
    ) -> dg.SensorResult:
        requests: list[dg.RunRequest] = []
        problems: list[str] = []
        for project in projects:
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
            return dg.SensorResult(run_requests=requests)
        reason = "; ".join([f"nothing to deploy in {len(projects)} projects", *problems])
        return dg.SensorResult(skip_reason=reason)

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
    entries = Ledger(store, project.id.ledger_prefix).entries()
    bundle = evaluation.metadata["bundle_id"]
    settled = {"promote", "rollback", "quarantine", "retire"}
    if any(entry.action in settled and entry.bundle_id == bundle for entry in entries):
        return None
    if any(e.action in ("rollback", "retire") and e.at > evaluation.created_at for e in entries):
        return None
    return f"{evaluation.sequence}:{attempts}"
