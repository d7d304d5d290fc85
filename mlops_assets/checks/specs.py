"""What is checked, known before any data are: one Dagster check for each expectation."""

from __future__ import annotations

from typing import Any

import dagster as dg

from mlops_assets.config.expectation_catalogue import describe
from mlops_assets.config.expectations import ExpectationSpec, unique_check_names
from mlops_assets.config.project import FEATURES, Project
from mlops_assets.quality.privacy import hide_arguments, is_private

CHECK_PREFIX = "expect_"
"""Begins the name of every check that is an expectation; no check of the engine begins so."""


def check_name(name: str) -> str:
    """Dagster's name of an expectation's check."""
    return CHECK_PREFIX + name


def build_check_specs(
    project: Project, target: str, asset_key: dg.AssetKey
) -> list[dg.AssetCheckSpec]:
    """Checks of a source or of the features; those with severity ``error`` block.

    Args:
        project: The project.
        target: A source name, or ``features``.
        asset_key: The asset that holds the data.
    """
    expectations = project.spec.checks.get(target, ())
    pii = personal_columns(project, target)
    return [
        _check_spec(name, expectation, pii, asset_key)
        for name, expectation in zip(unique_check_names(expectations), expectations, strict=True)
    ]


def personal_columns(project: Project, target: str) -> tuple[str, ...]:
    """Columns marked ``pii`` in a source or in the features."""
    if target == FEATURES:
        return project.spec.features.pii
    return project.spec.sources[target].pii


def expectation_json(expectation: ExpectationSpec, arguments: dict[str, Any]) -> dict[str, Any]:
    """The expectation as it stands in the YAML, with the given arguments."""
    written = expectation.model_dump(mode="json")
    shown = {
        name: written[name] if value == expectation.arguments[name] else value
        for name, value in arguments.items()
    }
    return {"type": expectation.type, **shown}


def _check_spec(
    name: str, expectation: ExpectationSpec, pii: tuple[str, ...], asset_key: dg.AssetKey
) -> dg.AssetCheckSpec:
    arguments = expectation.arguments
    if is_private(expectation.columns, pii):
        arguments = hide_arguments(arguments)
    return dg.AssetCheckSpec(
        name=check_name(name),
        asset=asset_key,
        description=describe(expectation.type, arguments),
        blocking=expectation.severity == "error",
        metadata={
            "expectation": dg.MetadataValue.json(expectation_json(expectation, arguments)),
            "severity": expectation.severity,
        },
    )
