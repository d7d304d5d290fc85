"""Compare all columns of a window with their reference: effect, significance, verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from mlops_assets.drift.base import DriftTest, Profile, known_count
from mlops_assets.drift.registry import choose_test

State = Literal["drifted", "stable", "insufficient", "missing"]


@dataclass(frozen=True)
class ColumnDrift:
    """What was found about one column.

    Attributes:
        column: Its name.
        kind: ``numeric`` or ``categorical``.
        test: The test's name.
        effect: Effect size.
        threshold: Effect from which it may count as drifted.
        p_value: Probability of such an effect without drift.
        q_value: The same, adjusted for the number of columns (Benjamini and Hochberg 1995).
        state: ``drifted`` only if effect ≥ threshold and q ≤ fdr; ``insufficient`` when there is
            too little to say; ``missing`` when the window lacks the column.
        importance: Share of the model's importance, where it is known.
        missing_before: Missing share of the reference.
        missing_now: Missing share of the window.
    """

    column: str
    kind: str
    test: str
    effect: float | None
    threshold: float
    p_value: float | None
    q_value: float | None
    state: State
    importance: float | None
    missing_before: float
    missing_now: float | None


def compare_columns(
    reference_inputs: Mapping[str, Profile],
    window_inputs: Mapping[str, Profile],
    *,
    tests: Mapping[str, str] | str = "auto",
    thresholds: Mapping[str, float] | None = None,
    fdr: float = 0.05,
    min_rows: int = 1,
    importance: Mapping[str, float] | None = None,
) -> tuple[ColumnDrift, ...]:
    """Test every column of the reference.

    Args:
        reference_inputs: Profiles by column.
        window_inputs: Profiles of the window, with ``reference_counts``.
        tests: One test for all columns, or a test by column; others are chosen by kind.
        thresholds: Effect size by test, in place of its own.
        fdr: Accepted share of false discoveries.
        min_rows: Fewer known values than this are no evidence.
        importance: Share of the model's importance by column.
    """
    found = []
    for column, before in reference_inputs.items():
        now = window_inputs.get(column)
        name = _test_name(tests, column, before["kind"])
        test = choose_test(before["kind"], _distinct(before), name)
        threshold = (thresholds or {}).get(test.name, test.threshold)
        one = _untested(column, before, now, test, threshold)
        one = replace(one, importance=(importance or {}).get(column))
        found.append(_compare(one, test, before, now, min_rows))
    return tuple(_judged(found, fdr))


def drifted_share(columns: Sequence[ColumnDrift]) -> float:
    """Share of the model's importance whose columns drifted; each counts alike without one."""
    weights = [1.0 if one.importance is None else one.importance for one in columns]
    if any(one.importance is not None for one in columns):
        weights = [one.importance or 0.0 for one in columns]
    total = math.fsum(weights)
    drifted = [w for w, one in zip(weights, columns, strict=True) if one.state == "drifted"]
    return math.fsum(drifted) / total if total else 0.0


def _test_name(tests: Mapping[str, str] | str, column: str, kind: str) -> str:
    """One test for all means: for all that it fits."""
    if not isinstance(tests, str):
        return tests.get(column, "auto")
    from mlops_assets.drift.registry import drift_tests

    fits = tests in drift_tests() and kind in drift_tests()[tests].kinds
    return tests if fits else "auto"


def _untested(
    column: str, before: Profile, now: Profile | None, test: DriftTest, threshold: float
) -> ColumnDrift:
    return ColumnDrift(
        column=column,
        kind=before["kind"],
        test=test.name,
        effect=None,
        threshold=threshold,
        p_value=None,
        q_value=None,
        state="missing" if now is None else "insufficient",
        importance=None,
        missing_before=before["missing"],
        missing_now=None if now is None else now["missing"],
    )


def _compare(
    one: ColumnDrift, test: DriftTest, before: Profile, now: Profile | None, min_rows: int
) -> ColumnDrift:
    if now is None or not _is_profiled(before) or not _is_profiled(now):
        return one
    if known_count(now) < min_rows:
        return one
    statistic = test.compare(before, now)
    return replace(one, effect=statistic.effect, p_value=statistic.p_value, state="stable")


def _judged(columns: list[ColumnDrift], fdr: float) -> list[ColumnDrift]:
    """Adjust the p-values of all tested columns together, and decide."""
    from scipy.stats import false_discovery_control

    tested = [one for one in columns if one.p_value is not None]
    if not tested:
        return columns
    adjusted = false_discovery_control([one.p_value for one in tested])
    q_values = {one.column: float(q) for one, q in zip(tested, adjusted, strict=True)}
    return [_decide(one, q_values.get(one.column), fdr) for one in columns]


def _decide(one: ColumnDrift, q_value: float | None, fdr: float) -> ColumnDrift:
    if one.effect is None or q_value is None:
        return one
    drifted = one.effect >= one.threshold and q_value <= fdr
    return replace(one, q_value=q_value, state="drifted" if drifted else "stable")


def _distinct(profile: Profile) -> int:
    if profile["kind"] == "categorical":
        return int(profile.get("distinct", 0))
    return len(set(profile.get("sample", ())))


def _is_profiled(profile: Mapping[str, Any]) -> bool:
    """Whether the profile says more than how much is missing."""
    return bool(profile.get("counts")) and known_count(profile) > 0
