"""Arguments of an expectation together: limits in order, weights that fit their bins."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mlops_assets.config.expectation_arguments import Schema, is_number
from mlops_assets.config.problems import FieldProblem, show


def find_problems_between(
    type_: str, arguments: Mapping[str, Any], known: Mapping[str, Schema]
) -> list[FieldProblem]:
    """What is wrong between arguments that are each right by themselves."""
    found = (
        _bounds_problem(type_, arguments, known),
        _condition_problem(arguments),
        _pair_problem(arguments),
        _quantiles_problem(arguments.get("quantile_ranges")),
        _partition_problem(arguments.get("partition_object")),
    )
    return [problem for problem in found if problem]


def _bounds_problem(
    type_: str, arguments: Mapping[str, Any], known: Mapping[str, Schema]
) -> FieldProblem | None:
    if not {"min_value", "max_value"} <= set(known) or "partition_object" in known:
        return None
    low, high = arguments.get("min_value"), arguments.get("max_value")
    if low is None and high is None:
        return FieldProblem((), "neither min_value nor max_value", f"at least one, for {type_}")
    if low is None or high is None:
        return None
    if is_number(low) != is_number(high):
        found = f"{show(low)} with max_value {show(high)}"
        return FieldProblem(("min_value",), found, "values of one type")
    below = low < high if is_number(low) else _as_datetime(low) < _as_datetime(high)
    equal = low == high if is_number(low) else _as_datetime(low) == _as_datetime(high)
    strict = bool(arguments.get("strict_min") or arguments.get("strict_max"))
    if below or (equal and not strict):
        return None
    rule = "less than" if strict else "at most"
    return FieldProblem(("min_value",), show(low), f"{rule} max_value ({show(high)})")


def _as_datetime(value: Any) -> datetime:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    elif not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    moment: datetime = value
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _condition_problem(arguments: Mapping[str, Any]) -> FieldProblem | None:
    if "condition_parser" in arguments and "row_condition" not in arguments:
        return FieldProblem(("condition_parser",), "a parser", "a row_condition to go with it")
    return None


def _pair_problem(arguments: Mapping[str, Any]) -> FieldProblem | None:
    if "column_A" in arguments and arguments["column_A"] == arguments.get("column_B"):
        return FieldProblem(
            ("column_B",), f"{show(arguments['column_B'])}, which is column_A", "another column"
        )
    return None


def _quantiles_problem(ranges: Any) -> FieldProblem | None:
    """``{quantiles: [0.1, 0.9], value_ranges: [[0, 5], [10, null]]}``"""
    if ranges is None:
        return None
    expected = "quantiles: [0.1, 0.9] and as many value_ranges: [[0, 5], [10, null]]"
    where = ("quantile_ranges",)
    if set(ranges) != {"quantiles", "value_ranges"}:
        return FieldProblem(where, f"the keys {', '.join(map(str, ranges)) or 'none'}", expected)
    quantiles, limits = ranges["quantiles"], ranges["value_ranges"]
    if not _are_shares(quantiles) or sorted(set(quantiles)) != list(quantiles):
        return FieldProblem(
            (*where, "quantiles"), show(quantiles), "increasing numbers from 0 to 1"
        )
    if not isinstance(limits, list | tuple) or len(limits) != len(quantiles):
        return FieldProblem((*where, "value_ranges"), show(limits), expected)
    for index, pair in enumerate(limits):
        if not _is_range(pair):
            return FieldProblem((*where, "value_ranges", index), show(pair), "[lowest, highest]")
    return None


def _are_shares(values: Any) -> bool:
    return (
        isinstance(values, list | tuple)
        and bool(values)
        and all(is_number(value) and 0 <= value <= 1 for value in values)
    )


def _is_range(pair: Any) -> bool:
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        return False
    low, high = pair
    if any(limit is not None and not is_number(limit) for limit in pair):
        return False
    return low is None or high is None or low <= high


def _partition_problem(partition: Any) -> FieldProblem | None:
    """``{values: [a, b], weights: [0.4, 0.6]}`` or ``{bins: [0, 1, 2], weights: [0.4, 0.6]}``"""
    if partition is None:
        return None
    expected = "values (or bins, one more) and weights that sum to 1"
    names = [name for name in ("bins", "values") if name in partition]
    weights = partition.get("weights")
    if len(names) != 1 or set(partition) != {names[0], "weights"} or not _are_shares(weights):
        found = f"the keys {', '.join(map(str, partition)) or 'none'}"
        return FieldProblem(("partition_object",), found, expected)
    edges = partition[names[0]]
    wanted = len(weights) + (names[0] == "bins")
    fits = isinstance(edges, list | tuple) and len(edges) == wanted
    if not fits or abs(sum(weights) - 1) > 1e-6:
        found = f"{len(weights)} weights that sum to {sum(weights):.6g}, {names[0]}: {show(edges)}"
        return FieldProblem(("partition_object",), found, expected)
    return None
