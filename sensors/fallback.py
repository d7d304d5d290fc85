"""Schedules that retrain only when nothing else did."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from mlops_assets.assets.platform import PlatformResource
from mlops_assets.config.project import Project
from sensors.requests import lifecycle_keys, request


def build_fallback_schedules(projects: Sequence[Project]) -> list[dg.ScheduleDefinition]:
    """One schedule for each project that declares ``automation.fallback_schedule``."""
    return [
        build_fallback_schedule(project, project.spec.automation.fallback_schedule)
        for project in projects
        if project.spec.automation.fallback_schedule is not None
    ]


def build_fallback_schedule(project: Project, cron: str) -> dg.ScheduleDefinition:
    """Retrains at the given times, unless a model was trained since the time before."""

    @dg.schedule(
        name=f"{project.id.group}__fallback",
        cron_schedule=cron,
        target=dg.AssetSelection.assets(*lifecycle_keys(project)),
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Retrains if nothing else has since the time before.",
        tags=project.id.run_tags,
    )
    def fallback(
        context: dg.ScheduleEvaluationContext, platform: PlatformResource
    ) -> dg.RunRequest | dg.SkipReason:
        from croniter import croniter

        now = context.scheduled_execution_time
        before = croniter(cron, now).get_prev(datetime).astimezone(UTC)
        model = platform.store().latest(project.id.bundles_collection)
        if model is not None and model.created_at > before:
            return dg.SkipReason(
                f"a model was trained at {model.created_at:%Y-%m-%d %H:%M} UTC, after {before:%c}"
            )
        return request(
            project,
            lifecycle_keys(project),
            run_key=f"fallback:{project.id}:{now.isoformat()}",
            cause="fallback schedule",
        )

    return fallback
