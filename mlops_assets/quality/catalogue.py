"""Make the catalogue of expectations from the installed Great Expectations.

``python -m mlops_assets.quality.catalogue`` prints the text of ``config/expectations.json``: what
configs are checked against without importing Great Expectations, which takes many seconds.

In the catalogue is every core expectation that says that it runs on Spark. Left out are arguments
that the engine sets itself, the alternatives for suite parameters, and expectations that take a
whole SQL query, which belongs in the features file.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from mlops_assets.config.expectation_catalogue import SET_BY_THE_ENGINE

RESERVED = SET_BY_THE_ENGINE | {"library_metadata", "severity"}
"""Fields of every expectation that are no arguments for a user."""

KINDS = (
    ("ColumnMapExpectation", "column_map"),
    ("ColumnPairMapExpectation", "column_pair_map"),
    ("MulticolumnMapExpectation", "multicolumn_map"),
    ("ColumnAggregateExpectation", "column_aggregate"),
)

ABSTRACT_TYPES = frozenset(
    {"AnyTimeType", "AtomicType", "DataType", "DatetimeType", "UserDefinedType"}
)
MULTICOLUMN_IGNORE = ["all_values_are_missing", "any_value_is_missing", "never"]
SHARE = {"minimum": 0, "maximum": 1}

CORRECTIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("*", "row_condition"): {"types": ["string"]},
    ("expect_table_row_count_to_be_between", "min_value"): {"types": ["integer"], "minimum": 0},
    ("expect_table_row_count_to_be_between", "max_value"): {"types": ["integer"], "minimum": 0},
    ("*", "condition_parser"): {"choices": ["spark"]},
    ("*", "column_list"): {"items": ["string"]},
    ("*", "column_set"): {"types": ["array"], "items": ["string"], "required": True},
    ("*", "value_set"): {"items": ["boolean", "date", "datetime", "number", "string"]},
    ("*", "allow_relative_error"): {"types": ["boolean"]},
    ("expect_select_column_values_to_be_unique_within_record", "ignore_row_if"): {
        "choices": MULTICOLUMN_IGNORE
    },
    ("expect_table_columns_to_match_ordered_list", "column_list"): {"required": True},
    ("expect_column_values_to_be_in_type_list", "type_list"): {"required": True},
    ("expect_column_kl_divergence_to_be_less_than", "partition_object"): {"required": True},
    ("expect_column_kl_divergence_to_be_less_than", "threshold"): {"required": True},
    ("expect_column_values_to_match_regex", "regex"): {"required": True},
    ("expect_column_proportion_of_unique_values_to_be_between", "min_value"): SHARE,
    ("expect_column_proportion_of_unique_values_to_be_between", "max_value"): SHARE,
    ("expect_column_proportion_of_non_null_values_to_be_between", "min_value"): SHARE,
    ("expect_column_proportion_of_non_null_values_to_be_between", "max_value"): SHARE,
}
"""Where Great Expectations' own model is looser than what it runs with on Spark."""


def build_catalogue() -> dict[str, Any]:
    """The catalogue: version and, by name, each expectation's description, kind and arguments."""
    import great_expectations
    from great_expectations.expectations import core

    entries = {}
    for _, kind in sorted(inspect.getmembers(core, inspect.isclass)):
        name = getattr(kind, "expectation_type", None)
        if name and name.startswith("expect_") and _runs_on_spark(kind):
            entries[name] = _entry(name, kind)
    return {
        "great_expectations": great_expectations.__version__,
        "expectations": dict(sorted(entries.items())),
    }


def render_catalogue() -> str:
    """The catalogue as JSON text: one argument on a line, in a stable order."""
    catalogue = build_catalogue()
    lines = ["{", f' "great_expectations": {json.dumps(catalogue["great_expectations"])},']
    lines.append(' "expectations": {')
    entries = []
    for name, entry in catalogue["expectations"].items():
        arguments = ",\n".join(
            f"    {json.dumps(argument)}: {json.dumps(schema)}"
            for argument, schema in entry["arguments"].items()
        )
        entries.append(
            f'  {json.dumps(name)}: {{\n   "description": {json.dumps(entry["description"])},\n'
            f'   "kind": {json.dumps(entry["kind"])},\n   "arguments": {{\n{arguments}\n   }}\n  }}'
        )
    lines.append(",\n".join(entries))
    lines += [" }", "}", ""]
    return "\n".join(lines)


def _metadata(kind: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = kind.schema()["properties"].get("metadata", {})
    fields: dict[str, Any] = metadata.get("properties", {})
    return fields


def _runs_on_spark(kind: Any) -> bool:
    if kind.is_abstract():
        return False
    return "Spark" in _metadata(kind).get("supported_data_sources", {}).get("const", ())


def _entry(name: str, kind: Any) -> dict[str, Any]:
    schema = kind.schema()
    required = set(schema.get("required", ()))
    arguments = {}
    for argument in kind.__fields__:
        if argument in RESERVED:
            continue
        described = _argument(schema["properties"][argument], schema.get("definitions", {}))
        described["required"] = argument in required
        for owner in ("*", name):
            described |= CORRECTIONS.get((owner, argument), {})
        if argument in ("type_", "type_list"):
            described["choices"] = _spark_types()
        if described["required"]:
            described.pop("default", None)
        arguments[argument] = dict(sorted(described.items()))
    return {
        "description": _first_sentence(_metadata(kind)["short_description"]["const"]),
        "kind": _kind(kind),
        "arguments": dict(sorted(arguments.items())),
    }


def _kind(kind: Any) -> str:
    parents = {parent.__name__ for parent in kind.__mro__}
    return next((label for parent, label in KINDS if parent in parents), "table")


def _argument(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Types, limits and choices of one argument, its alternatives flattened."""
    found: dict[str, Any] = {}
    types: set[str] = set()
    for part in _alternatives(schema, definitions):
        types.add({"date-time": "datetime"}.get(part.get("format", ""), part.get("format", "")))
        types.discard("")
        if "format" not in part:
            types.add(part.get("type", "string"))
        if "enum" in part:
            found["choices"] = list(part["enum"])
        if part.get("type") == "array" and "type" in part.get("items", {}):
            found["items"] = sorted({*found.get("items", ()), part["items"]["type"]})
        found |= {key: part[key] for key in ("minimum", "maximum", "maxLength") if key in part}
    if len(types) > 1:
        types.discard("object")
    if schema.get("default") is not None:
        found["default"] = schema["default"]
    return {"types": sorted(types), **found}


def _alternatives(schema: dict[str, Any], definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[-1]]
    branches = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if branches:
        for branch in branches:
            yield from _alternatives(branch, definitions)
    else:
        yield schema


def _spark_types() -> list[str]:
    """Names of the column types of Spark, in Python's spelling."""
    from pyspark.sql import types

    return sorted(
        name
        for name, kind in inspect.getmembers(types, inspect.isclass)
        if issubclass(kind, types.DataType)
        and kind.__module__ == types.__name__
        and name not in ABSTRACT_TYPES
    )


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s", " ".join(text.split()), maxsplit=1)[0]


if __name__ == "__main__":
    sys.stdout.write(render_catalogue())
