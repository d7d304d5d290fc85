"""Every problem of every project in one pass."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops_assets.config.discovery import find_config_files, find_misnamed
from mlops_assets.config.files import CONFIG_FILE, PROJECTS
from mlops_assets.config.loader import Loaded, load_file
from mlops_assets.config.model import CustomModel
from mlops_assets.config.problems import Problem, format_path
from mlops_assets.config.project import ProjectSpec
from mlops_assets.config.query import check_query
from mlops_assets.config.sql import SqlSource
from mlops_assets.config.sql_query import find_sql_problem
from mlops_assets.config.team import load_team
from mlops_assets.config.workspace import find_workspace_problems


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        files: The ``defs.yaml`` of every project that was looked at.
        problems: All problems, by file and line.
    """

    files: tuple[Path, ...]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Problems that make a project invalid."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def teams(self) -> int:
        """Number of teams that own the projects."""
        return len({file.parent.parent for file in self.files})


def check_paths(paths: Sequence[Path], root: Path, environ: Mapping[str, str]) -> CheckReport:
    """Check projects.

    Args:
        paths: Projects, teams, or files in a project; empty: every project.
        root: Project root, the folder of ``workspace.yaml``.
        environ: Where ``{{ env.NAME }}`` is looked up.
    """
    files = sorted({file for path in paths or [root / PROJECTS] for file in _files(path)})
    problems = [problem for file in files for problem in check_file(file, root, environ)]
    for path in paths or [root / PROJECTS]:
        problems += [*_nothing_found(path, root)] or [*_misnamed(path, root)]
    for team in sorted({file.parent.parent.name for file in files}):
        problems += load_team(team, root, environ).problems
    if not paths:
        problems += find_workspace_problems(root, {file.parent.parent.name for file in files})
    return CheckReport(tuple(files), tuple(sorted(problems, key=lambda p: p.sort_key)))


def check_file(file: Path, root: Path, environ: Mapping[str, str]) -> list[Problem]:
    """All problems of one project, with those inside its query and model file."""
    loaded = load_file(file, root, environ)
    if loaded.partial is not None:
        for problem in _companion_problems(loaded, loaded.partial, file.parent):
            loaded.problems.append(problem)
    return loaded.problems


def _companion_problems(loaded: Loaded, spec: ProjectSpec, directory: Path) -> Iterator[Problem]:
    wrong = {problem.path for problem in loaded.problems}
    if "features.query" not in wrong:
        yield from _query_problems(loaded, spec, directory)
    for _, place, source in spec.every_source():
        is_readable = format_path((*place, "query")) not in wrong
        if isinstance(source, SqlSource) and source.query is not None and is_readable:
            yield from _source_query_problems(loaded, source.query, directory)
    if isinstance(spec.model, CustomModel) and "model.file" not in wrong:
        yield from _model_problems(loaded, spec.model.file, directory)


def _query_problems(loaded: Loaded, spec: ProjectSpec, directory: Path) -> Iterator[Problem]:
    shown = loaded.file.parent / spec.features.query
    try:
        sql = (directory / spec.features.query).read_text("utf-8")
    except UnicodeDecodeError:
        yield Problem(shown, None, None, "", "bytes that are not UTF-8", "UTF-8 text")
        return
    report = check_query(sql, spec)
    for problem in report.in_query:
        place, words = (problem.line, problem.column), (problem.found, problem.expected)
        yield Problem(shown, *place, "", *words, problem.suggestion, problem.severity)
    loaded.add(report.in_config)


def _source_query_problems(loaded: Loaded, name: str, directory: Path) -> Iterator[Problem]:
    shown = loaded.file.parent / name
    try:
        problem = find_sql_problem((directory / name).read_text("utf-8"))
    except UnicodeDecodeError:
        yield Problem(shown, None, None, "", "bytes that are not UTF-8", "UTF-8 text")
        return
    if problem is not None:
        line, found, expected = problem
        yield Problem(shown, line, None, "", found, expected)


def _model_problems(loaded: Loaded, name: str, directory: Path) -> Iterator[Problem]:
    shown = loaded.file.parent / name
    try:
        tree = ast.parse((directory / name).read_bytes())
    except (SyntaxError, ValueError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        yield Problem(shown, line, None, "", f"a syntax error ({error})", "valid Python")
        return
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if "build_model" not in names:
        expected = "a function build_model(inputs, **params)"
        yield Problem(shown, None, None, "", "no function build_model", expected)


def _files(path: Path) -> list[Path]:
    """The projects below a path, or the one that it lies in."""
    if path.is_dir() and (below := find_config_files(path)):
        return below
    for folder in [path, *path.parents]:
        if folder.name == PROJECTS:
            break
        if (folder / CONFIG_FILE).is_file():
            return find_config_files(folder)
    return []


def _nothing_found(path: Path, root: Path) -> Iterator[Problem]:
    """A check that looks at nothing must not pass."""
    shown = _shown(path, root)
    if not path.exists():
        yield Problem(shown, None, None, "", "no such file or folder", "a project's folder")
    elif not _files(path):
        hint = next((file.name for file in sorted(path.glob("defs.y*ml"))), None)
        found = f"no project ({hint})" if hint else "no project"
        yield Problem(shown, None, None, "", found, f"<team>/<project>/{CONFIG_FILE} below it")


def _misnamed(path: Path, root: Path) -> Iterator[Problem]:
    for file in find_misnamed(path) if path.is_dir() else []:
        found = "a file of another name, which nothing reads"
        yield Problem(_shown(file, root), None, None, "", found, CONFIG_FILE)


def _shown(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path
