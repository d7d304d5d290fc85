"""The sensor that retrains models which are older than their freshness limit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from mlops_assets.assets.platform import PlatformResource
from mlops_assets.config.base import format_duration
from mlops_assets.config.project import Project
from sensors.pace import pace
from sensors.requests import lifecycle_keys, request
from sensors.rounds import Round


def build_staleness_sensor(team: str, projects: Sequence[Project]) -> dg.SensorDefinition:
    """One sensor for the models of a team.

    A model's age counts from its training, not from a run that found nothing new: Dagster's own
    freshness would be content with the latter. Source data are read again, so a source that has
    not changed leaves the model as it is; it is asked again after the same time.
    """

    @dg.sensor(
        name=f"{team}__staleness",
        target=dg.AssetSelection.assets(*(k for p in projects for k in lifecycle_keys(p))),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=pace(300),
        description="Retrains a model that is older than monitoring.freshness.model.",
    )
    def staleness_sensor(
        context: dg.SensorEvaluationContext, platform: PlatformResource
    ) -> dg.SensorResult:
        store = platform.store()
        now = datetime.now(UTC)
        requests = []
        turn = Round(projects, lambda project: str(project.id), context.cursor)
        for project in turn:
            limit = project.spec.monitoring.freshness.model
            model = store.latest(project.id.bundles_collection)
            if limit is None or model is None or now - model.created_at <= limit:
                continue
            times = (now - model.created_at) // limit
            requests.append(
                request(
                    project,
                    lifecycle_keys(project),
                    run_key=f"stale:{project.id}:{model.sequence}:{times}",
                    cause=f"model older than {format_duration(limit)}",
                )
            )
        if requests:
            return dg.SensorResult(run_requests=requests, cursor=turn.resume)
        reason = "; ".join([f"the models of {len(projects)} projects are fresh", *turn.notes])
        return dg.SensorResult(skip_reason=reason, cursor=turn.resume)

    return staleness_sensor
