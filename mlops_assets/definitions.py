"""Composition root: the Dagster definitions of a team, built when they are asked for.

``workspace.yaml`` names one code location per team, ``attribute: <team>``. The attribute does not
exist until Dagster asks for it: :func:`__getattr__` then loads that team's folders and no others,
and in the worker of a run only the projects that the run is of.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
from dagster import ComponentTree

from mlops_assets.assets import build_project_definitions
from mlops_assets.assets.broken import build_broken_definitions
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.config.discovery import team_folders, team_projects
from mlops_assets.config.files import PROJECTS
from mlops_assets.config.loader import discover, load_project
from mlops_assets.config.project import Project
from mlops_assets.errors import MlopsError
from mlops_assets.launching.worker import projects_of_this_run
from resources.settings import Settings
from sensors import build_team_schedules, build_team_sensors


def build_team_definitions(
    team: str, root: Path, only: Collection[str] | None = None
) -> dg.Definitions:
    """Everything one team owns: its projects, and any other Dagster folder beside them.

    A folder that cannot be loaded is shown as a placeholder with its error; the others load.

    Args:
        team: Folder name under ``project_configs``.
        root: Project root, the folder of ``workspace.yaml``.
        only: Projects that are wanted; ignored where the team has other folders than projects,
            because those may refer to any project.
    """
    parts: dict[str, dg.Definitions] = {}
    projects: list[Project] = []
    ours = {project.name for project in team_projects(root, team)}
    folders = team_folders(root, team)
    if only is not None and ours.issuperset(only) and ours.issuperset(f.name for f in folders):
        folders = [folder for folder in folders if folder.name in only]
    for folder in folders:
        try:
            project = load_project(folder, root) if folder.name in ours else None
            part = build_project_definitions(project) if project else None
            parts[folder.name] = part or build_folder_definitions(folder, root)
        except Exception as error:  # noqa: BLE001 - a team's own code may raise anything
            parts[folder.name] = build_broken_definitions(team, folder.name, _message(error))
        else:
            projects += [project] if project else []
    return _compose_sound(parts, projects, team)


def _compose_sound(
    parts: dict[str, dg.Definitions], projects: list[Project], team: str
) -> dg.Definitions:
    """All parts with their sensors and schedules; a project that Dagster refuses is taken out.

    Each project is only tried alone when they cannot be put together.
    """
    try:
        return compose(list(parts.values()), projects, team)
    except Exception:
        refused = {p.id.name: error for p in projects if (error := _automation_error(p))}
        if not refused:
            raise
        broken = {n: build_broken_definitions(team, n, _message(e)) for n, e in refused.items()}
        sound = [project for project in projects if project.id.name not in refused]
        return compose(list((parts | broken).values()), sound, team)


def _automation_error(project: Project) -> Exception | None:
    """Why a project's own sensors and schedules cannot be built, if they cannot."""
    try:
        build_team_sensors(project.id.team, [project])
        build_team_schedules(project.id.team, [project])
    except Exception as error:  # noqa: BLE001 - the caller shows it in place of the project
        return error
    return None


def _message(error: Exception) -> str:
    is_ours = isinstance(error, MlopsError)
    return str(error) if is_ours else f"{type(error).__name__}: {error.__cause__ or error}"


def build_folder_definitions(folder: Path, root: Path) -> dg.Definitions:
    """All Dagster components or asset files in one folder, by a component tree of its own.

    One tree per folder keeps one broken file from taking the others along.
    """
    tree = ComponentTree.from_module(defs_module=_package(folder, root), project_root=root)
    return tree.build_defs_at_path(folder)


def _package(folder: Path, root: Path) -> ModuleType:
    """The folder as a package of its own, whatever else is called so on the import path."""
    names = [PROJECTS]
    place = root / PROJECTS
    module = _register(names, place)
    for name in folder.relative_to(place).parts:
        names.append(name)
        place /= name
        module = _register(names, place)
    return module


def _register(names: list[str], place: Path) -> ModuleType:
    name = ".".join(names)
    known = sys.modules.get(name)
    if known is not None and list(known.__path__) == [str(place)]:
        return known
    for other in [n for n in sys.modules if n == name or n.startswith(f"{name}.")]:
        del sys.modules[other]
    module = ModuleType(name)
    module.__path__ = [str(place)]
    module.__file__ = None
    sys.modules[name] = module
    return module


def compose(
    parts: list[dg.Definitions], projects: list[Project], team: str, root: Path | None = None
) -> dg.Definitions:
    """Definitions with resources, sensors and an in-process executor.

    A project's run stays in one process, so that it pays for one JVM and one torch import.
    """
    shared = dg.Definitions(
        resources={"platform": PlatformResource(root=str(root) if root else None)},
        sensors=build_team_sensors(team, projects),
        schedules=build_team_schedules(team, projects),
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
    return build_team_definitions(name, root, projects_of_this_run(name))
