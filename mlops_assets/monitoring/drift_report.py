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
    }


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
    }


def _as_json(column: ColumnDrift) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in asdict(column).items()
    }
