"""All sensors of one team's code location."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from mlops_assets.config.project import Project
from sensors.alerts import build_alerts_sensor
from sensors.automation import build_automation_sensors
from sensors.clean import build_clean_schedule
from sensors.fallback import build_fallback_schedules
from sensors.landing import build_landing_sensor
from sensors.monitoring import build_monitoring_sensor
from sensors.new_data import build_new_data_sensor
from sensors.reconcile import build_reconcile_sensor
from sensors.redeploy import build_redeploy_sensor
from sensors.retrain import build_retrain_sensor
from sensors.staleness import build_staleness_sensor


def build_team_sensors(team: str, projects: Sequence[Project]) -> list[dg.SensorDefinition]:
    """One sensor of each kind for the whole team, so that costs do not grow with projects.

    Args:
        team: The team's name, part of each sensor's name.
        projects: Its valid projects.
    """
    if not projects:
        return []
    sensors: list[dg.SensorDefinition] = [
        build_reconcile_sensor(team, projects),
        build_alerts_sensor(team),
    ]
    automated = [project for project in projects if project.spec.automation.enabled]
    if automated:
        sensors.extend(build_automation_sensors(team, automated))
        sensors.append(build_redeploy_sensor(team, automated))
        for sensor in (
            build_new_data_sensor(team, automated),
            build_landing_sensor(team, automated),
        ):
            sensors.extend([sensor] if sensor is not None else [])
    watched = [project for project in automated if project.spec.is_monitored]
    if watched:
        sensors.append(build_monitoring_sensor(team, watched))
    deciding = [project for project in watched if project.spec.retrains_on_decision]
    if deciding:
        sensors.append(build_retrain_sensor(team, deciding))
    ageing = [project for project in automated if project.spec.monitoring.freshness.model]
    if ageing:
        sensors.append(build_staleness_sensor(team, ageing))
    return sensors


def build_team_schedules(team: str, projects: Sequence[Project]) -> list[dg.ScheduleDefinition]:
    """The team's daily cleaning, and the fallback schedules of its projects."""
    if not projects:
        return []
    automated = [project for project in projects if project.spec.automation.enabled]
    return [build_clean_schedule(team), *build_fallback_schedules(automated)]
