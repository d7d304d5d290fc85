"""The JSON Schema of ``defs.yaml``, and what a place in it allows, in words."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from mlops_assets.config.base import URL_PATTERN, VARIABLE_PATTERN, format_duration
from mlops_assets.config.deployment import GRPC_PATTERN
from mlops_assets.config.partitions import DATE_PATTERN
from mlops_assets.config.problems import Location, one_of
from mlops_assets.config.spark import MASTER_PATTERN, PYTHON_PATTERN

COMPONENT_TYPE = "mlops_assets.MLProject"

Node = dict[str, Any]

PATTERNS: dict[str, str] = {
    r"^[A-Za-z_][A-Za-z0-9_]*$": "a column name (letters, digits and underscores)",
    r"^[a-z][a-z0-9_]*$": "a name (lower-case letters, digits and underscores)",
    r"^[a-z][a-z_]*$": "a name (lower-case letters and underscores)",
    VARIABLE_PATTERN: "the name of an environment variable (capital letters and digits)",
    r"^[1-9]\d*(Mi|Gi)$": "an amount of memory such as 512Mi or 8Gi",
    r"^(\d+)(s|m|h|d|w)$": "a duration such as 26h or 14d",
    DATE_PATTERN: "a date such as 2024-01-01",
    r"^(\d+) of (\d+)$": "k of m, such as 2 of 3",
    r"^\d+(\.\d+)?%$": "a percentage such as 1%",
    r"^[A-Za-z0-9._-]+:[0-9]{1,5}$": "host:port",
    r"^expect_[a-z0-9_]+$": "a Great Expectations name such as expect_column_values_to_not_be_null",
    r"^(team:[A-Za-z0-9_.-]+|[^@\s]+@[^@\s]+\.[^@\s]+)$": "team:<name> or an e-mail address",
    r"^[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*$": "<package>.<table>",
    r"^[A-Za-z_][A-Za-z0-9_$]{0,62}\.[A-Za-z_][A-Za-z0-9_$]{0,62}$": "<schema>.<table>",
    r"^[^\s,/@]+:\d{1,5}(,[^\s,/@]+:\d{1,5})*$": "host:port, or several with commas between them",
    r"^[A-Za-z0-9._-]{1,249}$": "a topic (letters, digits, dots, underscores and hyphens)",
    r"^https?://\S+$": "a URL with http:// or https://",
    GRPC_PATTERN: "host:port",
    URL_PATTERN: "a URL with http:// or https:// and without user and password",
    r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$": "a message's full name, such as shop.Order",
    MASTER_PATTERN: (
        "local, spark://<host>:<port>, yarn, k8s://https://<host>:<port> or sc://<host>:<port>"
    ),
    r"^[1-9]\d*[mg]$": "an amount of memory such as 512m or 8g",
    r"^[\w.-]+:[\w.-]+:[\w.-]+$": "Maven coordinates <group>:<artifact>:<version>",
    r"^[A-Za-z0-9.:-]{1,253}$": "a host's name or address",
    PYTHON_PATTERN: "the name or path of a program",
}
"""Words for every pattern of the spec: a reader should not have to read regular expressions."""


class _Generator(GenerateJsonSchema):
    """Writes defaults as people write them."""

    def encode_default(self, dft: Any) -> Any:
        """Durations as ``5m``, which is what a file takes."""
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


@functools.cache
def project_schema() -> Node:
    """JSON Schema of the ``attributes:`` of a project."""
    from mlops_assets.config.project import ProjectSpec

    return _closed(ProjectSpec)


@functools.cache
def team_schema() -> Node:
    """JSON Schema of a ``team.yaml``."""
    from mlops_assets.config.alerts import TeamSpec

    return _closed(TeamSpec)


@functools.cache
def _definitions() -> dict[str, Node]:
    """What references lead to; both schemas have one definition of what they share."""
    return {**team_schema()["$defs"], **project_schema()["$defs"]}


def _closed(spec: type[BaseModel]) -> Node:
    schema = spec.model_json_schema(schema_generator=_Generator)
    _close(schema)
    return schema


def _close(node: Any) -> None:
    """Refuse keys that match no pattern, as the spec does; pydantic does not write that down."""
    if isinstance(node, dict):
        if "patternProperties" in node:
            node.setdefault("additionalProperties", False)
        for inner in node.values():
            _close(inner)
    elif isinstance(node, list):
        for inner in node:
            _close(inner)


def file_schema() -> Node:
    """JSON Schema of a whole ``defs.yaml``, for editors."""
    project = dict(project_schema())
    definitions = project.pop("$defs")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mlops project (defs.yaml)",
        "type": "object",
        "additionalProperties": False,
        "required": ["type", "attributes"],
        "properties": {
            "type": {
                "const": COMPONENT_TYPE,
                "description": "The Dagster component that this file configures.",
            },
            "attributes": project,
        },
        "$defs": definitions,
    }


def follow(node: Node) -> Node:
    """The node itself, behind references and behind ``… or null``."""
    while True:
        if "$ref" in node:
            node = _definitions()[node["$ref"].rsplit("/", 1)[1]]
        elif len(alternatives := _alternatives(node)) == 1 and alternatives[0] is not node:
            node = alternatives[0]
        else:
            return node


def _alternatives(node: Node) -> list[Node]:
    """Members of a union without null; the node itself when it is no union."""
    members = node.get("anyOf") or node.get("oneOf") or [node]
    return [member for member in members if member.get("type") != "null"]


def tags(node: Node) -> dict[str, Node]:
    """Members of a union tagged by ``type``, by tag; empty for anything else."""
    mapping = follow(node).get("discriminator", {}).get("mapping", {})
    return {tag: follow({"$ref": reference}) for tag, reference in mapping.items()}


def locate(location: Location, root: Node | None = None) -> tuple[Location, Node, bool]:
    """Take a pydantic error's location apart.

    Pydantic puts the tags of unions, names of union members and ``[key]`` between the keys that
    somebody wrote; this leaves only the keys.

    Args:
        location: As pydantic says it.
        root: Schema of the whole; a project's by default.

    Returns:
        The location as written, the schema there, and whether the error is about the key.
    """
    about_key = bool(location) and location[-1] == "[key]"
    path: list[str | int] = []
    node = project_schema() if root is None else root
    for part in location[:-1] if about_key else location:
        node = follow(node)
        if members := tags(node):
            node = members.get(str(part), {})
        elif len(_alternatives(node)) == 1:
            path.append(part)
            node = _key(node) if about_key and len(path) == len(location) - 1 else child(node, part)
    return tuple(path), node, about_key


def _key(node: Node) -> Node:
    """Schema of the keys of a free mapping."""
    patterns = list(node.get("patternProperties", {}))
    return {"type": "string", **({"pattern": patterns[0]} if patterns else {})}


def child(node: Node, part: str | int) -> Node:
    """Schema of a key's value or of a list's items; empty where anything goes."""
    node = follow(node)
    if isinstance(part, int):
        return _mapping(node.get("items"))
    if part in node.get("properties", {}):
        return _mapping(node["properties"][part])
    patterns = list(node.get("patternProperties", {}).values())
    return _mapping(node.get("additionalProperties") or (patterns[0] if patterns else None))


def _mapping(node: Any) -> Node:
    return node if isinstance(node, dict) else {}


def takes_booleans(node: Node) -> bool:
    """Whether a boolean may stand here."""
    return any(
        member.get("type", "boolean") == "boolean" and "const" not in member
        for member in map(follow, _alternatives(node))
    )


def properties(node: Node) -> dict[str, Node]:
    """Keys that a mapping may have, with their schemas."""
    found: dict[str, Node] = follow(node).get("properties", {})
    return found


def paths_named(name: str, root: Node) -> list[str]:
    """Paths of the fields with this name outside lists and free mappings."""
    return [path for path, last in _walk(root, "") if last == name]


def paths_below(name: str, parent: Node) -> list[str]:
    """Paths of the fields with this name in the mappings right below one."""
    return [
        f"{key}.{name}"
        for key, inner in properties(parent).items()
        if any(name in properties(member) for member in [inner, *tags(inner).values()])
    ]


def names_a_variable(node: Node) -> bool:
    """Whether the name of an environment variable belongs here, and so, by mistake, a secret."""
    return any(member.get("pattern") == VARIABLE_PATTERN for member in _alternatives(node))


def _walk(node: Node, path: str) -> Iterator[tuple[str, str]]:
    for name, inner in properties(node).items():
        here = f"{path}.{name}" if path else name
        yield here, name
        yield from _walk(inner, here)


def describe(node: Node) -> str:
    """What a value may be, in words."""
    if members := tags(node):
        return f"a mapping with type: {one_of(members)}"
    alternatives = _alternatives(node)
    words = [_describe_one(follow(member)) for member in alternatives]
    nullable = len(node.get("anyOf", [])) > len(alternatives)
    return " or ".join(dict.fromkeys([*words, *(["null"] if nullable else [])]))


def _describe_one(node: Node) -> str:
    if len(_alternatives(node)) > 1:
        return describe(node)
    if "const" in node:
        return str(node["const"])
    if "enum" in node:
        return one_of(map(str, node["enum"]))
    kind = node.get("type")
    if kind == "string":
        return PATTERNS.get(node.get("pattern", ""), "text") + _bounds(node, "Length", "characters")
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _range(node)
    if kind == "boolean":
        return "true or false"
    if kind == "array":
        bounds = _bounds(node, "Items", "entries").replace(" of ", " with ", 1)
        return f"a list{bounds}, each {describe(_mapping(node.get('items')))}"
    if kind == "object":
        return "a mapping" + _bounds(node, "Properties", "entries").replace(" of ", " with ", 1)
    return "any value"


def _bounds(node: Node, suffix: str, unit: str) -> str:
    low, high = node.get(f"min{suffix}"), node.get(f"max{suffix}")
    low = None if low == 1 and suffix == "Length" else low
    if "pattern" in node or (low is None and high is None):
        return ""
    if low is not None and high is not None:
        return f" of {low} to {high} {unit}"
    bound = f"at least {low}" if low is not None else f"at most {high}"
    return f" of {bound} {unit if (low or high) != 1 else _singular(unit)}"


def _singular(unit: str) -> str:
    return unit.removesuffix("ies") + "y" if unit.endswith("ies") else unit.removesuffix("s")


def _range(node: Node) -> str:
    symbols = (
        ("minimum", "≥"),
        ("exclusiveMinimum", ">"),
        ("maximum", "≤"),
        ("exclusiveMaximum", "<"),
    )
    bounds = [f"{symbol} {node[key]:,}" for key, symbol in symbols if key in node]
    return f" {' and '.join(bounds)}" if bounds else ""
