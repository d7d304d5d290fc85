"""The check that says whether a growing source can be taken; alerts are built from it."""

from __future__ import annotations

from typing import Any

import dagster as dg

from mlops_assets.assets.failures import redacted
from mlops_assets.config.project import Project
from mlops_assets.errors import MlopsError
from mlops_assets.keys import INTAKE_CHECK

READABLE = "what is there can be taken"


def intake_spec(key: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check of a ``landing/<source>`` asset; its runs and its sensor evaluate it."""
    return dg.AssetCheckSpec(
        INTAKE_CHECK, asset=key, description="The source is there, and its rows can be taken."
    )


def intake_result(
    project: Project, key: dg.AssetKey, error: MlopsError | None = None
) -> dg.AssetCheckResult:
    """The verdict of a run: about the error that ends it, or that there was none."""
    return dg.AssetCheckResult(asset_key=key, check_name=INTAKE_CHECK, **_verdict(project, error))


def intake_evaluation(
    project: Project, key: dg.AssetKey, error: MlopsError | None = None
) -> dg.AssetCheckEvaluation:
    """The verdict of a sensor, for an error that keeps it from asking for a run."""
    return dg.AssetCheckEvaluation(
        asset_key=key, check_name=INTAKE_CHECK, **_verdict(project, error)
    )


def _verdict(project: Project, error: MlopsError | None) -> dict[str, Any]:
    severity = dg.AssetCheckSeverity.ERROR
    if error is None:
        return {"passed": True, "severity": severity, "description": READABLE}
    parts = {
        "where": error.where,
        "found": error.found,
        "expected": error.expected,
        "what to do": error.fix,
    }
    said = error.problem if error.found is None else f"{error.problem}: {error.found}"
    return {
        "passed": False,
        "severity": severity,
        "description": redacted(project, said),
        "metadata": {name: redacted(project, text) for name, text in parts.items() if text},
    }
