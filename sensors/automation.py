"""The sensor that evaluates the declarative automation conditions of a team's assets."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from mlops_assets.config.project import Project


def build_automation_sensor(
    team: str, projects: Sequence[Project]
) -> dg.AutomationConditionSensorDefinition:
    """Runs by default, so that data flow through to deployment without anybody's help."""
    return dg.AutomationConditionSensorDefinition(
        name=f"{team}__automation",
        target=dg.AssetSelection.groups(*(project.id.group for project in projects)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description="Materializes what changed data or configuration make stale.",
    )
