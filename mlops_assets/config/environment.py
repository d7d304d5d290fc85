"""``{{ env.NAME }}`` in text values, and no other template expression."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlops_assets.config.problems import FieldProblem, Location, nearest, show

_OPENING = ("{{", "{%", "{#")
_EXPRESSION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_REFERENCE = re.compile(r"\s*env\.([A-Za-z_][A-Za-z0-9_]*)\s*")
_EXPECTED = "only {{ env.NAME }}"
_NAMING_KEY = "_env"
_NAMED = re.compile(rf"\w{_NAMING_KEY}[\"']?\s*:\s*[\"']?([A-Z_][A-Z0-9_]*)\b")


@dataclass
class Resolved:
    """A config with its environment references replaced.

    Attributes:
        data: A copy with the values in place.
        values: The values used, by variable name: secret.
        problems: References that could not be resolved, and other template expressions.
        empty: Variables by the place of a text that became empty.
    """

    data: Any = None
    values: dict[str, str] = field(default_factory=dict)
    problems: list[FieldProblem] = field(default_factory=list)
    empty: dict[Location, str] = field(default_factory=dict)

    def explain(self, problem: FieldProblem) -> FieldProblem:
        """A problem with a text that is empty because its variable is."""
        name = self.empty.get(problem.location)
        if name is None or problem.about_key:
            return problem
        found, expected = f"the environment variable {name}, which is empty", f"a value in {name}"
        return replace(problem, found=found, expected=expected, suggestion=None)


def resolve(data: Any, environ: Mapping[str, str]) -> Resolved:
    """Replace every ``{{ env.NAME }}`` in text values; keys and other types stay as they are."""
    resolved = Resolved()
    resolved.data = _resolve(data, (), environ, resolved)
    return resolved


def is_one_reference(value: Any) -> bool:
    """Whether a value is a ``{{ env.NAME }}`` and nothing else."""
    match = _EXPRESSION.fullmatch(value.strip()) if isinstance(value, str) else None
    return match is not None and _REFERENCE.fullmatch(match[1]) is not None


def referenced_names(data: Any) -> set[str]:
    """Names of the environment variables that a config refers to."""
    return {
        match[1]
        for text in _texts(data)
        for expression in _EXPRESSION.findall(text)
        if (match := _REFERENCE.fullmatch(expression))
    }


def named_variables(data: Any) -> set[str]:
    """Environment variables that a config names under keys such as ``uri_env``.

    Args:
        data: A config as written, or the text of its file.
    """
    if isinstance(data, str):
        return set(_NAMED.findall(data))
    if isinstance(data, Mapping):
        own = {
            value
            for key, value in data.items()
            if str(key).endswith(_NAMING_KEY) and isinstance(value, str)
        }
        return own.union(*map(named_variables, data.values()))
    if isinstance(data, list | tuple):
        return set().union(*map(named_variables, data))
    return set()


def _texts(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, Mapping):
        for value in data.values():
            yield from _texts(value)
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _texts(value)


def _resolve(data: Any, location: Location, environ: Mapping[str, str], into: Resolved) -> Any:
    if isinstance(data, str):
        return _resolve_text(data, location, environ, into) if "{" in data else data
    if isinstance(data, dict):
        for key in data:
            if _has_template(key):
                found = f"the key {show(key)}"
                into.problems.append(
                    FieldProblem((*location, key), found, "a key without a template expression")
                )
        return {
            key: _resolve(value, (*location, key), environ, into) for key, value in data.items()
        }
    if isinstance(data, list):
        return [
            _resolve(value, (*location, index), environ, into) for index, value in enumerate(data)
        ]
    return data


def _resolve_text(text: str, location: Location, environ: Mapping[str, str], into: Resolved) -> str:
    if not _has_template(text):
        return text
    parts: list[str] = []
    end = 0
    for match in _EXPRESSION.finditer(text):
        parts.append(text[end : match.start()])
        end = match.end()
        reference = _REFERENCE.fullmatch(match[1])
        if reference is None:
            into.problems.append(FieldProblem(location, show(match[0]), _EXPECTED))
            return text
        value = _value(reference[1], location, environ, into)
        if value is None:
            return text
        parts.append(value)
    parts.append(text[end:])
    if any(_has_template(part) for part in parts[::2]):
        into.problems.append(FieldProblem(location, show(text), _EXPECTED))
        return text
    if text and not any(parts):
        into.empty[location] = ", ".join(sorted(referenced_names(text)))
    return "".join(parts)


def _value(name: str, location: Location, environ: Mapping[str, str], into: Resolved) -> str | None:
    value = environ.get(name)
    if value is None:
        into.problems.append(
            FieldProblem(
                location,
                f"the environment variable {name}, which is not set",
                f"{name} in the environment",
                nearest(name, environ),
            )
        )
        return None
    into.values[name] = value
    return value


def _has_template(text: str) -> bool:
    return any(opening in text for opening in _OPENING)
