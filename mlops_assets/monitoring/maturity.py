"""Realised performance of windows whose labels are final."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from mlops_assets.config.metrics import METRICS
from mlops_assets.config.project import Project
from mlops_assets.monitoring.answering import Models, split_traffic
from mlops_assets.monitoring.performance import has_decayed, realised_performance
from mlops_assets.monitoring.predictions import classes_of, prediction_array
from mlops_assets.monitoring.register import Part
from mlops_assets.monitoring.report import log_of
from mlops_assets.monitoring.rows import read_labels, read_window
from mlops_assets.monitoring.streams import join_column
from mlops_assets.monitoring.windows import Window

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class LateLabels:
    """A window whose labels should be there and are not.

    Attributes:
        window: The window.
        rows: Its requests.
        labelled: How many of them have a label.
    """

    window: Window
    rows: int
    labelled: int

    @property
    def share(self) -> float:
        """Share of the requests that have a label."""
        return self.labelled / self.rows if self.rows else 0.0


def is_mature(project: Project, window: Window, until: datetime) -> bool:
    """Whether all labels of a window are final by then."""
    return window.end + (project.spec.features.label.matures_after or timedelta(0)) <= until


def judge_performance(
    project: Project, window: Window, log: list[Part], labels: list[Part], models: Models
) -> dict[str, Any] | LateLabels | None:
    """The realised performance of a mature window, as JSON.

    Returns:
        What is missing, when too few labels are there; None for a window without requests.
    """
    spec = log_of(project)
    rows = read_window(log, window, time=spec.time, request_id=spec.request_id)
    if rows is None or not rows.table.num_rows:
        return None
    traffic = split_traffic(rows.table, spec.model_version, models)
    if traffic.bundle is None:
        return None
    own = traffic.own_rows(rows.table, spec.model_version)
    joined = join_labels(own, labels, project)
    declared = project.spec.monitoring.labels
    if declared is None or joined.num_rows < declared.min_share * own.num_rows:
        return LateLabels(window, own.num_rows, joined.num_rows)
    performance = project.spec.monitoring.performance
    metric = project.spec.watched_metric
    realised = realised_performance(
        project.spec.task,
        metric,
        joined[project.spec.features.label.column],
        prediction_array(joined, spec.prediction, traffic.bundle),
        classes=classes_of(traffic.bundle) or None,
        confidence=performance.confidence,
        threshold=project.spec.evaluation.decision_threshold,
    )
    baseline = models.baseline(traffic.bundle.id, metric)
    decayed = None
    if baseline is not None and joined.num_rows >= project.spec.monitoring.window.min_rows:
        decayed = has_decayed(realised, baseline, performance.max_drop, METRICS[metric].goal)
    return {
        "window": {"start": window.start.isoformat(), "end": window.end.isoformat()},
        "bundle_id": traffic.bundle.id,
        "version": traffic.version,
        "requests": own.num_rows,
        "labelled": joined.num_rows,
        "realised": asdict(realised),
        "baseline": baseline,
        "max_drop": performance.max_drop,
        "decayed": decayed,
    }


def join_labels(rows: pa.Table, labels: list[Part], project: Project) -> pa.Table:
    """The requests that have a label, with it."""
    import pyarrow.compute as pc

    join, label = join_column(project), project.spec.features.label.column
    found = read_labels(labels, rows[join], join)
    if label not in found.column_names:
        return rows.slice(0, 0).append_column(label, rows.slice(0, 0)[join])
    found = found.filter(pc.is_valid(found[label]))
    places = pc.index_in(rows[join].combine_chunks(), value_set=found[join].combine_chunks())
    known = pc.is_valid(places)
    kept = rows.filter(known).drop_columns([label] if label in rows.column_names else [])
    return kept.append_column(label, found[label].take(places.filter(known)))
