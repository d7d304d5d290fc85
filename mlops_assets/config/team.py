"""Reads a team's ``team.yaml``; a team without one has the defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from mlops_assets.config.alerts import TeamSpec
from mlops_assets.config.environment import resolve
from mlops_assets.config.files import PROJECTS
from mlops_assets.config.problems import FieldProblem, FieldProblems, Problem, format_path, show
from mlops_assets.config.redaction import Redactor
from mlops_assets.config.validation import value_at
from mlops_assets.config.yaml_reader import Document, Refusal, read_yaml

TEAM_FILE = "team.yaml"


@dataclass
class LoadedTeam:
    """What came of reading one ``team.yaml``.

    Attributes:
        spec: The settings; the defaults when something is wrong or there is no file.
        redactor: Knows the environment values that were used.
        problems: Everything that is wrong.
    """

    spec: TeamSpec = field(default_factory=TeamSpec)
    redactor: Redactor = field(default_factory=Redactor)
    problems: list[Problem] = field(default_factory=list)


def load_team(team: str, root: Path, environ: Mapping[str, str]) -> LoadedTeam:
    """Read a team's settings; never raises for their content.

    Args:
        team: Folder name under ``project_configs``.
        root: Project root.
        environ: Where ``{{ env.NAME }}`` is looked up.
    """
    file = root / PROJECTS / team / TEAM_FILE
    shown = file.relative_to(root)
    if not file.is_file():
        return LoadedTeam()
    if file.resolve().parent != file.parent.resolve():
        problem = Problem(shown, None, None, "", "a link to another folder", "a file of its own")
        return LoadedTeam(problems=[problem])
    document = read_yaml(file.read_bytes())
    problems = [_refused(refusal, shown) for refusal in document.refusals]
    if problems or not document.complete:
        return LoadedTeam(problems=problems)
    resolved = resolve(document.data or {}, environ)
    redactor = Redactor(resolved.values)
    try:
        spec = TeamSpec.model_validate(resolved.data)
    except ValidationError as error:
        found = [*resolved.problems, *_translate(error, document)]
        return LoadedTeam(redactor=redactor, problems=_located(found, document, shown, redactor))
    problems = _located(resolved.problems, document, shown, redactor)
    return LoadedTeam(TeamSpec() if problems else spec, redactor, problems)


def _refused(refusal: Refusal, shown: Path) -> Problem:
    line, column = refusal.place or (None, None)
    path = format_path(refusal.location)
    return Problem(shown, line, column, path, refusal.found, refusal.expected)


def _translate(error: ValidationError, document: Document) -> list[FieldProblem]:
    """Pydantic's errors at the places where somebody wrote something."""
    found: list[FieldProblem] = []
    for details in error.errors(include_url=False, include_input=False):
        location = tuple(part for part in details["loc"] if part not in ("log", "webhook", "email"))
        cause = details.get("ctx", {}).get("error")
        if isinstance(cause, FieldProblems):
            found += [
                FieldProblem((*location, *p.location), p.found, p.expected, p.suggestion)
                for p in cause.problems
            ]
            continue
        present, value = value_at(document.data, location)
        words = "no such key" if details["type"] == "extra_forbidden" else details["msg"].lower()
        found.append(FieldProblem(location, show(value) if present else "nothing", words))
    return found


def _located(
    problems: Iterable[FieldProblem], document: Document, shown: Path, redactor: Redactor
) -> list[Problem]:
    located = []
    for problem in problems:
        line, column = document.place(problem.location, key=True) or (None, None)
        path = format_path(problem.location)
        words = redactor.redact(problem.found), redactor.redact(problem.expected)
        located.append(Problem(shown, line, column, path, *words, problem.suggestion))
    return located
