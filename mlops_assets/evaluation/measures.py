"""Everything that is measured on the test rows: metrics, comparison, slices, curves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlops_assets.config.project import Project
from mlops_assets.evaluation.calibration import calibration_bins
from mlops_assets.evaluation.compare import Comparison, paired_bootstrap
from mlops_assets.evaluation.curves import curves
from mlops_assets.evaluation.evidence import Evidence
from mlops_assets.evaluation.metrics import compute_metrics, metrics_for, prepare
from mlops_assets.evaluation.result import Metrics
from mlops_assets.evaluation.slices import slice_rows

Array = NDArray[Any]


@dataclass(frozen=True)
class Measured:
    """The parts of an ``EvaluationResult`` that are measured."""

    metrics: Metrics
    champion_metrics: Metrics | None = None
    comparison: Comparison | None = None
    slices: list[dict[str, Any]] = field(default_factory=list)
    calibration: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)


def measure(project: Project, test: pa.Table, evidence: Evidence) -> Measured:
    """Measure both models on the same rows.

    Without usable predictions every metric is ``None`` and the rest is empty.
    """
    challenger, champion = evidence.challenger, evidence.champion
    if challenger is None:
        return Measured(dict.fromkeys(metrics_for(project.spec.task)))
    everywhere = np.arange(test.num_rows)
    metrics = _metrics(project, evidence, challenger, everywhere)
    calibration = {"challenger": _calibration(project, evidence, challenger)}
    lines = {"challenger": _curves(project, evidence, challenger)}
    slices = _slices(project, test, evidence, challenger)
    if champion is None:
        return Measured(metrics, slices=slices, calibration=calibration, curves=lines)
    old = _metrics(project, evidence, champion, everywhere)
    return Measured(
        metrics=metrics,
        champion_metrics=old,
        comparison=_compare(project, evidence, (champion, challenger), (old, metrics)),
        slices=slices,
        calibration={**calibration, "champion": _calibration(project, evidence, champion)},
        curves={**lines, "champion": _curves(project, evidence, champion)},
    )


def margin_of(non_inferior_within: float | str, champion_value: float) -> float:
    """The margin in the metric's own unit; ``"1%"`` is of the champion's value."""
    if isinstance(non_inferior_within, str):
        return float(non_inferior_within.rstrip("%")) / 100 * abs(champion_value)
    return float(non_inferior_within)


def _metrics(project: Project, evidence: Evidence, prediction: Array, rows: Array) -> Metrics:
    return compute_metrics(
        project.spec.task,
        evidence.labels[rows],
        prediction[rows],
        threshold=project.spec.evaluation.decision_threshold,
        classes=evidence.classes,
    )


def _compare(
    project: Project,
    evidence: Evidence,
    predictions: tuple[Array, Array],
    metrics: tuple[Metrics, Metrics],
) -> Comparison | None:
    """The paired comparison, where the primary metric is defined for champion and challenger."""
    spec, primary = project.spec.evaluation, project.spec.primary.metric
    champion_value = metrics[0][primary]
    if champion_value is None or metrics[1][primary] is None:
        return None
    return paired_bootstrap(
        project.spec.task,
        primary,
        evidence.labels,
        predictions[0],
        predictions[1],
        resamples=spec.promote_if.resamples,
        confidence=spec.promote_if.confidence,
        margin=margin_of(spec.promote_if.non_inferior_within, champion_value),
        seed=project.spec.training.seed,
        threshold=spec.decision_threshold,
        classes=evidence.classes,
        groups=evidence.groups,
    )


def _slices(
    project: Project, test: pa.Table, evidence: Evidence, challenger: Array
) -> list[dict[str, Any]]:
    champion = evidence.champion
    by_challenger = _measure_of(project, evidence, challenger)
    by_champion = None if champion is None else _measure_of(project, evidence, champion)
    primary = project.spec.primary.metric

    def of_rows(rows: NDArray[np.int64]) -> dict[str, Any]:
        new = by_challenger(rows)
        old = by_champion(rows) if by_champion else None
        difference = _difference(new[primary], old[primary] if old else None)
        return {"metrics": new, "champion_metrics": old, "difference": difference}

    columns = project.spec.evaluation.slices
    return slice_rows(test, columns, of_rows, pii=project.spec.features.pii)


def _difference(new: float | None, old: float | None) -> float | None:
    return None if new is None or old is None else new - old


def _measure_of(
    project: Project, evidence: Evidence, prediction: Array
) -> Callable[[NDArray[np.int64]], Metrics]:
    return lambda rows: _metrics(project, evidence, prediction, rows)


def _calibration(project: Project, evidence: Evidence, prediction: Array) -> list[dict[str, Any]]:
    y, p = prepare(project.spec.task, evidence.labels, prediction, evidence.classes)
    if project.spec.task == "multiclass":
        return calibration_bins(p.argmax(axis=1) == y, p.max(axis=1))
    return calibration_bins(y, p)


def _curves(project: Project, evidence: Evidence, prediction: Array) -> dict[str, Any]:
    y, p = prepare(project.spec.task, evidence.labels, prediction, evidence.classes)
    return curves(project.spec.task, y, p, evidence.classes)
