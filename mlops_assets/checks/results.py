"""Results of expectations as Dagster check results, with their evidence as metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from mlops_assets.checks.specs import check_name, expectation_json
from mlops_assets.quality.result import ExpectationResult


def build_check_results(
    results: Sequence[ExpectationResult], asset_key: dg.AssetKey
) -> list[dg.AssetCheckResult]:
    """One Dagster check result for each expectation."""
    return [_check_result(result, asset_key) for result in results]


def _check_result(result: ExpectationResult, asset_key: dg.AssetKey) -> dg.AssetCheckResult:
    error = result.spec.severity == "error"
    return dg.AssetCheckResult(
        passed=result.passed,
        asset_key=asset_key,
        check_name=check_name(result.check_name),
        severity=dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN,
        description=result.found,
        metadata=_metadata(result),
    )


def _metadata(result: ExpectationResult) -> dict[str, Any]:
    """What is known; what is not is left out."""
    metadata: dict[str, Any] = {
        "expected": result.expected,
        "expectation": dg.MetadataValue.json(expectation_json(result.spec, result.arguments)),
    }
    if result.observed is not None:
        plain = isinstance(result.observed, str | int | float)
        metadata["observed"] = result.observed if plain else dg.MetadataValue.json(result.observed)
    for name in ("unexpected_count", "unexpected_percent", "element_count", "missing_count"):
        value = getattr(result, name)
        if value is not None:
            metadata[name] = value
    if result.unexpected_sample:
        metadata["unexpected_sample"] = _sample_table(result.unexpected_sample)
    for name in ("error", "note"):
        if getattr(result, name):
            metadata[name] = getattr(result, name)
    return metadata


def _sample_table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """The rows as a table; each value as text, so that a column may hold anything."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: _cell(row.get(name)) for name in names}) for row in rows],
        schema=dg.TableSchema(columns=[dg.TableColumn(name=name) for name in names]),
    )


def _cell(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return json.dumps(value, ensure_ascii=False)
