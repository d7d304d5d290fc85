"""What Great Expectations knows, without importing it: names, arguments, columns.

The data are in ``expectations.json`` beside this file, made by
:mod:`mlops_assets.quality.catalogue`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from mlops_assets.config.expectation_arguments import find_value_problem, in_words
from mlops_assets.config.expectation_relations import find_problems_between
from mlops_assets.config.problems import FieldProblem, nearest, show
from mlops_assets.config.row_condition import condition_columns

SET_BY_THE_ENGINE = frozenset(
    {
        "batch_id",
        "catch_exceptions",
        "description",
        "id",
        "meta",
        "metadata",
        "notes",
        "rendered_content",
        "result_format",
        "windows",
    }
)
"""Arguments that Great Expectations takes and the engine sets."""

COLUMN_ARGUMENTS = ("column", "column_A", "column_B")
OWN_COLUMN_CHECKS = frozenset({"expect_column_to_exist"})
"""Expectations that are themselves about whether a column is there."""


@lru_cache(maxsize=1)
def load_catalogue() -> dict[str, Any]:
    """The catalogue: by name, an expectation's ``description``, ``kind`` and ``arguments``."""
    path = Path(__file__).with_name("expectations.json")
    catalogue: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["expectations"]
    return catalogue


def expectation_names() -> tuple[str, ...]:
    """Names of all expectations that a config may use."""
    return tuple(load_catalogue())


def find_problem(type_: str, arguments: Mapping[str, Any]) -> str | None:
    """The first problem of an expectation in words, or None."""
    problems = find_problems(type_, arguments)
    return str(problems[0]) if problems else None


def find_problems(type_: str, arguments: Mapping[str, Any]) -> list[FieldProblem]:
    """All problems of an expectation; locations start at the expectation.

    Args:
        type_: Name of the expectation.
        arguments: Its arguments, as written.
    """
    entry = load_catalogue().get(type_)
    if entry is None:
        return [_unknown_expectation(type_)]
    known: dict[str, Any] = entry["arguments"]
    problems = [
        _unknown_argument(type_, name, known, arguments) for name in arguments if name not in known
    ]
    unknown = bool(problems)
    for name, schema in known.items():
        if name in arguments:
            problem = find_value_problem(name, arguments[name], schema)
        else:
            problem = _missing(type_, name, schema, unknown)
        if problem:
            problems.append(problem)
    return problems or find_problems_between(type_, arguments, known)


def columns_of(type_: str, arguments: Mapping[str, Any]) -> set[str]:
    """Columns that must exist for the expectation to be evaluated.

    Columns of the row condition count. A column whose existence is itself the question
    (``expect_column_to_exist``, ``expect_table_columns_to_match_set``) does not. For a dotted path
    into a struct, the column is the part before the first dot.
    """
    entry = load_catalogue().get(type_)
    columns: list[Any] = []
    if type_ not in OWN_COLUMN_CHECKS:
        columns += [arguments.get(name) for name in COLUMN_ARGUMENTS]
    if entry is None or entry["kind"] != "table":
        columns += list(arguments.get("column_list") or ())
    condition = arguments.get("row_condition")
    if isinstance(condition, str):
        columns += condition_columns(condition)
    return {column.split(".", 1)[0] for column in columns if isinstance(column, str) and column}


def describe(type_: str, arguments: Mapping[str, Any]) -> str:
    """The expectation in words, with its arguments, on one line."""
    entry = load_catalogue().get(type_)
    sentence = entry["description"] if entry else type_
    given = ", ".join(f"{name} = {_short(value)}" for name, value in arguments.items())
    return f"{sentence} {given}".strip()


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:199]}…"


def _unknown_expectation(type_: str) -> FieldProblem:
    return FieldProblem(
        ("type",),
        f"{show(type_)}, which Great Expectations does not offer on Spark",
        "the name of a Great Expectations core expectation",
        nearest(type_, expectation_names()),
    )


def _unknown_argument(
    type_: str, name: str, known: Mapping[str, Any], given: Mapping[str, Any]
) -> FieldProblem:
    free = [argument for argument in known if argument not in given]
    if name in SET_BY_THE_ENGINE:
        found, hint = f"the argument {name}, which the engine sets", None
    else:
        begun = [argument for argument in free if argument.startswith(name)]
        found = f"the unknown argument {name} of {type_}"
        hint = nearest(name, free) or (begun[0] if begun else None)
    return FieldProblem((name,), found, f"one of {', '.join(known)}", hint, about_key=True)


def _missing(
    type_: str, name: str, schema: Mapping[str, Any], unknown: bool
) -> FieldProblem | None:
    """A missing argument; where it was only misspelt, the unknown argument says enough."""
    if not schema["required"] or unknown:
        return None
    expected = f"{name} ({in_words(schema['types'])}), which {type_} needs"
    return FieldProblem((), f"no {name}", expected)
