"""A project's attributes as a ``ProjectSpec``, or everything that is wrong with them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from mlops_assets.config import schema
from mlops_assets.config.model import DEFAULT_MODEL
from mlops_assets.config.problems import (
    FieldProblem,
    FieldProblems,
    Location,
    nearest,
    one_of,
    show,
)
from mlops_assets.config.project import ProjectSpec

MISSING = "nothing"
_PLACEHOLDERS: dict[str, Any] = {
    "description": "-",
    "sources": {"type": "files", "uri": "placeholder"},
}
_LOG = ("monitoring", "inference_log")


def validate(attributes: Any, written: Any) -> tuple[ProjectSpec | None, list[FieldProblem]]:
    """Validate a project's attributes and report everything at once.

    Args:
        attributes: The attributes with environment references resolved.
        written: The attributes as written; what a message shows is taken from these.

    Returns:
        The spec and the problems. When there are problems, the spec is one of the parts that are
        right, for further rules only, or None when the essential parts are not.
    """
    problems = list(booleans_for_numbers(attributes))
    try:
        spec = ProjectSpec.model_validate(attributes)
        if not problems:
            return spec, []
    except ValidationError as error:
        taken = {problem.location for problem in problems}
        problems += [p for p in translate(error, written) if p.location not in taken]
    rest, more = _validate_rest(attributes, problems)
    known = {problem.location for problem in problems}
    return rest, [*problems, *(problem for problem in more if problem.location not in known)]


def booleans_for_numbers(
    data: Any, node: schema.Node | None = None, location: Location = ()
) -> Iterator[FieldProblem]:
    """Python, and so pydantic, counts ``true`` as 1; a reader of YAML does not.

    Args:
        data: What was read.
        node: Its schema; a project's by default.
        location: Where it stands.
    """
    node = schema.project_schema() if node is None else node
    if isinstance(data, bool):
        if node and not schema.takes_booleans(node):
            yield FieldProblem(location, show(data), schema.describe(node))
    elif isinstance(data, dict):
        members = schema.tags(node)
        kind = str(data.get("type", DEFAULT_MODEL if location == ("model",) else None))
        node = members.get(kind, node)
        for key, value in data.items():
            yield from booleans_for_numbers(value, schema.child(node, key), (*location, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from booleans_for_numbers(value, schema.child(node, index), (*location, index))


def translate(
    error: ValidationError, written: Any, root: schema.Node | None = None
) -> list[FieldProblem]:
    """Pydantic's errors as problems at the places where somebody wrote something.

    Args:
        error: The errors.
        written: What was validated, as written.
        root: Its schema; a project's by default.
    """
    root = schema.project_schema() if root is None else root
    found: dict[Location, list[FieldProblem]] = {}
    for details in error.errors(include_url=False, include_input=False):
        for problem in _translate_one(dict(details), written, root):
            found.setdefault(problem.location, []).append(problem)
    return [_merge(location, problems) for location, problems in found.items()]


def _merge(location: Location, problems: list[FieldProblem]) -> FieldProblem:
    """One problem for a value: a union reports one error for each of its members."""
    first = problems[0]
    expected = " or ".join(dict.fromkeys(problem.expected for problem in problems))
    suggestion = next((p.suggestion for p in problems if p.suggestion), None)
    return replace(first, expected=expected, suggestion=suggestion)


def _translate_one(
    details: dict[str, Any], written: Any, root: schema.Node
) -> Iterable[FieldProblem]:
    location, node, about_key = schema.locate(details["loc"], root)
    present, value = value_at(written, location)
    kind = details["type"]
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, FieldProblems):
        return [replace(p, location=(*location, *p.location)) for p in cause.problems]
    if kind == "extra_forbidden":
        return [_unknown_key(location, details["loc"], root)]
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return [_wrong_tag(location, node, value)]
    if kind == "too_short" and present and len(value) >= details["ctx"]["min_length"]:
        return []
    if about_key:
        return [FieldProblem(location, f"the key {show(location[-1])}", schema.describe(node))]
    found = _shown(value, node) if present else MISSING
    if isinstance(cause, ValueError) and "anyOf" not in node and "pattern" not in node:
        return [FieldProblem(location, found, str(cause))]
    suggestion = nearest(value, map(str, node["enum"])) if "enum" in node else None
    return [FieldProblem(location, found, schema.describe(node) or "a value", suggestion)]


def _shown(value: Any, node: schema.Node) -> str:
    """The value, but not where a secret may stand in place of a variable's name."""
    is_name = isinstance(value, str) and schema.names_a_variable(node)
    return "another text (not shown)" if is_name else show(value)


def _unknown_key(location: Location, loc: Location, root: schema.Node) -> FieldProblem:
    name = str(location[-1])
    found = f"the unknown key {show(name)}"
    parent = schema.locate(loc[:-1], root)[1]
    nearby = schema.paths_below(name, parent)
    if not nearby and (kinds := _kinds_with(name, loc, root)):
        expected = f"nothing: {name} is for type: {one_of(kinds)}"
        return FieldProblem(location, found, expected, about_key=True)
    known = sorted(schema.properties(parent))
    elsewhere = nearby if location[1:] else [*nearby, *schema.paths_named(name, root)]
    is_one = len(set(elsewhere)) == 1
    suggestion = nearest(name, known) if not is_one else elsewhere[0]
    return FieldProblem(location, found, one_of(known), suggestion, about_key=True)


def _kinds_with(name: str, loc: Location, root: schema.Node) -> list[str]:
    """Other members of the same tagged union that have a key of this name."""
    members = schema.tags(schema.locate(loc[:-2], root)[1]) if loc[1:] else {}
    if str(loc[-2:][0]) not in members:
        return []
    return [tag for tag, member in members.items() if name in schema.properties(member)]


def _wrong_tag(location: Location, node: schema.Node, value: Any) -> FieldProblem:
    tags = sorted(schema.tags(node))
    tag = value.get("type") if isinstance(value, Mapping) else None
    found = show(tag) if tag is not None else MISSING
    return FieldProblem((*location, "type"), found, one_of(tags), nearest(tag, tags))


def value_at(data: Any, location: Location) -> tuple[bool, Any]:
    """Whether there is something at a location, and what."""
    for part in location:
        in_mapping = isinstance(data, Mapping) and part in data
        if in_mapping or (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            data = data[part]
        else:
            return False, None
    return True, data


def _validate_rest(
    attributes: Any, problems: list[FieldProblem]
) -> tuple[ProjectSpec | None, list[FieldProblem]]:
    """Leave out what is wrong, so that rules between the other fields are still judged.

    Only what has a default, or a harmless stand-in, can be left out.
    """
    if not isinstance(attributes, dict):
        return None, []
    rest = copy.deepcopy(attributes)
    for problem in problems:
        if not _leave_out(rest, problem.location):
            return None, []
    try:
        return ProjectSpec.model_validate(rest), []
    except ValidationError as error:
        return None, translate(error, rest)


def _leave_out(rest: dict[str, Any], location: Location) -> bool:
    """Remove or replace the smallest optional part around a location; False if there is none."""
    section = str(location[0]) if location else ""
    if section not in schema.properties(schema.project_schema()):
        rest.pop(section, None)
        return bool(section)
    if section == "description":
        rest[section] = _PLACEHOLDERS[section]
        return True
    if section == "sources" and len(location) > 1 and isinstance(rest.get(section), dict):
        rest[section][location[1]] = dict(_PLACEHOLDERS[section])
        return True
    if section in ("task", "sources"):
        return False
    if section == "features":
        return _leave_out_key(rest, location)
    if len(location) > 1 and isinstance(rest.get(section), dict) and section != "model":
        rest[section].pop(location[1], None)
        if location[:2] == _LOG:  # labels would be said to lack it
            rest[section][location[1]] = {"uri": "placeholder"}
    else:
        rest.pop(section, None)
    return True


def _leave_out_key(rest: dict[str, Any], location: Location) -> bool:
    """Remove an unknown or optional key of ``features``."""
    parent: schema.Node = schema.project_schema()
    for depth, part in enumerate(location):
        inner = schema.child(parent, part)
        optional = part not in schema.follow(parent).get("required", [])
        present, holder = value_at(rest, location[:depth])
        if optional and isinstance(part, str) and present and isinstance(holder, dict):
            holder.pop(part, None)
            return True
        parent = inner
    return False
