"""Reads a team's ``team.yaml``; a team without one has the defaults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from mlops_assets.config import schema
from mlops_assets.config.alerts import SECRETS, Channel, TeamSpec
from mlops_assets.config.base import Spec
from mlops_assets.config.environment import Resolved, is_one_reference, resolve
from mlops_assets.config.files import PROJECTS
from mlops_assets.config.problems import FieldProblem, Problem, format_path
from mlops_assets.config.redaction import Redactor
from mlops_assets.config.spark import SparkSpec, find_image_problem
from mlops_assets.config.validation import booleans_for_numbers, translate, value_at
from mlops_assets.config.yaml_reader import Document, Refusal, read_yaml
from mlops_assets.errors import ConfigError

TEAM_FILE = "team.yaml"
TYPES: dict[str, type[Spec]] = {
    get_args(model.model_fields["type"].annotation)[0]: model
    for model in get_args(get_args(Channel)[0])
}


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
    written = {} if document.data is None else document.data
    resolved = resolve(written, environ)
    redactor = Redactor(resolved.values)
    problems = _located(_problems(resolved, written), document, shown, redactor)
    spec = TeamSpec() if problems else TeamSpec.model_validate(resolved.data)
    return LoadedTeam(spec, redactor, problems)


def team_spark(team: str, root: Path, environ: Mapping[str, str]) -> SparkSpec:
    """Where a team's data are transformed.

    Raises:
        ConfigError: The team's file is wrong.
    """
    loaded = load_team(team, root, environ)
    if loaded.problems:
        raise ConfigError(
            "the team's settings are wrong",
            where=f"{team}/{TEAM_FILE}",
            found=loaded.problems[0].found,
            expected=loaded.problems[0].expected,
            fix="run `mlops check` for all of them",
        )
    return loaded.spec.spark


def _refused(refusal: Refusal, shown: Path) -> Problem:
    line, column = refusal.place or (None, None)
    path = format_path(refusal.location)
    return Problem(shown, line, column, path, refusal.found, refusal.expected)


def _problems(resolved: Resolved, written: Any) -> Iterator[FieldProblem]:
    """Everything that is wrong with what a team wrote, without the secrets in it."""
    known = [*resolved.problems, *_written_secrets(written)]
    yield from known
    found = list(booleans_for_numbers(resolved.data, schema.team_schema()))
    try:
        found += find_image_problem(TeamSpec.model_validate(resolved.data).spark)
    except ValidationError as error:
        found += translate(error, written, schema.team_schema())
    taken = {problem.location for problem in known}
    for problem in map(resolved.explain, found):
        if problem.location not in taken:
            taken.add(problem.location)
            yield problem


def _written_secrets(written: Any) -> Iterator[FieldProblem]:
    """Secrets that stand in the file itself; what is found is not said."""
    _, channels = value_at(written, ("alerts", "channels"))
    for name, channel in (channels if isinstance(channels, dict) else {}).items():
        kind = channel.get("type") if isinstance(channel, dict) else None
        for key in SECRETS.get(str(kind), ()):
            if channel.get(key) is not None and not is_one_reference(channel[key]):
                location = ("alerts", "channels", name, key)
                expected = "{{ env.NAME }}, and nothing beside it"
                yield FieldProblem(location, "a secret in the file", expected)


def _located(
    problems: Iterable[FieldProblem], document: Document, shown: Path, redactor: Redactor
) -> list[Problem]:
    located = []
    for problem in problems:
        line, column = document.place(problem.location, key=problem.about_key) or (None, None)
        path = format_path(problem.location)
        words = redactor.redact(problem.found), redactor.redact(problem.expected)
        located.append(Problem(shown, line, column, path, *words, problem.suggestion))
    return located
