"""``EvaluationResult``: the verdict with its evidence."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

from mlops_assets.evaluation.compare import Comparison

Verdict = Literal["promote", "reject", "blocked", "insufficient_data", "unchanged"]
Metrics = dict[str, float | None]

MAX_TEXT = 1000
FORMAT = 1


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found and decided.

    Attributes:
        verdict: ``promote``; ``reject`` (a gate or the comparison failed); ``blocked`` (the live
            model cannot be compared with); ``insufficient_data``; ``unchanged`` (it is the live
            model).
        reason: Why, in one sentence with the numbers.
        task: ``binary``, ``multiclass`` or ``regression``.
        primary: The metric that decides.
        rows: Test rows.
        metrics: Of the evaluated model on the test rows; ``None`` where not defined.
        champion_metrics: Of the live model on the same rows, when it could be scored.
        champion_version: Its served version.
        champion_problem: Why it could not be compared with.
        comparison: Of the primary metric.
        gates: ``metric``, ``min``, ``max``, ``value`` and ``passed`` of each gate.
        slices: Rows of ``slices.slice_rows``: metrics for each value of the slice columns.
        calibration: Bins of ``calibration.calibration_bins``, for ``challenger`` and
            ``champion``; regression: mean label by mean prediction; multiclass: of the class
            that was predicted.
        curves: What ``curves.curves`` says, for ``challenger`` and ``champion``.
        classes: The classes, for multiclass.
        test_from: Time of the oldest test row.
        test_until: Time of the newest.
        unlabelled: Rows left out because they have no label.
        immature: Rows left out because their labels are not final yet.
        bundle_id: The evaluated bundle.
        champion_id: The live bundle.
    """

    verdict: Verdict
    reason: str
    task: str
    primary: str
    rows: int
    metrics: Metrics
    champion_metrics: Metrics | None = None
    champion_version: int | None = None
    champion_problem: str | None = None
    comparison: Comparison | None = None
    gates: list[dict[str, Any]] = field(default_factory=list)
    slices: list[dict[str, Any]] = field(default_factory=list)
    calibration: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    test_from: datetime | None = None
    test_until: datetime | None = None
    unlabelled: int = 0
    immature: int = 0
    bundle_id: str | None = None
    champion_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe and bounded: no NaN, no values of single rows, at most a few 100 KB."""
        document = {item.name: getattr(self, item.name) for item in fields(self)}
        document["comparison"] = self.comparison.to_dict() if self.comparison else None
        for name in ("test_from", "test_until"):
            document[name] = document[name].isoformat() if document[name] else None
        safe: dict[str, Any] = _json_safe({"format": FORMAT, **document})
        return safe

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> EvaluationResult:
        """Read what :meth:`to_dict` wrote."""
        values = {item.name: document[item.name] for item in fields(cls)}
        if values["comparison"] is not None:
            values["comparison"] = Comparison.from_dict(values["comparison"])
        values["classes"] = tuple(values["classes"])
        for name in ("test_from", "test_until"):
            values[name] = datetime.fromisoformat(values[name]) if values[name] else None
        return cls(**values)


def _json_safe(value: Any) -> Any:
    """Plain Python values only; what is not finite is ``None``; long text is cut."""
    if isinstance(value, dict):
        return {str(key): _json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_safe(item) for item in value]
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else f"{value[: MAX_TEXT - 1]}…"
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
