"""Spark SQL types as text, taken apart without Spark."""

from __future__ import annotations

import re
from dataclasses import dataclass

PLAIN = (
    *("boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "string"),
    *("date", "timestamp", "timestamp_ntz", "binary"),
)
"""Types without parameters."""

_ALIASES = {"byte": "tinyint", "short": "smallint", "integer": "int", "long": "bigint"}
_ALIASES |= {"real": "float", "timestamp_ltz": "timestamp"}
_DECIMAL = re.compile(r"^decimal\((\d{1,2}),(\d{1,2})\)$")
_STRUCT_FIELD = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*):(.+)$")


@dataclass(frozen=True)
class SparkType:
    """A type.

    Attributes:
        name: One of :data:`PLAIN`, ``decimal``, ``array`` or ``struct``.
        precision: Of a decimal.
        scale: Of a decimal.
        fields: Inner types by name; an array's only one has the name ``element``.
    """

    name: str
    precision: int = 0
    scale: int = 0
    fields: tuple[tuple[str, SparkType], ...] = ()


def parse_spark_type(text: str) -> SparkType:
    """Take a type apart.

    Raises:
        ValueError: It is none of the types that messages can be read as.
    """
    compact = "".join(text.lower().split())
    compact = _ALIASES.get(compact, compact)
    if compact in PLAIN:
        return SparkType(compact)
    if match := _DECIMAL.match(compact):
        precision, scale = int(match[1]), int(match[2])
        if 0 < precision <= 38 and scale <= precision:
            return SparkType("decimal", precision, scale)
    if compact.startswith("array<") and compact.endswith(">"):
        return SparkType("array", fields=(("element", parse_spark_type(_inner(text))),))
    if compact.startswith("struct<") and compact.endswith(">"):
        return SparkType("struct", fields=tuple(map(_field, _parts(_inner(text)))))
    raise ValueError(f"not a type of messages: {text[:100]}")


def _inner(text: str) -> str:
    """What is between the outermost brackets; names keep upper and lower case."""
    bare = "".join(text.split())
    return bare[bare.index("<") + 1 : -1]


def _field(text: str) -> tuple[str, SparkType]:
    match = _STRUCT_FIELD.match(text)
    if match is None:
        raise ValueError(f"not a field of a struct: {text[:100]}")
    return match[1], parse_spark_type(match[2])


def _parts(text: str) -> list[str]:
    """The text cut at commas that are not inside brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += letter in "<("
        depth -= letter in ">)"
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
