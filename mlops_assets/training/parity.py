"""Do two runtimes give the same answers for the same rows?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mlops_assets.config.deployment import ToleranceSpec
from mlops_assets.config.metrics import Task
from mlops_assets.errors import ParityError


@dataclass(frozen=True)
class ParityReport:
    """How far two runtimes differ.

    Attributes:
        rows: Rows compared.
        worst_absolute: Largest absolute difference (regression: in label standard deviations).
        worst_row: Its row.
        worst_output: Its output column: 0, or the class's place.
        beyond_tolerance: Values that differ by more than ``absolute + relative * |expected|``.
        decisions_changed: Share of rows whose class differs; 0 for regression.
        tolerance: What was allowed.
    """

    rows: int
    worst_absolute: float
    worst_row: int
    worst_output: int
    beyond_tolerance: int
    decisions_changed: float
    tolerance: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def check_parity(
    expected: np.ndarray,
    found: np.ndarray,
    *,
    task: Task,
    tolerance: ToleranceSpec,
    threshold: float = 0.5,
    deviation: float = 1.0,
    runtimes: tuple[str, str] = ("torch", "ONNX Runtime"),
) -> ParityReport:
    """Compare predictions row by row, and by the decisions that follow from them.

    Args:
        expected: Predictions ``(N,)`` or ``(N, K)``.
        found: Those of the other runtime.
        task: The task.
        tolerance: How far they may differ.
        threshold: Probability from which a binary prediction is positive.
        deviation: Regression: standard deviation of the label, the unit of the tolerance.
        runtimes: Names of both, for the message.

    Raises:
        ParityError: They differ by more, have different shapes, or are not finite.
    """
    where = f"{runtimes[0]} against {runtimes[1]}"
    if expected.shape != found.shape:
        raise ParityError(
            "the shapes differ", where=where, found=found.shape, expected=expected.shape
        )
    if len(expected) == 0:
        raise ParityError("there are no rows to compare", where=where)
    first = expected.reshape(len(expected), -1).astype(np.float64) / deviation
    second = found.reshape(len(found), -1).astype(np.float64) / deviation
    _require_finite(first, runtimes[0], where)
    _require_finite(second, runtimes[1], where)
    difference = np.abs(first - second)
    row, output = (int(place) for place in np.unravel_index(difference.argmax(), first.shape))
    allowed = tolerance.absolute + tolerance.relative * np.abs(first)
    report = ParityReport(
        rows=len(first),
        worst_absolute=float(difference[row, output]),
        worst_row=row,
        worst_output=output,
        beyond_tolerance=int(np.count_nonzero(difference > allowed)),
        decisions_changed=_decisions_changed(first, second, task, threshold),
        tolerance=tolerance.model_dump(),
    )
    if report.beyond_tolerance or report.decisions_changed > tolerance.decisions_changed:
        raise ParityError(
            f"{report.beyond_tolerance} values differ beyond the tolerance and "
            f"{report.decisions_changed:.2%} of the decisions change",
            where=where,
            found=f"row {row}, output {output}: {found.reshape(len(found), -1)[row, output]:.6g}",
            expected=f"{expected.reshape(len(expected), -1)[row, output]:.6g}, within "
            f"{tolerance.absolute:g} + {tolerance.relative:g} x its size",
            fix="do not deploy this model; if the model is meant to be that sensitive, write a "
            "wider deployment.tolerance",
        )
    return report


def _require_finite(values: np.ndarray, runtime: str, where: str) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise ParityError(
            f"{runtime} gives {len(bad)} predictions that are no finite numbers",
            where=where,
            found=f"row {bad[0][0]}, output {bad[0][1]}: {values[tuple(bad[0])]}",
            expected="finite numbers",
        )


def _decisions_changed(
    first: np.ndarray, second: np.ndarray, task: Task, threshold: float
) -> float:
    if task == "regression":
        return 0.0
    if task == "binary":
        return float(np.mean((first >= threshold) != (second >= threshold)))
    return float(np.mean(first.argmax(1) != second.argmax(1)))
