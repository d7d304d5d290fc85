"""The report of one window: volume, latency, data quality, drift and estimated performance.

One pass over the window's rows. Nothing but the profile that is frozen with the model bundle is
needed to compare them with; the training data themselves are not read again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.config.monitoring import InferenceLogSpec
from mlops_assets.config.project import Project
from mlops_assets.drift.window import profile_columns
from mlops_assets.errors import ConfigError
from mlops_assets.monitoring.answering import Models, Traffic, reference_of, split_traffic
from mlops_assets.monitoring.cbpe import estimated_performance
from mlops_assets.monitoring.drift_report import (
    PREDICTION,
    judge_drift,
    no_drift,
    with_multivariate,
)
from mlops_assets.monitoring.predictions import chosen_profile, classes_of, prediction_array
from mlops_assets.monitoring.quality import judge_expectations, judge_profiles
from mlops_assets.monitoring.rows import WindowRows
from mlops_assets.monitoring.windows import Window

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_assets.training.bundle import Bundle


@dataclass(frozen=True)
class Judged:
    """What a report is made from.

    Attributes:
        project: The project.
        window: The window.
        table: Its requests.
        traffic: Which versions answered them.
        bundle: The model that answered most of them.
        earlier: Reports of earlier windows, oldest first.
    """

    project: Project
    window: Window
    table: pa.Table
    traffic: Traffic
    bundle: Bundle
    earlier: list[dict[str, Any]]

    @property
    def log(self) -> InferenceLogSpec:
        """Where the columns are declared."""
        return log_of(self.project)


def log_of(project: Project) -> InferenceLogSpec:
    """The declared inference log.

    Raises:
        ConfigError: None is declared.
    """
    log = project.spec.monitoring.inference_log
    if log is None:
        raise ConfigError("no inference log is declared", where=str(project.id))
    return log


def build_report(
    project: Project,
    window: Window,
    rows: WindowRows,
    models: Models,
    earlier: list[dict[str, Any]],
) -> dict[str, Any]:
    """Everything that is known about a window when it closes, as JSON.

    Args:
        project: The project.
        window: The window.
        rows: Its requests.
        models: The bundles by version.
        earlier: Reports of earlier windows, oldest first.
    """
    log = log_of(project)
    table = rows.table
    traffic = split_traffic(table, log.model_version, models)
    report: dict[str, Any] = {
        "window": {"start": window.start.isoformat(), "end": window.end.isoformat()},
        "rows": table.num_rows,
        "enough_rows": table.num_rows >= project.spec.monitoring.window.min_rows,
        "duplicates": rows.duplicates,
        "model_versions": {str(v): n for v, n in sorted(traffic.known.items())},
        "unknown_version_rows": traffic.unknown,
        "version": traffic.version,
        "bundle_id": traffic.bundle.id if traffic.bundle else None,
        "latency_ms": latency(table, log.latency_ms),
        "profile": {},
        "quality": {"state": "insufficient", "findings": []},
        "drift": no_drift("no requests" if not table.num_rows else "no known version answered"),
        "estimated": None,
    }
    if traffic.bundle is None:
        return report
    return report | _judge(Judged(project, window, table, traffic, traffic.bundle, earlier))


def latency(table: pa.Table, column: str) -> dict[str, float] | None:
    """Quantiles of the answering times in milliseconds, where they were logged."""
    import pyarrow.compute as pc

    known = table[column].drop_null()
    known = known.filter(pc.is_finite(known))
    if not len(known):
        return None
    p50, p95, p99 = pc.quantile(known, q=[0.5, 0.95, 0.99]).to_pylist()
    return {"p50": p50, "p95": p95, "p99": p99, "max": pc.max(known).as_py()}


def draw(table: pa.Table, count: int, seed: int) -> pa.Table:
    """At most so many rows, drawn without replacement and the same ones every time."""
    import pyarrow as pa

    if table.num_rows <= count:
        return table
    chosen = np.random.default_rng(abs(seed)).choice(table.num_rows, count, replace=False)
    return table.take(pa.array(np.sort(chosen)))


def _judge(judged: Judged) -> dict[str, Any]:
    spec, bundle, table = judged.project.spec, judged.bundle, judged.table
    reference, source = reference_of(judged.project, bundle, judged.earlier, judged.window)
    training = bundle.reference["inputs"]
    names = [column.name for column in bundle.schema.inputs if column.name in table.column_names]
    sample = draw(table, spec.monitoring.window.sample, int(judged.window.start.timestamp()))
    whole = profile_columns({name: table[name] for name in names}, training)
    basis = reference or bundle.reference
    profile = {
        "inputs": profile_columns({name: sample[name] for name in names}, basis["inputs"]),
        "prediction": _predictions(judged, sample, basis["prediction"]),
    }
    findings = judge_profiles(training, whole, spec.monitoring.quality)
    findings += judge_expectations(judged.project, table)
    is_bad = any(not f.passed and f.severity == "error" for f in findings)
    drift = judge_drift(spec, bundle, reference, profile, source) if reference else no_drift(source)
    if spec.monitoring.drift.multivariate and table.num_rows >= spec.monitoring.window.min_rows:
        drift = with_multivariate(drift, spec, bundle, sample)
    return {
        # Later windows are compared with it, unless the reference is frozen with the model.
        "profile": {} if spec.monitoring.reference == "training" else profile,
        "quality": {
            "state": "bad" if is_bad else "ok",
            "findings": [finding.to_dict() for finding in findings],
        },
        "drift": drift,
        "estimated": _estimate(judged),
    }


def _predictions(judged: Judged, sample: pa.Table, reference: Any) -> dict[str, Any]:
    own = judged.traffic.own_rows(sample, judged.log.model_version)
    values = prediction_array(own, judged.log.prediction, judged.bundle)
    classes = classes_of(judged.bundle)
    if classes:
        return chosen_profile(values, classes)
    columns = profile_columns({PREDICTION: values}, {PREDICTION: reference})
    found: dict[str, Any] = columns[PREDICTION]
    return found


def _estimate(judged: Judged) -> dict[str, Any] | None:
    spec = judged.project.spec
    if spec.task == "regression":
        return None
    own = judged.traffic.own_rows(judged.table, judged.log.model_version)
    values = prediction_array(own, judged.log.prediction, judged.bundle)
    classes = classes_of(judged.bundle)
    estimate = estimated_performance(
        spec.task,
        spec.watched_metric,
        values,
        classes=classes or None,
        threshold=spec.evaluation.decision_threshold,
    )
    return asdict(estimate)
