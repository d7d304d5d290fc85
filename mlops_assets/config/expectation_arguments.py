"""Values of an expectation's arguments: types, limits, choices."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from math import isnan
from typing import Any

from mlops_assets.config.problems import FieldProblem, nearest, show
from mlops_assets.config.row_condition import find_condition_problem

Schema = Mapping[str, Any]


def is_number(value: Any) -> bool:
    """A number that is neither a boolean nor NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not isnan(value)


def _is_iso(value: Any) -> bool:
    """A date, a datetime, or ISO text of one."""
    if isinstance(value, date):
        return True
    if not isinstance(value, str) or not re.match(r"^\d{4}-\d{2}-\d{2}", value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


TYPES: dict[str, Callable[[Any], bool]] = {
    "array": lambda value: isinstance(value, list | tuple),
    "boolean": lambda value: isinstance(value, bool),
    "date": _is_iso,
    "datetime": _is_iso,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": is_number,
    "object": lambda value: isinstance(value, Mapping),
    "string": lambda value: isinstance(value, str),
}
WORDS = {
    "array": "a list",
    "boolean": "true or false",
    "date": "a date",
    "datetime": "a date and time",
    "integer": "a whole number",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}


def in_words(types: Sequence[str]) -> str:
    """Names of types for a reader; a date is a date and time too."""
    shown = [kind for kind in types if kind != "datetime" or "date" not in types]
    return " or ".join(WORDS[kind] for kind in shown)


def _found(value: Any) -> str:
    """A value of the wrong type: the value and what it is."""
    if value is None or isinstance(value, bool | list | tuple | Mapping):
        return show(value)
    kind = "number" if is_number(value) else "date" if isinstance(value, date) else "string"
    return f"{show(value)}, which is {WORDS[kind]}"


def find_value_problem(name: str, value: Any, schema: Schema) -> FieldProblem | None:
    """What is wrong with one argument by itself, or None."""
    types: Sequence[str] = schema["types"]
    if not any(TYPES[kind](value) for kind in types):
        return FieldProblem((name,), _found(value), in_words(types))
    if isinstance(value, list | tuple):
        return _list_problem(name, value, schema)
    problem = _choice_problem((name,), value, schema)
    if problem:
        return problem
    minimum, maximum = schema.get("minimum"), schema.get("maximum")
    if is_number(value) and (
        (minimum is not None and value < minimum) or (maximum is not None and value > maximum)
    ):
        limits = (
            f"from {minimum:g} to {maximum:g}" if maximum is not None else f"{minimum:g} or more"
        )
        return FieldProblem((name,), show(value), f"{in_words(types)} {limits}")
    return _text_problem(name, value) if isinstance(value, str) else None


def _list_problem(name: str, values: Sequence[Any], schema: Schema) -> FieldProblem | None:
    if not values:
        return FieldProblem((name,), "an empty list", "at least one value")
    items: Sequence[str] = schema.get("items", ())
    for index, value in enumerate(values):
        if items and not any(TYPES[kind](value) for kind in items):
            return FieldProblem((name, index), _found(value), in_words(items))
        problem = _choice_problem((name, index), value, schema)
        if problem is None and isinstance(value, str):
            problem = _text_problem(name, value, index)
        if problem:
            return problem
    if name in ("value_set", "column_list", "column_set"):
        return _mixed_problem(name, values) or _repeated_problem(name, values)
    if name == "value_pairs_set":
        bad = next((i for i, pair in enumerate(values) if len(pair) != 2), None)
        if bad is not None:
            return FieldProblem((name, bad), f"a list of {len(values[bad])}", "a pair [a, b]")
    return None


def _choice_problem(
    location: tuple[str | int, ...], value: Any, schema: Schema
) -> FieldProblem | None:
    choices: Sequence[Any] = schema.get("choices", ())
    if not choices or value in choices:
        return None
    expected = f"one of {', '.join(map(str, choices))}"
    return FieldProblem(location, show(value), expected, nearest(value, map(str, choices)))


def _mixed_problem(name: str, values: Sequence[Any]) -> FieldProblem | None:
    """Spark compares a column with values of one type only."""
    first = _family(values[0])
    for index, value in enumerate(values):
        if _family(value) != first:
            found = f"{show(value)} beside {show(values[0])}"
            return FieldProblem((name, index), found, "values of one type")
    return None


def _family(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if is_number(value):
        return "number"
    return "date" if isinstance(value, date) else "text"


def _repeated_problem(name: str, values: Sequence[Any]) -> FieldProblem | None:
    seen: set[Any] = set()
    for index, value in enumerate(values):
        if value in seen:
            return FieldProblem((name, index), f"{show(value)} a second time", "each value once")
        seen.add(value)
    return None


def _text_problem(name: str, value: str, index: int | None = None) -> FieldProblem | None:
    location = (name,) if index is None else (name, index)
    if name.startswith("column") and not value.strip():
        return FieldProblem(location, "empty text", "a column")
    if name in ("regex", "regex_list"):
        problem = _regex_problem(value)
        if problem:
            return FieldProblem(location, f"{show(value)}: {problem}", "a regular expression")
    if name == "row_condition":
        problem = find_condition_problem(value)
        if problem:
            return FieldProblem(
                location, problem, "a Spark SQL condition on the row, such as origin = 'JFK'"
            )
    if name == "strftime_format" and not _is_readable_format(value):
        return FieldProblem(location, show(value), "a format such as %Y-%m-%d")
    return None


_JAVA_ONLY = (
    (re.compile(r"\\Q.*?\\E", re.DOTALL), "q"),
    (re.compile(r"\\[pP](\{\^?\w+(=\w+)?\}|[A-Z])"), r"\\w"),
    (re.compile(r"\(\?<(?=[A-Za-z])"), "(?P<"),
    (re.compile(r"\\[hHRX]"), r"\\s"),
    (re.compile(r"\\[zG]"), r"\\Z"),
    (re.compile(r"\\x\{[0-9A-Fa-f]+\}"), "x"),
    (re.compile(r"\\k<\w+>"), ""),
)


def _regex_problem(pattern: str) -> str | None:
    """Why Spark, which uses Java's regular expressions, cannot compile the pattern.

    What only Java writes is replaced before Python compiles the rest.
    """
    if "(?P" in pattern:
        return "Java writes a named group (?<name>…)"
    flags = re.match(r"^\(\?[a-z]+\)", pattern)
    rest = pattern[flags.end() :] if flags else pattern
    for java, python in _JAVA_ONLY:
        rest = java.sub(python, rest)
    try:
        re.compile(rest)
    except re.error as error:
        return str(error)
    return None


def _is_readable_format(text: str) -> bool:
    """Whether dates written in the format can be read again."""
    try:
        datetime.strptime(datetime.now(UTC).strftime(text), text)
    except ValueError:
        return False
    return "%" in text
