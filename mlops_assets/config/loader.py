"""Reads a project's folder: one strict way for ``mlops``, ``dg`` and the code locations."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlops_assets.config.discovery import discover, find_config_files
from mlops_assets.config.environment import resolve
from mlops_assets.config.files import CONFIG_FILE, PROJECTS, find_file_problems, find_folder_problem
from mlops_assets.config.kafka import KafkaSource
from mlops_assets.config.problems import (
    ConfigProblems,
    FieldProblem,
    Location,
    Problem,
    format_path,
    nearest,
    show,
)
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.config.redaction import Redactor
from mlops_assets.config.schema import COMPONENT_TYPE
from mlops_assets.config.sql import SqlSource
from mlops_assets.config.validation import validate
from mlops_assets.config.yaml_reader import Document, Refusal, read_yaml
from mlops_assets.keys import ProjectId

__all__ = ["Loaded", "discover", "load_file", "load_project", "load_redactor", "load_text"]

_ATTRIBUTES = "attributes"
_TOP = ("type", _ATTRIBUTES)


@dataclass
class Loaded:
    """What came of reading one ``defs.yaml``.

    Attributes:
        file: The file as problems name it.
        document: Places of keys and values.
        written: The attributes as written.
        redactor: Knows the environment values that were used.
        partial: The spec, or one of the parts that are valid: for further rules only.
        problems: Everything that is wrong.
        unresolved: Places of environment references without a value.
    """

    file: Path
    document: Document = field(default_factory=Document)
    written: dict[str, Any] = field(default_factory=dict)
    redactor: Redactor = field(default_factory=Redactor)
    partial: ProjectSpec | None = None
    problems: list[Problem] = field(default_factory=list)
    unresolved: list[Location] = field(default_factory=list)

    @property
    def spec(self) -> ProjectSpec | None:
        """The spec, when nothing is wrong."""
        return None if any(p.severity == "error" for p in self.problems) else self.partial

    def refuse(self, found: str, expected: str) -> Loaded:
        """Add a problem with the file as a whole."""
        self.problems.append(Problem(self.file, None, None, "", found, expected))
        return self

    def add(self, problems: Iterable[FieldProblem], parent: Location = (_ATTRIBUTES,)) -> None:
        """Add problems with fields, except where the reader has already refused what stands there.

        Args:
            problems: Problems with locations below ``parent``.
            parent: Location in the file.
        """
        unread = [refusal.location for refusal in self.document.refusals if refusal.location]
        for problem in problems:
            location = (*parent, *problem.location)
            hidden = unread if problem.about_key else [*unread, *self.unresolved]
            if not any(location[: len(refused)] == refused for refused in hidden):
                self._add_one(location, problem)

    def _add_one(self, location: Location, problem: FieldProblem) -> None:
        place = self.document.place(location, key=True)
        line, column = place or (None, None)
        redact = self.redactor.redact
        found, expected = redact(problem.found), redact(problem.expected)
        path = format_path(_within_attributes(location))
        hint, severity = problem.suggestion, problem.severity
        located = Problem(self.file, line, column, path, found, expected, hint, severity)
        if located not in self.problems:
            self.problems.append(located)


def _within_attributes(location: Location) -> Location:
    """The location as a reader of the reference knows it."""
    inside = len(location) > 1 and location[0] == _ATTRIBUTES
    return location[1:] if inside else location


def load_project(directory: Path, root: Path, environ: Mapping[str, str] | None = None) -> Project:
    """Read and validate a project.

    Args:
        directory: ``<root>/project_configs/<team>/<project>``.
        root: Project root, the folder of ``workspace.yaml``.
        environ: Where ``{{ env.NAME }}`` is looked up; the process's environment by default.

    Raises:
        ConfigProblems: With every problem of the project.
    """
    loaded = load_file(directory / CONFIG_FILE, root, os.environ if environ is None else environ)
    if loaded.spec is None:
        raise ConfigProblems(loaded.problems)
    project = ProjectId(directory.parent.name, directory.name)
    return Project(
        id=project,
        spec=loaded.spec,
        directory=directory,
        written=loaded.written,
        files={
            name: (directory / name).read_text(encoding="utf-8") for name in _texts(loaded.spec)
        },
        binaries={name: (directory / name).read_bytes() for name in _schemas(loaded.spec)},
    )


def _texts(spec: ProjectSpec) -> list[str]:
    """The SQL and Python files that the YAML names."""
    names = [spec.features.query]
    if spec.model.type == "custom":
        names.append(spec.model.file)
    sources = (source for *_, source in spec.every_source())
    return names + [s.query for s in sources if isinstance(s, SqlSource) and s.query]


def _schemas(spec: ProjectSpec) -> list[str]:
    """The schema files of messages that the YAML names."""
    kafka = [source for *_, source in spec.every_source() if isinstance(source, KafkaSource)]
    return [name for source in kafka for _, name, _ in source.files()]


def load_redactor(root: Path, environ: Mapping[str, str]) -> Redactor:
    """A redactor for everything that any project refers to, valid or not.

    Args:
        root: Project root.
        environ: Where ``{{ env.NAME }}`` is looked up.
    """
    files = find_config_files(root / PROJECTS)
    texts = [file.read_text("utf-8", errors="replace") for file in files]
    return Redactor.of_written(texts, environ)


def load_file(file: Path, root: Path, environ: Mapping[str, str]) -> Loaded:
    """Read one ``defs.yaml`` with all rules about files and folders; never raises for its content.

    Args:
        file: The file; shown relative to ``root`` in problems.
        root: Project root.
        environ: Where ``{{ env.NAME }}`` is looked up.
    """
    shown = file.relative_to(root) if file.is_relative_to(root) else file
    directory = file.parent
    if wrong := find_folder_problem(directory, root):
        return Loaded(shown).refuse(*wrong)
    if not file.is_file():
        return Loaded(shown).refuse("no such file", f"a {CONFIG_FILE}")
    if not file.resolve().is_relative_to(directory.resolve()):
        return Loaded(shown).refuse("a link out of the project's folder", "a file inside it")
    loaded = load_text(file.read_bytes(), shown, environ)
    if loaded.partial is not None:
        loaded.add(find_file_problems(loaded.partial, directory))
    return loaded


def load_text(body: bytes, file: Path, environ: Mapping[str, str]) -> Loaded:
    """Read and validate the bytes of a ``defs.yaml``: the part that touches no disk.

    Args:
        body: The file's content.
        file: Its name in problems.
        environ: Where ``{{ env.NAME }}`` is looked up.
    """
    document = read_yaml(body)
    loaded = Loaded(file, document)
    loaded.problems += [_refused(refusal, file) for refusal in document.refusals]
    if not document.complete or not _has_attributes(loaded):
        return loaded
    loaded.written = document.data[_ATTRIBUTES]
    resolved = resolve(loaded.written, environ)
    loaded.redactor = Redactor(resolved.values)
    loaded.add(resolved.problems)
    loaded.unresolved += [(_ATTRIBUTES, *problem.location) for problem in resolved.problems]
    loaded.partial, problems = validate(resolved.data, loaded.written)
    loaded.add(map(resolved.explain, problems))
    return loaded


def _refused(refusal: Refusal, file: Path) -> Problem:
    line, column = refusal.place or (None, None)
    path = format_path(_within_attributes(refusal.location))
    return Problem(file, line, column, path, refusal.found, refusal.expected)


def _has_attributes(loaded: Loaded) -> bool:
    """Judge the top of the file; False when there are no attributes to judge."""
    data = loaded.document.data
    if not isinstance(data, dict):
        found = "an empty file" if data is None else show(data)
        loaded.refuse(found, f"a mapping with {' and '.join(_TOP)}")
        return False
    loaded.add(_top_problems(data), parent=())
    return isinstance(data.get(_ATTRIBUTES), dict)


def _top_problems(data: dict[str, Any]) -> Iterable[FieldProblem]:
    for key in data:
        if key not in _TOP:
            found = f"the unknown key {show(key)}"
            expected = f"{' and '.join(_TOP)}, everything else under {_ATTRIBUTES}"
            yield FieldProblem((key,), found, expected, nearest(key, _TOP))
    if (kind := data.get("type")) != COMPONENT_TYPE:
        hint = COMPONENT_TYPE if kind and COMPONENT_TYPE.endswith(f".{kind}") else None
        hint = hint or nearest(kind, [COMPONENT_TYPE])
        yield FieldProblem(("type",), show(kind), COMPONENT_TYPE, hint)
    if not isinstance(data.get(_ATTRIBUTES), dict):
        yield FieldProblem((_ATTRIBUTES,), show(data.get(_ATTRIBUTES)), "a mapping")
