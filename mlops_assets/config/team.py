"""Reads a team's ``team.yaml``; a team without one has the defaults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from mlops_assets.config.alerts import (
    SECRETS,
    AlertKind,
    AlertsSpec,
    Channel,
    Route,
    Severity,
    TeamSpec,
)
from mlops_assets.config.base import Spec
from mlops_assets.config.environment import referenced_names, resolve
from mlops_assets.config.files import PROJECTS
from mlops_assets.config.problems import (
    FieldProblem,
    FieldProblems,
    Location,
    Problem,
    format_path,
    nearest,
    one_of,
    show,
)
from mlops_assets.config.redaction import Redactor
from mlops_assets.config.spark import SparkExecutors, SparkSpec
from mlops_assets.config.validation import value_at
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
    spec, found = TeamSpec(), [*resolved.problems, *_written_secrets(written)]
    try:
        spec = TeamSpec.model_validate(resolved.data)
    except ValidationError as error:
        taken = {problem.location for problem in found}
        found += [p for p in _translate(error, written) if p.location not in taken]
    problems = _located(found, document, shown, redactor)
    return LoadedTeam(TeamSpec() if problems else spec, redactor, problems)


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


def _translate(error: ValidationError, written: Any) -> Iterator[FieldProblem]:
    """Pydantic's errors at the places where somebody wrote something."""
    for details in error.errors(include_url=False, include_input=False):
        location = _without_tag(details["loc"])
        cause = details.get("ctx", {}).get("error")
        present, value = value_at(written, location)
        found = show(value) if present else "nothing"
        if isinstance(cause, FieldProblems):
            yield from (replace(p, location=(*location, *p.location)) for p in cause.problems)
        elif details["type"] == "extra_forbidden":
            known = _known_keys(location[:-1], written)
            found, hint = f"the unknown key {show(location[-1])}", nearest(location[-1], known)
            yield FieldProblem(location, found, one_of(known), hint, about_key=True)
        elif details["type"].startswith("union_tag"):
            tag = value.get("type") if isinstance(value, dict) else None
            hint = nearest(tag, TYPES)
            yield FieldProblem((*location, "type"), show(tag), one_of(list(TYPES)), hint)
        elif details["type"] == "literal_error":
            known = _choices(location)
            yield FieldProblem(location, found, one_of(known), nearest(value, known))
        else:
            shown = "another value" if _is_secret(location) and present else found
            yield FieldProblem(location, shown, details["msg"].lower())


def _without_tag(location: Location) -> Location:
    """Without the type that pydantic puts behind a channel's name."""
    is_tagged = location[:2] == ("alerts", "channels") and len(location) > 3
    return (*location[:3], *location[4:]) if is_tagged else location


def _known_keys(parent: Location, written: Any) -> list[str]:
    """Keys that may stand at a place."""
    if parent[1:2] == ("channels",):
        kind = str(value_at(written, (*parent, "type"))[1])
        return sorted(TYPES[kind].model_fields)
    models: dict[int, type[Spec]] = {0: TeamSpec, 1: AlertsSpec}
    if parent[:1] == ("spark",):
        models = {1: SparkSpec, 2: SparkExecutors}
    model = models.get(len(parent), Route)
    return sorted(model.model_fields)


def _choices(location: Location) -> list[str]:
    return list(get_args(Severity if "severities" in location else AlertKind))


def _is_secret(location: Location) -> bool:
    return any(location[-1:] == (name,) for names in SECRETS.values() for name in names)


def _written_secrets(written: Any) -> Iterator[FieldProblem]:
    """Secrets that stand in the file itself; what is found is not said."""
    _, channels = value_at(written, ("alerts", "channels"))
    for name, channel in (channels if isinstance(channels, dict) else {}).items():
        kind = channel.get("type") if isinstance(channel, dict) else None
        for key in SECRETS.get(str(kind), ()):
            if key in channel and not referenced_names(channel[key]):
                location = ("alerts", "channels", name, key)
                yield FieldProblem(location, "a secret in the file", "{{ env.NAME }}")


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
