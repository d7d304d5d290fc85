"""``mlops check``: every problem of every project, with its place."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mlops_assets.config.checking import CheckReport
    from mlops_assets.config.problems import Problem


@click.command("check")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]…")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="`github` prints annotations for GitHub Actions.",
)
def check(paths: tuple[Path, ...], form: str) -> None:
    """Report every problem of every project, or of those in the given folders and files.

    Reads YAML, SQL and model files; starts nothing and needs no data. The exit code is 1 when
    there is an error; warnings do not count.
    """
    from mlops_assets.config.checking import check_paths
    from resources.settings import Settings

    root = Settings.from_environment().root
    report = check_paths([_absolute(path, root) for path in paths], root, os.environ)
    click.echo({"text": render_text, "json": render_json, "github": render_github}[form](report))
    if report.errors:
        sys.exit(1)


def _absolute(path: Path, root: Path) -> Path:
    """A path as given, or ``<team>[/<project>]``; links are left as they are."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
    below = root / "project_configs" / path
    return below if not absolute.exists() and below.exists() else absolute


def render_text(report: CheckReport) -> str:
    """One line for each problem, then the sum."""
    lines = [_line(problem) for problem in report.problems]
    return "\n".join([*lines, summary(report)])


def _line(problem: Problem) -> str:
    colour = "red" if problem.severity == "error" else "yellow"
    word = "" if problem.severity == "error" else "warning: "
    return f"{click.style(problem.place, bold=True)}: {click.style(word, fg=colour)}{problem.text}"


def summary(report: CheckReport) -> str:
    """``2 projects in 1 team, 0 problems``."""
    warnings = len(report.problems) - len(report.errors)
    text = (
        f"{_count(len(report.files), 'project')} in {_count(report.teams, 'team')}, "
        f"{_count(len(report.errors), 'problem')}"
    )
    return f"{text}, {_count(warnings, 'warning')}" if warnings else text


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def render_json(report: CheckReport) -> str:
    """The report for programs."""
    problems = [
        {
            "file": problem.file.as_posix(),
            "line": problem.line,
            "column": problem.column,
            "path": problem.path,
            "found": problem.found,
            "expected": problem.expected,
            "suggestion": problem.suggestion,
            "severity": problem.severity,
        }
        for problem in report.problems
    ]
    counts = {"projects": len(report.files), "teams": report.teams, "errors": len(report.errors)}
    return json.dumps({**counts, "problems": problems}, indent=2)


def render_github(report: CheckReport) -> str:
    """GitHub Actions workflow commands: annotations in a pull request."""
    lines = []
    for problem in report.problems:
        place = {"file": problem.file.as_posix(), "line": problem.line, "col": problem.column}
        fields = ",".join(f"{k}={_escape(str(v), ':,')}" for k, v in place.items() if v is not None)
        lines.append(f"::{problem.severity} {fields}::{_escape(problem.text)}")
    return "\n".join([*lines, summary(report)])


def _escape(text: str, more: str = "") -> str:
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
