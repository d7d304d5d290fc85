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
_RARE = ("decimal", "void", "variant")
_WITH_WORDS = ("interval", "stringcollate")
_DECIMAL_ALIAS = re.compile(r"^(?:dec|numeric)(?=\(|$)(.*)$")
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


def is_table_type(text: str) -> bool:
    """Whether a table can have a column of this type, as Spark names it.

    Wider than :func:`parse_spark_type`: tables have maps and intervals too.
    """
    compact = _canonical("".join(text.lower().split()))
    if match := _DECIMAL.match(compact):
        return 0 < int(match[1]) <= 38 and int(match[2]) <= int(match[1])
    for name, number in (("array", 1), ("map", 2), ("struct", 0)):
        if compact.startswith(f"{name}<") and compact.endswith(">"):
            parts = _parts(_inner(compact))
            inner = parts if number else [part.partition(":")[2] for part in parts]
            return number in (0, len(parts)) and all(map(is_table_type, inner))
    return compact in PLAIN or compact in _RARE or compact.startswith(_WITH_WORDS)


def _canonical(compact: str) -> str:
    return _ALIASES.get(compact, _DECIMAL_ALIAS.sub(r"decimal\1", compact))


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
