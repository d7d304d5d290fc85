"""Sensors: what the engine notices by itself."""

from sensors.team import build_team_schedules, build_team_sensors

__all__ = ["build_team_schedules", "build_team_sensors"]
