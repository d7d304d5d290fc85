"""The evaluation of a model: see that rows are unseen, score, measure, compare, decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.config.evaluation import GateSpec
from mlops_assets.config.project import Project
from mlops_assets.evaluation.decision import Facts, decide
from mlops_assets.evaluation.evidence import gather
from mlops_assets.evaluation.measures import measure
from mlops_assets.evaluation.overlap import as_utc, refuse_overlap
from mlops_assets.evaluation.result import EvaluationResult

if TYPE_CHECKING:
    from mlops_assets.training.bundle import Bundle
    from mlops_assets.training.split import Split

__all__ = ["EvaluationResult", "evaluate"]


def evaluate(
    project: Project,
    bundle: Bundle,
    table: pa.Table,
    split: Split,
    champion: Bundle | None,
    *,
    champion_version: int | None = None,
    champion_problem: str | None = None,
) -> EvaluationResult:
    """Judge a model on rows that neither it nor the live model has learned from.

    Args:
        project: The project.
        bundle: The model to judge.
        table: The feature table.
        split: Its division into training, validation and test rows.
        champion: The live model's bundle; ``None`` when nothing is live, or when it cannot be
            read.
        champion_version: The live model's served version.
        champion_problem: Why the live model cannot be read, when there is one.

    Raises:
        EvaluationError: Test rows are not unseen, predictions are malformed, or a slice column is
            missing or personal.
    """
    refuse_overlap(project, bundle, table, split, champion)
    test = table.take(pa.array(split.test))
    evidence = gather(project, test, bundle, champion, champion_problem)
    measured = measure(project, test, evidence)
    spec = project.spec.evaluation
    primary = project.spec.primary.metric
    gates = gate_results(spec.gates, measured.metrics)
    verdict, reason = decide(
        Facts(
            spec=spec,
            primary=primary,
            rows=test.num_rows,
            immature=split.immature,
            metrics=measured.metrics,
            gates=gates,
            problem=evidence.challenger_problem,
            is_live=evidence.is_live,
            has_champion=champion is not None or champion_version is not None,
            champion_version=champion_version,
            champion_problem=evidence.champion_problem,
            comparison=measured.comparison,
        )
    )
    test_from, test_until = _period(test[project.spec.features.time])
    return EvaluationResult(
        verdict=verdict,
        reason=reason,
        task=project.spec.task,
        primary=primary,
        rows=test.num_rows,
        metrics=measured.metrics,
        champion_metrics=measured.champion_metrics,
        champion_version=champion_version,
        champion_problem=evidence.champion_problem,
        comparison=measured.comparison,
        gates=gates,
        slices=measured.slices,
        calibration=measured.calibration,
        curves=measured.curves,
        classes=evidence.classes,
        test_from=test_from,
        test_until=test_until,
        unlabelled=split.unlabelled,
        immature=split.immature,
        bundle_id=bundle.id,
        champion_id=champion.id if champion else None,
    )


def gate_results(
    gates: Sequence[GateSpec], metrics: Mapping[str, float | None]
) -> list[dict[str, Any]]:
    """Each gate with the value it was held against; a metric that is not defined keeps no gate."""
    results = []
    for gate in gates:
        value = metrics[gate.metric]
        passed = (
            value is not None
            and (gate.min is None or value >= gate.min)
            and (gate.max is None or value <= gate.max)
        )
        results.append(
            {
                "metric": gate.metric,
                "min": gate.min,
                "max": gate.max,
                "value": value,
                "passed": passed,
            }
        )
    return results


def _period(times: pa.ChunkedArray) -> tuple[datetime | None, datetime | None]:
    if len(times) == times.null_count:
        return None, None
    span = pc.min_max(pc.cast(times, pa.timestamp("us", getattr(times.type, "tz", None)))).as_py()
    return as_utc(span["min"]), as_utc(span["max"])
