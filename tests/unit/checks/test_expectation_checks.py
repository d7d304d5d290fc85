"""Expectations as Dagster checks: names, blocking, evidence, and a failed step's event log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlops_assets.checks import CHECK_PREFIX, build_check_results, build_check_specs
from mlops_assets.config.project import Project, ProjectSpec
from mlops_assets.errors import QualityError
from mlops_assets.keys import PROMOTION_CHECK, ProjectId
from mlops_assets.quality.result import ExpectationResult
from mlops_assets.quality.runner import raise_for_errors

KEY = dg.AssetKey(["flights", "arrival_delay", "raw", "flights"])
NULL = "expect_column_values_to_not_be_null"


def _project(*checks: dict[str, Any], pii: tuple[str, ...] = ()) -> Project:
    spec = ProjectSpec.model_validate(
        {
            "description": "Will this flight arrive late?",
            "task": "binary",
            "sources": {"flights": {"type": "files", "uri": "data", "pii": list(pii)}},
            "checks": {"flights": list(checks)},
            "features": {
                "query": "features.sql",
                "entity": "flight_id",
                "time": "departure",
                "label": {"column": "is_late"},
                "inputs": {"numeric": ["distance"]},
            },
        }
    )
    return Project(ProjectId("flights", "arrival_delay"), spec, Path(), {})


BETWEEN = {"type": "expect_column_values_to_be_between", "column": "distance", "min_value": 1}
DELAYS = {"type": NULL, "column": "delay", "severity": "warn", "mostly": 0.9}


def test_each_expectation_is_a_check() -> None:
    between, null = build_check_specs(_project(BETWEEN, DELAYS), "flights", KEY)
    assert between.name == "expect_column_values_to_be_between__distance"
    assert between.key.asset_key == KEY
    assert (between.blocking, null.blocking) == (True, False)
    assert between.description is not None
    assert between.description.endswith("(inclusive). column = distance, min_value = 1")
    assert null.metadata["expectation"].value == {"type": NULL, "column": "delay", "mostly": 0.9}
    assert build_check_specs(_project(BETWEEN), "features", KEY) == []


def test_no_expectation_takes_the_name_of_an_engine_check() -> None:
    (spec,) = build_check_specs(_project({**BETWEEN, "name": PROMOTION_CHECK}), "flights", KEY)
    assert spec.name == f"{CHECK_PREFIX}{PROMOTION_CHECK}"
    assert not PROMOTION_CHECK.startswith(CHECK_PREFIX)


def test_no_personal_value_is_in_a_check() -> None:
    wanted = {
        "type": "expect_column_values_to_be_in_set",
        "column": "email",
        "value_set": ["ann@example.org"],
    }
    project = _project(wanted, pii=("email",))
    (spec,) = build_check_specs(project, "flights", KEY)
    (expectation,) = project.spec.checks["flights"]
    result = ExpectationResult(expectation, expectation.check_name, False, private=True)
    (evaluated,) = build_check_results([result], KEY)
    assert "ann" not in repr(spec)
    assert "ann" not in repr(evaluated)


def _result(project: Project, position: int, **fields: Any) -> ExpectationResult:
    spec = project.spec.checks["flights"][position]
    return ExpectationResult(spec, spec.check_name, **fields)


def test_a_result_carries_its_evidence() -> None:
    project = _project(BETWEEN, DELAYS)
    (result,) = build_check_results(
        [
            _result(
                project,
                0,
                passed=False,
                unexpected_count=2,
                unexpected_percent=20.0,
                element_count=10,
                missing_count=0,
                unexpected_sample=({"distance": -1, "tags": ["a"]}, {"distance": 0}),
            )
        ],
        KEY,
    )
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert result.check_name == "expect_column_values_to_be_between__distance"
    assert result.description == "2 unexpected of 10 (20 %)"
    metadata = {name: value.value for name, value in result.metadata.items()}
    assert metadata["unexpected_count"] == 2
    assert metadata["unexpected_percent"] == 20.0
    assert metadata["expectation"] == BETWEEN
    assert [record.data for record in result.metadata["unexpected_sample"].records] == [
        {"distance": -1, "tags": '["a"]'},
        {"distance": 0, "tags": None},
    ]
    assert "observed" not in metadata


def test_severity_and_observed_values() -> None:
    project = _project(BETWEEN, DELAYS)
    observed = {"unexpected values": ["SFO"]}
    warn, failed = build_check_results(
        [
            _result(project, 1, passed=False, observed=observed),
            _result(project, 0, passed=False, error="boom", note="look"),
        ],
        KEY,
    )
    assert warn.severity == dg.AssetCheckSeverity.WARN
    assert warn.metadata["observed"].value == observed
    assert failed.metadata["error"].value == "boom"
    assert failed.metadata["note"].value == "look"


def test_dates_in_arguments_become_json() -> None:
    project = _project({**BETWEEN, "min_value": date(2013, 1, 1)})
    (spec,) = build_check_specs(project, "flights", KEY)
    assert json.loads(json.dumps(spec.metadata["expectation"].value))["min_value"] == "2013-01-01"


def _materialize(project: Project, results: list[ExpectationResult]) -> dg.ExecuteInProcessResult:
    """An asset as the engine builds it: checks first, then the failure or the materialization."""

    @dg.asset(key=KEY, check_specs=build_check_specs(project, "flights", KEY))
    def raw() -> Iterator[Any]:
        yield from build_check_results(results, KEY)
        try:
            raise_for_errors(results, "flights")
        except QualityError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        yield dg.MaterializeResult(asset_key=KEY)

    @dg.asset(deps=[KEY])
    def features() -> dg.MaterializeResult:
        return dg.MaterializeResult()

    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize([raw, features], instance=instance, raise_on_error=False)


@pytest.mark.parametrize(
    ("error_passes", "warn_passes", "published"),
    [(True, True, True), (True, False, True), (False, True, False), (False, False, False)],
)
def test_a_failed_error_stops_the_step_and_a_warning_does_not(
    error_passes: bool, warn_passes: bool, published: bool
) -> None:
    project = _project(BETWEEN, DELAYS)
    results = [_result(project, 0, passed=error_passes), _result(project, 1, passed=warn_passes)]
    outcome = _materialize(project, results)
    assert outcome.success is published
    evaluations = {
        (e.check_name, e.passed, e.severity.value) for e in outcome.get_asset_check_evaluations()
    }
    assert evaluations == {
        ("expect_column_values_to_be_between__distance", error_passes, "ERROR"),
        ("expect_column_values_to_not_be_null__delay", warn_passes, "WARN"),
    }
    materialized = {
        event.asset_key.path[-1]
        for event in outcome.get_asset_materialization_events()
        if event.asset_key
    }
    assert materialized == ({"flights", "features"} if published else set())
