"""All sensors of one team's code location."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from mlops_assets.config.project import Project
from sensors.automation import build_automation_sensor
from sensors.new_data import build_new_data_sensor
from sensors.reconcile import build_reconcile_sensor


def build_team_sensors(team: str, projects: Sequence[Project]) -> list[dg.SensorDefinition]:
    """One sensor of each kind for the whole team, so that costs do not grow with projects.

    Args:
        team: The team's name, part of each sensor's name.
        projects: Its valid projects.
    """
    if not projects:
        return []
    sensors: list[dg.SensorDefinition] = [build_reconcile_sensor(team, projects)]
    automated = [project for project in projects if project.spec.automation.enabled]
    if automated:
        sensors.append(build_automation_sensor(team, automated))
        sensors.append(build_new_data_sensor(team, automated))
    return sensors
