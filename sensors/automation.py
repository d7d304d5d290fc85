"""The sensor that evaluates the declarative automation conditions of a team's assets."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from mlops_assets.config.project import Project
from sensors.pace import pace


def build_automation_sensors(
    team: str, projects: Sequence[Project]
) -> list[dg.AutomationConditionSensorDefinition]:
    """One sensor for the team, and one more for each project with a ``compute:`` of its own.

    A sensor may put everything that is due into one run, and a run executes in one place.
    """
    alike = [project for project in projects if project.spec.compute.is_default]
    special = [project for project in projects if not project.spec.compute.is_default]
    sensors = [_build(f"{team}__automation", alike)] if alike else []
    return sensors + [_build(f"{p.id.group}__automation", [p]) for p in special]


def _build(name: str, projects: Sequence[Project]) -> dg.AutomationConditionSensorDefinition:
    """Runs by default, so that data flow through to deployment without anybody's help."""
    return dg.AutomationConditionSensorDefinition(
        name=name,
        target=dg.AssetSelection.groups(*(project.id.group for project in projects)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=pace(30),
        description="Materializes what changed data or configuration make stale.",
    )
