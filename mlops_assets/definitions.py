"""Composition root: the Dagster definitions of a team, built when they are asked for.

``workspace.yaml`` names one code location per team, ``attribute: <team>``. The attribute does not
exist until Dagster asks for it: :func:`__getattr__` then loads that team's projects and no others.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import ComponentTree

from mlops_assets.assets.broken import build_broken_definitions
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.config.loader import discover, load_project
from mlops_assets.config.project import Project
from mlops_assets.errors import ConfigError, MlopsError
from mlops_assets.keys import ProjectId
from resources.settings import Settings
from sensors import build_team_sensors

PROJECTS = "project_configs"


def build_team_definitions(team: str, root: Path) -> dg.Definitions:
    """Everything one team owns.

    A project that cannot be loaded is shown as a placeholder with its error; the others load.

    Args:
        team: Folder name under ``project_configs``.
        root: Project root, the folder of ``workspace.yaml``.
    """
    parts: list[dg.Definitions] = []
    projects: list[Project] = []
    for project_id in discover(root):
        if project_id.team != team:
            continue
        try:
            project = load_project(root / PROJECTS / team / project_id.name, root)
            parts.append(build_folder_definitions(project_id, root))
            projects.append(project)
        except MlopsError as error:
            parts.append(build_broken_definitions(project_id, str(error)))
    return compose(parts, projects, team)


def build_folder_definitions(project: ProjectId, root: Path) -> dg.Definitions:
    """All components and asset files in one project's folder, by a component tree of its own.

    One tree per project keeps one team's broken file from taking the others along.
    """
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    module = importlib.import_module(f"{PROJECTS}.{project.team}.{project.name}")
    tree = ComponentTree.from_module(defs_module=module, project_root=root)
    return tree.build_defs_at_path(root / PROJECTS / project.team / project.name)


def compose(
    parts: list[dg.Definitions], projects: list[Project], team: str, root: Path | None = None
) -> dg.Definitions:
    """Definitions with resources, sensors and an in-process executor.

    A project's run stays in one process, so that it pays for one JVM and one torch import.
    """
    shared = dg.Definitions(
        resources={"platform": PlatformResource(root=str(root) if root else None)},
        sensors=build_team_sensors(team, projects),
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(*parts, shared)


@dg.definitions
def defs() -> dg.Definitions:
    """Every team at once, for the ``dg`` command line."""
    root = Settings.from_environment().root
    teams = sorted({project.team for project in discover(root)})
    return dg.Definitions.merge(*(build_team_definitions(team, root) for team in teams))


def __getattr__(name: str) -> Any:
    """A team's definitions, under the team's name (PEP 562).

    Raises:
        AttributeError: There is no folder of that name under ``project_configs``.
    """
    if name.startswith("_"):
        raise AttributeError(name)
    root = Settings.from_environment().root
    if not (root / PROJECTS / name).is_dir():
        raise AttributeError(f"no team {name!r}: there is no folder {PROJECTS}/{name} in {root}")
    return build_team_definitions(name, root)
