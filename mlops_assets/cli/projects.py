"""Which projects a command is about."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from mlops_assets.config.loader import discover, load_project
from mlops_assets.config.project import Project
from mlops_assets.errors import ConfigError
from mlops_assets.keys import ProjectId


def choose_projects(names: Sequence[str], root: Path) -> list[Project]:
    """The named projects, loaded and valid.

    Args:
        names: ``team/project``; none means that the reader is told which there are.
        root: Project root.

    Raises:
        ConfigError: No or an unknown project is named, or its configuration has errors.
    """
    return [_load(project, root) for project in _known(names, root)]


def load_each(names: Sequence[str], root: Path) -> list[tuple[ProjectId, Project | ConfigError]]:
    """The named projects, or what is wrong with each: no broken one hides another.

    Args:
        names: As for :func:`choose_projects`.
        root: Project root.

    Raises:
        ConfigError: No or an unknown project is named.
    """
    return [(project, _load_or_error(project, root)) for project in _known(names, root)]


def _known(names: Sequence[str], root: Path) -> list[ProjectId]:
    known = [str(project) for project in discover(root)]
    if not names:
        raise ConfigError(
            "no project named",
            expected="one or more of: " + (", ".join(known) or "(there are none yet)"),
            fix="name a project, or make one with `mlops new <team>/<project>`",
        )
    return [_known_one(name, known, root) for name in names]


def _known_one(name: str, known: list[str], root: Path) -> ProjectId:
    if name.strip("/") not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise ConfigError(
            f"no project {name!r}",
            where=root / "project_configs",
            expected=f"one of: {', '.join(known) or '(there are none yet)'}",
            fix=f"did you mean {near[0]}?" if near else None,
        )
    return ProjectId.parse(name)


def _load(project: ProjectId, root: Path) -> Project:
    return load_project(root / "project_configs" / project.team / project.name, root)


def _load_or_error(project: ProjectId, root: Path) -> Project | ConfigError:
    try:
        return _load(project, root)
    except ConfigError as error:
        return error


def valid_projects(root: Path) -> tuple[list[Project], list[str]]:
    """Every project that loads, and one sentence for each that does not."""
    found = [(project, _load_or_error(project, root)) for project in discover(root)]
    problems = [
        f"{project} is disabled: {error.problem} (see `mlops check {project}`)"
        for project, error in found
        if isinstance(error, ConfigError)
    ]
    return [project for _, project in found if isinstance(project, Project)], problems
