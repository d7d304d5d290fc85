"""The sensor that evaluates the declarative automation conditions of a team's assets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import dagster as dg

from mlops_assets.config.project import Project
from mlops_assets.launching.tags import LAUNCHER_TAG, compute_tags
from sensors.pace import pace


def build_automation_sensors(
    team: str, projects: Sequence[Project]
) -> list[dg.AutomationConditionSensorDefinition]:
    """One sensor for each ``compute:`` that projects of the team have, or have not.

    A sensor may put everything that is due into one run, and a run executes in one place.
    """
    alike: dict[str, list[Project]] = {}
    for project in projects:
        alike.setdefault(_name(team, compute_tags(project.spec.compute)), []).append(project)
    return [_build(name, members) for name, members in sorted(alike.items())]


def _name(team: str, tags: Mapping[str, str]) -> str:
    """The same after every restart, for as long as ``compute:`` says the same."""
    if not tags:
        return f"{team}__automation"
    digest = hashlib.sha256(json.dumps(tags, sort_keys=True).encode()).hexdigest()
    return f"{team}__automation_{tags[LAUNCHER_TAG]}_{digest[:6]}"


def _build(name: str, projects: Sequence[Project]) -> dg.AutomationConditionSensorDefinition:
    """Runs by default, so that data flow through to deployment without anybody's help."""
    return dg.AutomationConditionSensorDefinition(
        name=name,
        target=dg.AssetSelection.groups(*(project.id.group for project in projects)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=pace(30),
        description="Materializes what changed data or configuration make stale.",
    )
