"""From real check events of a real instance to alerts."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.freshness import (
    FreshnessState,
    FreshnessStateChange,
    FreshnessStateEvaluation,
)

from mlops_assets.assets.platform import PlatformResource
from mlops_assets.keys import ProjectId
from sensors.alerts import Finding, build_alerts_sensor, raise_alerts

ID = ProjectId("shop", "churn")
KEY = dg.AssetKey(ID.monitoring_key)
START = datetime(2024, 1, 1, tzinfo=UTC)


def report(instance: dg.DagsterInstance, *, passed: bool, key: dg.AssetKey = KEY) -> None:
    """What a run that evaluates a check leaves in the event log."""
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=key,
            check_name="drift",
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN,
            description="temp drifted",
        )
    )


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    (tmp_path / "project_configs" / "shop").mkdir(parents=True)
    monkeypatch.setenv("MLOPS_ROOT", str(tmp_path))
    monkeypatch.setenv("MLOPS_UI_URL", "https://dagster.example.org/")
    return tmp_path


def tick(instance: dg.DagsterInstance, root: Path, cursor: str | None) -> tuple[str, str]:
    sensor = build_alerts_sensor("shop")

    @dg.asset(
        key=KEY,
        check_specs=[dg.AssetCheckSpec("drift", asset=KEY)],
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=1)),
    )
    def monitoring() -> Iterator[Any]:
        yield dg.MaterializeResult()

    resources = {"platform": PlatformResource(root=str(root))}
    repository = dg.Definitions([monitoring], sensors=[sensor], resources=resources)
    with dg.build_sensor_context(
        instance,
        cursor=cursor,
        resources=resources,
        repository_def=repository.get_repository_def(),
    ) as context:
        result = sensor.evaluate_tick(context)
    return result.cursor or "", result.skip_message or ""


def test_a_failed_check_is_told_once_and_its_recovery_too(root: Path) -> None:
    with dg.DagsterInstance.local_temp() as instance:
        report(instance, passed=False)
        cursor, said = tick(instance, root, None)
        assert said.count("told: shop/churn: drift failed on monitoring") == 1
        report(instance, passed=False)
        cursor, said = tick(instance, root, cursor)
        assert "1 of 1 verdicts are bad" in said
        report(instance, passed=True)
        cursor, said = tick(instance, root, cursor)
        assert "drift recovered" in said
        report(instance, passed=False)
        _, said = tick(instance, root, cursor)
        assert "drift failed" in said  # a new episode


def test_a_daemon_that_lost_its_cursor_tells_nothing_twice(root: Path) -> None:
    with dg.DagsterInstance.local_temp() as instance:
        report(instance, passed=True)
        before, _ = tick(instance, root, None)
        report(instance, passed=False)
        _, said = tick(instance, root, before)
        assert "drift failed" in said
        _, said = tick(instance, root, before)  # killed before the cursor was saved
        assert "told" not in said


def test_other_teams_checks_are_not_ours(root: Path) -> None:
    with dg.DagsterInstance.local_temp() as instance:
        report(instance, passed=False, key=dg.AssetKey(["other", "churn", "monitoring"]))
        _, said = tick(instance, root, None)
        assert "0 of 0 verdicts" in said


def test_stale_data_are_told(root: Path) -> None:
    with dg.DagsterInstance.local_temp() as instance:
        instance.report_runless_asset_event(
            FreshnessStateChange(
                key=KEY,
                previous_state=FreshnessState.PASS,
                new_state=FreshnessState.FAIL,
                state_change_timestamp=START.timestamp(),
            )
        )
        instance.report_runless_asset_event(
            FreshnessStateEvaluation(key=KEY, freshness_state=FreshnessState.FAIL)
        )
        _, said = tick(instance, root, None)
        assert "freshness failed on monitoring" in said


def test_a_broken_team_file_still_alerts(root: Path) -> None:
    (root / "project_configs" / "shop" / "team.yaml").write_text("alerts: {chanels: {}}\n")
    with dg.DagsterInstance.local_temp() as instance:
        report(instance, passed=False)
        _, said = tick(instance, root, None)
        assert "drift failed" in said


def finding(event: int, hours: float, *, passed: bool = False) -> Finding:
    at = START + timedelta(hours=hours)
    return Finding(tuple(KEY.path), "drift", passed, "warn", "x", at, str(event))


def test_what_stays_wrong_is_told_again_after_a_while() -> None:
    state: dict[str, Any] = {}
    day = timedelta(days=1)
    alerts = [
        alert
        for n in range(6)
        for alert in raise_alerts([finding(n, 10.0 * n)], state, "http://x", day)
    ]
    assert [alert.state for alert in alerts] == ["failed", "still failing"]
    assert len({alert.episode for alert in alerts}) == 1
    assert json.loads(json.dumps(state)) == state


def test_the_link_leads_to_the_asset() -> None:
    (alert,) = raise_alerts([finding(1, 0)], {}, "https://dagster.example.org", timedelta(days=1))
    assert alert.url == ("https://dagster.example.org/assets/shop/churn/monitoring?view=checks")
