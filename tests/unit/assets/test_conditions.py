"""The automation conditions, evaluated by Dagster itself on a small graph."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.definitions.freshness import (
    FreshnessState,
    FreshnessStateChange,
    FreshnessStateEvaluation,
)

from mlops_assets.assets.conditions import downstream_condition, raw_condition

RAW = dg.AssetKey("raw")
FEATURES = dg.AssetKey("features")
MODEL = dg.AssetKey("model")


def graph(
    version: str, *, passes: bool = True, code: str = "1", automatic: bool = True
) -> dg.Definitions:
    condition = downstream_condition() if automatic else None

    @dg.asset(key=RAW, check_specs=[dg.AssetCheckSpec("quality", asset=RAW, blocking=True)])
    def raw() -> Iterator[object]:
        yield dg.AssetCheckResult(check_name="quality", passed=passes)
        if not passes:
            raise dg.Failure("quality", allow_retries=False)
        yield dg.MaterializeResult(data_version=dg.DataVersion(version))

    @dg.asset(key=FEATURES, deps=[RAW], automation_condition=condition)
    def features() -> dg.MaterializeResult[object]:
        return dg.MaterializeResult(data_version=dg.DataVersion(f"f{version}"))

    @dg.asset(key=MODEL, deps=[FEATURES], code_version=code, automation_condition=condition)
    def model() -> dg.MaterializeResult[object]:
        return dg.MaterializeResult(data_version=dg.DataVersion(f"m{version}{code}"))

    return dg.Definitions(assets=[raw, features, model])


class Ticks:
    """A daemon in small: evaluates, materializes what was requested, remembers its cursor."""

    def __init__(
        self,
        instance: dg.DagsterInstance | None = None,
        keys: tuple[dg.AssetKey, ...] = (RAW, FEATURES, MODEL),
    ) -> None:
        self.instance = instance or dg.DagsterInstance.ephemeral()
        self.keys = keys
        self.cursor = None

    def tick(self, definitions: dg.Definitions) -> set[dg.AssetKey]:
        result = dg.evaluate_automation_conditions(
            defs=definitions, instance=self.instance, cursor=self.cursor
        )
        self.cursor = result.cursor
        requested = {key for key in self.keys if result.get_num_requested(key)}
        if requested:
            self.materialize(definitions, *requested)
        return requested

    def materialize(self, definitions: dg.Definitions, *keys: dg.AssetKey) -> bool:
        job = definitions.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance, asset_selection=list(keys), raise_on_error=False
        ).success


@pytest.fixture
def live() -> Ticks:
    """Everything materialized once from version 1 and settled."""
    ticks = Ticks()
    ticks.materialize(graph("1"), RAW, FEATURES, MODEL)
    for _ in range(2):
        ticks.tick(graph("1"))
    return ticks


def test_new_data_flow_to_the_model_in_one_run(live: Ticks) -> None:
    live.materialize(graph("2"), RAW)
    assert live.tick(graph("2")) == {FEATURES, MODEL}
    assert live.tick(graph("2")) == set()


def test_materializing_the_same_content_again_retrains_nothing(live: Ticks) -> None:
    live.materialize(graph("1"), RAW)
    assert live.tick(graph("1")) == set()


def test_data_that_fail_a_blocking_check_go_nowhere(live: Ticks) -> None:
    assert not live.materialize(graph("2", passes=False), RAW)
    assert live.tick(graph("2", passes=False)) == set()
    live.materialize(graph("3"), RAW)
    assert live.tick(graph("3")) == {FEATURES, MODEL}


def test_changed_configuration_retrains(live: Ticks) -> None:
    assert live.tick(graph("1", code="2")) == {MODEL}
    assert live.tick(graph("1", code="2")) == set()


def test_automation_that_is_off_requests_nothing(live: Ticks) -> None:
    live.materialize(graph("2", automatic=False), RAW)
    assert live.tick(graph("2", automatic=False)) == set()


def aged(instance: dg.DagsterInstance, state: FreshnessState) -> None:
    """What Dagster's freshness daemon notes about the raw data."""
    before = FreshnessState.PASS if state is FreshnessState.FAIL else FreshnessState.FAIL
    change = FreshnessStateChange(
        key=RAW, previous_state=before, new_state=state, state_change_timestamp=1.0
    )
    instance.report_runless_asset_event(change)
    instance.report_runless_asset_event(FreshnessStateEvaluation(key=RAW, freshness_state=state))


@pytest.mark.parametrize("refresh", [True, False])
def test_stale_data_are_read_again_once_each_time(refresh: bool) -> None:
    @dg.asset(
        key=RAW,
        code_version="1",
        automation_condition=raw_condition(refresh=refresh),
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=1)),
    )
    def raw() -> dg.MaterializeResult[object]:
        return dg.MaterializeResult(data_version=dg.DataVersion("1"))

    definitions = dg.Definitions([raw])
    with dg.DagsterInstance.local_temp() as instance:
        ticks = Ticks(instance, (RAW,))
        ticks.materialize(definitions, RAW)
        ticks.tick(definitions)
        asked = []
        for state in (FreshnessState.FAIL, FreshnessState.PASS, FreshnessState.FAIL):
            aged(instance, state)
            asked += [len(ticks.tick(definitions)), len(ticks.tick(definitions))]
        assert asked == ([1, 0, 0, 0, 1, 0] if refresh else [0] * 6)
