"""What every part of a project's YAML shares: strictness, durations, column names."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from mlops_assets.config.problems import FieldProblem, FieldProblems, show

_DURATION = re.compile(r"^(\d+)(s|m|h|d|w)$")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MAX_DIGITS = 12
MAX_PORT = 65_535
_PORT = re.compile(r":(\d+)(?=[,/]|$)")
MAX_DURATION = timedelta(days=3660)
"""Ten years: nothing here takes longer, and sums with dates stay within the calendar."""


class Spec(BaseModel):
    """Base of all parts of a project's YAML: frozen, and unknown keys are refused.

    A field's docstring, beneath the field, is its description in the JSON Schema, in the
    generated reference and in the editor.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def parse_duration(value: Any) -> timedelta:
    """Read ``90s``, ``30m``, ``26h``, ``14d`` or ``2w``.

    Raises:
        ValueError: The value is not of that form, or longer than ten years.
    """
    if isinstance(value, timedelta):
        return value
    match = _DURATION.match(str(value).strip())
    if match is None:
        raise ValueError("expected a whole number and a unit s, m, h, d or w, such as 26h or 14d")
    unit = timedelta(**{_UNITS[match[2]]: 1})
    if len(match[1]) > _MAX_DIGITS or int(match[1]) > MAX_DURATION // unit:
        expected = f"a duration of at most {format_duration(MAX_DURATION)} (ten years)"
        raise FieldProblems([FieldProblem((), show(value), expected)])
    return int(match[1]) * unit


def format_duration(value: timedelta) -> str:
    """The shortest text that :func:`parse_duration` reads back."""
    seconds = int(value.total_seconds())
    for unit, size in (("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _DURATION.pattern, "examples": ["26h", "14d"]}),
]


def _some_time(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise FieldProblems([FieldProblem((), "no time at all", "1s or more")])
    return value


Timeout = Annotated[Duration, AfterValidator(_some_time)]


def _ports_exist(address: str) -> str:
    """Refuse ports that no machine has; they are not shown, as they may be of the environment."""
    if any(not 1 <= int(port) <= MAX_PORT for port in _PORT.findall(address)):
        expected = f"ports from 1 to {MAX_PORT}"
        raise FieldProblems([FieldProblem((), "a port that no machine has", expected)])
    return address


ExistingPorts = AfterValidator(_ports_exist)
"""For texts with ``:<port>`` in them."""

ColumnName = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
]
"""A column: letters, digits and underscores, as Spark SQL and Triton both accept unquoted."""

VARIABLE_PATTERN = r"^[A-Z_][A-Z0-9_]*$"
VariableName = Annotated[str, Field(pattern=VARIABLE_PATTERN, max_length=200)]
"""An environment variable."""

URL_PATTERN = r"^https?://[^\s@]+$"
"""An address with its scheme and without user and password."""

Fraction = Annotated[float, Field(gt=0, lt=1)]
