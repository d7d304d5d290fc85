"""Finds the projects under ``project_configs/<team>/<project>``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from mlops_assets.config.files import CONFIG_FILE, PROJECTS
from mlops_assets.config.yaml_reader import MAX_BYTES
from mlops_assets.keys import ProjectId

_TYPE = re.compile(rb"^[\"']?type[\"']?\s*:\s*[\"']?([^\s\"'#]*)", re.MULTILINE)


def discover(root: Path) -> list[ProjectId]:
    """All projects with usable folder names, in order; their files are not validated.

    Args:
        root: Project root, the folder of ``workspace.yaml``.
    """
    return _projects(_folders(root / PROJECTS))


def team_projects(root: Path, team: str) -> list[ProjectId]:
    """The projects of one team; nothing of the other teams is looked at."""
    return _projects(_visible_folders(root / PROJECTS / team))


def _projects(directories: Iterable[Path]) -> list[ProjectId]:
    found: list[ProjectId] = []
    for directory in directories:
        if not is_project_file(directory / CONFIG_FILE):
            continue
        try:
            found.append(ProjectId(directory.parent.name, directory.name))
        except ValueError:
            continue
    return found


def team_folders(root: Path, team: str) -> list[Path]:
    """Every folder of a team that Dagster can load: projects, other components, asset files."""
    folders = _visible_folders(root / PROJECTS / team)
    return [folder for folder in folders if any(map(_is_loadable, folder.iterdir()))]


def _is_loadable(file: Path) -> bool:
    return file.name == CONFIG_FILE or file.suffix == ".py"


def find_config_files(directory: Path) -> list[Path]:
    """Every project's ``defs.yaml`` at any depth, in wrong places and links included."""
    found: list[Path] = []
    for parent, folders, files in os.walk(directory, followlinks=False):
        folders[:] = sorted(name for name in folders if _is_visible(name))
        here = Path(parent)
        if CONFIG_FILE in files and is_project_file(here / CONFIG_FILE):
            found.append(here / CONFIG_FILE)
        for name in folders:
            linked = here / name / CONFIG_FILE
            if (here / name).is_symlink() and is_project_file(linked):
                found.append(linked)
    return sorted(found)


def find_misnamed(directory: Path) -> list[Path]:
    """Files that are meant as a ``defs.yaml``, and that nothing reads: ``defs.yml``."""
    return [
        file
        for file in sorted(directory.rglob("[Dd]efs.y*ml"))
        if file.name != CONFIG_FILE
        and not (file.parent / CONFIG_FILE).exists()
        and all(map(_is_visible, file.relative_to(directory).parts))
        and is_project_file(file)
    ]


def is_project_file(file: Path) -> bool:
    """Whether a ``defs.yaml`` is meant as a project, and not as another kind of component.

    The file may be broken, so only its ``type:`` lines are looked at; without one it counts.
    """
    try:
        with file.open("rb") as stream:
            body = stream.read(MAX_BYTES)
    except FileNotFoundError:
        return False
    types = _TYPE.findall(body)
    return not types or any(_is_ours(name.decode("utf-8", "replace")) for name in types)


def _is_ours(name: str) -> bool:
    return not name or "." not in name or name.startswith("mlops_assets.") or "MLProject" in name


def _folders(projects: Path) -> Iterator[Path]:
    for team in _visible_folders(projects):
        yield from _visible_folders(team)


def _visible_folders(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    with os.scandir(directory) as entries:
        return sorted(Path(e.path) for e in entries if e.is_dir() and _is_visible(e.name))


def _is_visible(name: str) -> bool:
    return not name.startswith((".", "__"))
