"""Keep values of personal columns out of everything that is shown."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

MASK = "‹pii›"

VALUE_ARGUMENTS = frozenset({"partition_object", "row_condition", "value_pairs_set", "value_set"})
"""Arguments that list values of the column themselves."""

MEASURED_AS_COUNTS = frozenset(
    {
        "expect_column_proportion_of_non_null_values_to_be_between",
        "expect_column_proportion_of_unique_values_to_be_between",
        "expect_column_type_to_be",
        "expect_column_unique_value_count_to_be_between",
        "expect_column_values_to_be_in_type_list",
        "expect_column_values_to_be_of_type",
        "expect_table_row_count_to_be_between",
        "expect_table_row_count_to_equal",
    }
)
"""Expectations whose measurement gives no value away. A mean does: of one row, it is the value."""

MAX_ERROR = 500
_CALL_SITE = re.compile(r"\s*(== (DataFrame|SQL) ==|JVM stacktrace:|Traceback \(most recent)")
_ERROR_CONDITION = re.compile(r"\[([A-Z][A-Z0-9_]*(?:\.[A-Z][A-Z0-9_]*)*)\]")


def is_private(columns: Iterable[str], pii: Collection[str]) -> bool:
    """Whether one of the columns is personal. Spark does not tell ``Email`` from ``email``."""
    personal = {column.lower() for column in pii}
    return any(column.split(".", 1)[0].lower() in personal for column in columns)


def hide_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with the column's values masked."""
    return {name: MASK if name in VALUE_ARGUMENTS else value for name, value in arguments.items()}


def hide_observed(type_: str, observed: Any) -> Any:
    """What was measured on a personal column, unless it is a count."""
    return observed if observed is None or type_ in MEASURED_AS_COUNTS else MASK


def hide_row(
    row: Mapping[str, Any], columns: Collection[str], pii: Collection[str]
) -> dict[str, Any]:
    """A row for display: personal columns that the expectation reads masked, others left out."""
    shown = {}
    for name, value in row.items():
        if not is_private([name], pii):
            shown[name] = value
        elif name in columns:
            shown[name] = MASK
    return shown


def hide_error(text: str, pii: Collection[str]) -> str:
    """An error text of bounded length, without the place in the code.

    Engines quote the value that they stumbled over, of whichever column. Where any column is
    personal, only the error's condition names are left.
    """
    if not pii:
        words = " ".join(_CALL_SITE.split(text, maxsplit=1)[0].split())
        return words if len(words) <= MAX_ERROR else f"{words[: MAX_ERROR - 1]}…"
    conditions = list(dict.fromkeys(_ERROR_CONDITION.findall(text)))[:3]
    return f"{', '.join(conditions) or 'an error'} (details withheld: the data have {MASK} columns)"
