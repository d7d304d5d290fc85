"""Drift of a window's inputs and predictions, by the project's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.config.project import ProjectSpec
from mlops_assets.drift.compare import ColumnDrift, compare_columns, drifted_share
from mlops_assets.monitoring.predictions import reference_profile

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops_assets.training.bundle import Bundle

PREDICTION = "prediction"
"""Name of the prediction among the columns of a report."""


def judge_drift(
    spec: ProjectSpec,
    bundle: Bundle,
    reference: Mapping[str, Any],
    profile: Mapping[str, Any],
    source: str,
) -> dict[str, Any]:
    """Compare two profiles column by column.

    Args:
        spec: The project's settings.
        bundle: The model that answered, for the importance of its inputs.
        reference: Profiles to compare with: ``inputs`` and ``prediction``.
        profile: The window's.
        source: What the reference is, in words.

    Returns:
        JSON: ``state`` (``drifted``, ``stable`` or ``insufficient``), the importance-weighted
        ``share`` of drifted inputs, and each column's test.
    """
    drift = spec.monitoring.drift
    names = {column.name for column in bundle.schema.inputs}
    columns = compare_columns(
        {name: one for name, one in reference["inputs"].items() if name in names},
        profile["inputs"],
        tests=drift.tests,
        thresholds=drift.thresholds,
        fdr=drift.fdr,
        min_rows=spec.monitoring.window.min_rows,
        importance=bundle.reference.get("importance"),
    )
    prediction = compare_columns(
        {PREDICTION: reference_profile(bundle, reference["prediction"])},
        {PREDICTION: profile["prediction"]},
        thresholds=drift.thresholds,
        fdr=drift.fdr,
        min_rows=spec.monitoring.window.min_rows,
    )[0]
    judged = any(column.state in ("drifted", "stable") for column in columns)
    share = drifted_share(columns)
    inputs = judged and share >= drift.min_share
    predictions = prediction.state == "drifted"
    state = "drifted" if inputs or predictions else "stable"
    return {
        "state": state if judged else "insufficient",
        "reason": "" if judged else "no column has enough known rows",
        "reference": source,
        "share": share,
        "inputs_drifted": inputs,
        "prediction_drifted": predictions,
        "columns": [_as_json(column) for column in columns],
        "prediction": _as_json(prediction),
        "multivariate": None,
    }


def with_multivariate(
    drift: dict[str, Any], spec: ProjectSpec, bundle: Bundle, sample: pa.Table
) -> dict[str, Any]:
    """The verdict, with a classifier that tells the sample from the training rows.

    Rows that it tells apart count as drifted inputs.
    """
    from mlops_assets.drift.domain_classifier import NAME, THRESHOLD, domain_classifier

    rows = bundle.reference_rows()
    if rows is None:
        return drift
    known = set(rows.column_names) & set(sample.column_names)
    inputs = [column for column in bundle.schema.inputs if column.name in known]
    found = domain_classifier(
        rows,
        _thinned(sample, rows.num_rows),
        [column.name for column in inputs if column.kind == "numeric"],
        [column.name for column in inputs if column.kind == "categorical"],
    )
    if found is None:
        return drift
    threshold = spec.monitoring.drift.thresholds.get(NAME, THRESHOLD)
    apart = found.auc >= threshold and found.p_value <= spec.monitoring.drift.fdr
    changed = {"state": "drifted", "inputs_drifted": True} if apart else {}
    return {**drift, **changed, "multivariate": {**asdict(found), "drifted": apart}}


def no_drift(reason: str) -> dict[str, Any]:
    """What a report says when nothing could be compared."""
    return {
        "state": "insufficient",
        "reason": reason,
        "reference": None,
        "share": 0.0,
        "inputs_drifted": False,
        "prediction_drifted": False,
        "columns": [],
        "prediction": None,
        "multivariate": None,
    }


def _thinned(table: pa.Table, count: int) -> pa.Table:
    """At most so many rows, evenly spaced, so that every hour of the window is among them."""
    places = np.linspace(0, table.num_rows - 1, min(count, table.num_rows)).round()
    return table.take(places.astype(np.int64))


def _as_json(column: ColumnDrift) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in asdict(column).items()
    }
