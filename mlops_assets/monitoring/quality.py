"""Whether live inputs are fit to be judged at all: bad data page the owner and never retrain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from mlops_assets.config.expectations import ExpectationSpec
from mlops_assets.config.monitoring import QualitySpec
from mlops_assets.config.project import FEATURES, Project

if TYPE_CHECKING:
    import pyarrow as pa

UNCHECKED = frozenset(
    {"expect_column_values_to_be_unique", "expect_column_values_to_be_of_type"}
    | {"expect_column_values_to_be_in_type_list"}
)
"""Expectations about the features as a table, which single requests need not meet."""


@dataclass(frozen=True)
class Finding:
    """One rule on live data.

    Attributes:
        rule: Its name.
        column: The column, if it is about one.
        found: What was there.
        expected: What is allowed.
        passed: Whether it is kept.
        severity: ``error`` makes the window bad; ``warn`` only shows.
    """

    rule: str
    column: str
    found: str
    expected: str
    passed: bool
    severity: str = "error"

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def judge_profiles(
    reference: Mapping[str, Mapping[str, Any]],
    window: Mapping[str, Mapping[str, Any]],
    limits: QualitySpec,
) -> list[Finding]:
    """Compare missing and unseen shares with the reference; only broken rules are returned."""
    found: list[Finding] = []
    for column, before in reference.items():
        now = window.get(column)
        if now is None or not now["count"]:
            continue
        allowed = before["missing"] + limits.max_missing_increase
        if now["missing"] > allowed:
            found.append(_finding("missing values", column, now["missing"], min(allowed, 1.0)))
        unseen = unseen_share(before, now)
        if unseen is not None and unseen > limits.max_unseen_share:
            found.append(_finding("unseen categories", column, unseen, limits.max_unseen_share))
    return found


def unseen_share(before: Mapping[str, Any], now: Mapping[str, Any]) -> float | None:
    """Share of known values whose category the reference lacks.

    Returns:
        None where it cannot be known: numbers, personal data, more categories than are kept.
    """
    if before["kind"] != "categorical" or "counts" not in before or "counts" not in now:
        return None
    if before.get("other"):
        return None
    known = sum(now["counts"].values()) + now.get("other", 0)
    seen = sum(count for text, count in now["counts"].items() if text in before["counts"])
    return 1 - seen / known if known else None


def judge_expectations(project: Project, table: pa.Table) -> list[Finding]:
    """The features' own expectations about model inputs, on live inputs."""
    from mlops_assets.quality.runner import validate

    chosen = live_expectations(project)
    if not chosen or not table.num_rows:
        return []
    columns = sorted({column for spec in chosen for column in spec.columns})
    frame = table.select(columns).to_pandas()
    where = f"{project.id} inference log"
    results = validate(frame, chosen, pii=project.spec.features.pii, where=where)
    return [
        Finding(
            result.check_name,
            ", ".join(sorted(result.spec.columns)),
            result.found,
            result.expected,
            result.passed,
            result.spec.severity,
        )
        for result in results
    ]


def live_expectations(project: Project) -> list[ExpectationSpec]:
    """Expectations on features that speak about model inputs only."""
    inputs = set(project.spec.features.inputs.names)
    return [
        spec
        for spec in project.spec.checks.get(FEATURES, ())
        if spec.columns and spec.columns <= inputs and spec.type not in UNCHECKED
    ]


def _finding(rule: str, column: str, found: float, limit: float) -> Finding:
    return Finding(rule, column, f"{found:.1%}", f"at most {limit:.1%}", passed=False)
