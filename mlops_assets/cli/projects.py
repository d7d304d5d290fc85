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
    known = [str(project) for project in discover(root)]
    if not names:
        raise ConfigError(
            "no project named",
            expected="one or more of: " + (", ".join(known) or "(there are none yet)"),
            fix="name a project, or make one with `mlops new <team>/<project>`",
        )
    return [_load(name, known, root) for name in names]


def _load(name: str, known: list[str], root: Path) -> Project:
    if name.strip("/") not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise ConfigError(
            f"no project {name!r}",
            where=root / "project_configs",
            expected=f"one of: {', '.join(known) or '(there are none yet)'}",
            fix=f"did you mean {near[0]}?" if near else None,
        )
    project = ProjectId.parse(name)
    return load_project(root / "project_configs" / project.team / project.name, root)


def valid_projects(root: Path) -> tuple[list[Project], list[str]]:
    """Every project that loads, and one sentence for each that does not."""
    projects: list[Project] = []
    problems: list[str] = []
    for project in discover(root):
        try:
            projects.append(_load(str(project), [str(project)], root))
        except ConfigError as error:
            problems.append(f"{project} is disabled: {error.problem} (see `mlops check {project}`)")
    return projects, problems
