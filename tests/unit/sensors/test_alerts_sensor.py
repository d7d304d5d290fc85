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

from mlops_assets.alerts.base import Alert
from mlops_assets.alerts.episodes import Episode, Finding, raise_alerts
from mlops_assets.assets.platform import PlatformResource
from mlops_assets.keys import ProjectId
from resources.local_store import LocalStore
from sensors.alerts import build_alerts_sensor, read_findings

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


@pytest.mark.parametrize(
    ("now", "severity"), [(FreshnessState.FAIL, "error"), (FreshnessState.WARN, "warn")]
)
def test_stale_data_are_told(
    now: FreshnessState, severity: str, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with dg.DagsterInstance.local_temp() as instance:
        instance.report_runless_asset_event(
            FreshnessStateChange(
                key=KEY,
                previous_state=FreshnessState.PASS,
                new_state=now,
                state_change_timestamp=START.timestamp(),
            )
        )
        instance.report_runless_asset_event(FreshnessStateEvaluation(key=KEY, freshness_state=now))
        _, said = tick(instance, root, None)
        assert "freshness failed on monitoring" in said
    (record,) = [record for record in caplog.records if record.name == "mlops.alerts"]
    alert = record.__dict__["alert"]
    assert (alert["kind"], alert["severity"]) == ("stale", severity)
    assert alert["since"] == START.isoformat()


def test_a_broken_team_file_still_alerts(root: Path) -> None:
    (root / "project_configs" / "shop" / "team.yaml").write_text("alerts: {chanels: {}}\n")
    with dg.DagsterInstance.local_temp() as instance:
        report(instance, passed=False)
        _, said = tick(instance, root, None)
        assert "drift failed" in said


def test_a_lost_cursor_tells_nothing_twice(root: Path) -> None:
    with dg.DagsterInstance.local_temp() as instance:
        report(instance, passed=True)
        report(instance, passed=False)
        _, said = tick(instance, root, None)
        assert "drift failed" in said
        for _ in range(3):
            report(instance, passed=False)  # other evaluations of the same episode
        cursor, said = tick(instance, root, None)
        assert "told" not in said
        report(instance, passed=True)
        _, said = tick(instance, root, cursor)
        assert "drift recovered" in said


def test_an_episode_is_found_however_long_it_is(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sensors.alerts.HISTORY_PAGE", 2)
    with dg.DagsterInstance.local_temp() as instance:
        report(instance, passed=True)
        report(instance, passed=False)
        _, said = tick(instance, root, None)
        assert "drift failed" in said
        for _ in range(6):
            report(instance, passed=False)
            _, said = tick(instance, root, None)
            assert "told" not in said


def test_a_pass_that_nobody_saw_ends_the_episode(root: Path) -> None:
    with dg.DagsterInstance.local_temp() as instance:
        report(instance, passed=False)
        cursor, _ = tick(instance, root, None)
        report(instance, passed=True)
        report(instance, passed=False)
        _, said = tick(instance, root, cursor)
        assert "drift failed" in said


def test_checks_of_real_runs(root: Path) -> None:
    """A blocking gate that fails and then passes, in runs of Dagster's own."""
    key = dg.AssetKey(ID.evaluation_key)
    verdicts = iter([False, True])

    @dg.asset(key=key, check_specs=[dg.AssetCheckSpec("promotion", asset=key, blocking=True)])
    def evaluation() -> Iterator[Any]:
        result = dg.AssetCheckResult(passed=next(verdicts), description="roc_auc 0.6 below 0.7")
        yield dg.MaterializeResult(check_results=[result])

    graph = dg.Definitions([evaluation]).get_repository_def().asset_graph
    with dg.DagsterInstance.local_temp() as instance:
        for passed in (False, True):
            dg.materialize([evaluation], instance=instance, raise_on_error=False)
            (found,) = read_findings(instance, graph, START)
            assert found.passed is passed
            assert (found.check, found.severity) == ("promotion", "error")
            assert found.text == "roc_auc 0.6 below 0.7"


TEAM = """\
alerts:
  channels: {chat: {type: webhook, url: "{{ env.HOOK }}"}}
  routes: [{channels: [chat]}]
"""


def test_a_dead_channel_does_not_fail_the_sensor_and_leaks_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (root / "project_configs" / "shop" / "team.yaml").write_text(TEAM)
    monkeypatch.setenv("HOOK", "http://127.0.0.1:9/T0/geheim")
    with dg.DagsterInstance.local_temp() as instance:
        report(instance, passed=False)
        cursor, said = tick(instance, root, None)
        assert "drift failed" in said
        assert "channel chat: RequestException: no answer" in said
        kept = [path.read_bytes() for path in (root / ".mlops").rglob("*") if path.is_file()]
        assert kept
        assert len(json.loads(cursor)["unsettled"]) == 1
        captured = capfd.readouterr()
        assert "geheim" not in f"{cursor} {said} {kept} {captured.out} {captured.err}"


def test_what_a_killed_tick_left_unsent_is_sent_although_it_is_over(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="mlops.alerts")
    with dg.DagsterInstance.local_temp() as instance:
        before, _ = tick(instance, root, None)
        report(instance, passed=False)
        with monkeypatch.context() as dying:
            dying.setattr("mlops_assets.alerts.delivery.Outbox.deliver", _die)
            with pytest.raises(Exception, match="killed"):
                tick(instance, root, before)
        report(instance, passed=True)
        assert tick(instance, root, before)
        assert caplog.records == []  # the next look through everything is not due yet
        monkeypatch.setattr("sensors.alerts.SCAN_EVERY", timedelta())
        tick(instance, root, before)
        tick(instance, root, before)
        (record,) = caplog.records
        assert "drift failed" in record.getMessage()


def _die(*_: object, **__: object) -> None:
    raise RuntimeError("killed")


def test_a_tick_does_not_list_what_was_told_long_ago(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []
    keys = LocalStore.keys
    monkeypatch.setattr(LocalStore, "keys", lambda s, p: listed.append(p) or keys(s, p))
    with dg.DagsterInstance.local_temp() as instance:
        report(instance, passed=False)
        cursor, _ = tick(instance, root, None)
        assert listed == ["shop/alerts.outbox"]
        cursor, _ = tick(instance, root, cursor)
        assert len(listed) == 1
        report(instance, passed=True)
        tick(instance, root, cursor)
        assert len(listed) == 2
        assert listed[1].startswith("shop/alerts.outbox/")


@pytest.mark.parametrize(
    ("projects", "checks_per_query", "queries"),
    [(1, 5000, 2), (10, 5000, 2), (100, 5000, 2), (10, 3, 5)],
)
def test_a_tick_costs_two_queries_however_many_projects(
    projects: int, checks_per_query: int, queries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sensors.alerts.CHECKS_PER_QUERY", checks_per_query)

    def asset_of(number: int) -> dg.AssetsDefinition:
        key = dg.AssetKey(ProjectId("shop", f"p{number}").monitoring_key)
        policy = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=1))
        specs = [dg.AssetCheckSpec("drift", asset=key)]

        @dg.asset(key=key, check_specs=specs, freshness_policy=policy)
        def monitoring() -> Iterator[Any]:
            yield dg.MaterializeResult()

        return monitoring

    assets = [asset_of(number) for number in range(projects)]
    graph = dg.Definitions(assets).get_repository_def().asset_graph
    with dg.DagsterInstance.local_temp() as instance:
        for asset in assets:
            report(instance, passed=False, key=asset.key)
        storage = instance.event_log_storage
        connect, opened = storage.index_connection, []
        monkeypatch.setattr(storage, "index_connection", lambda: opened.append(1) or connect())
        assert len(read_findings(instance, graph, START)) == projects
        assert len(opened) == queries


def finding(
    event: int, hours: float, *, passed: bool = False, severity: str = "warn", check: str = "drift"
) -> Finding:
    at = START + timedelta(hours=hours)
    return Finding(tuple(KEY.path), check, passed, severity, "x", at, str(event))


def alerts_of(findings: list[Finding], state: dict[str, Any] | None = None) -> list[Alert]:
    """One tick for each finding, all of one episode that began with event 0."""
    state = {} if state is None else state

    def begun(_: Finding) -> Episode:
        return Episode("0", START)

    day = timedelta(days=1)
    return [a for one in findings for a in raise_alerts([one], state, begun, "https://ui", day)]


def test_what_stays_wrong_is_told_again_after_a_while() -> None:
    state: dict[str, Any] = {}
    alerts = alerts_of([finding(n, 10.0 * n) for n in range(6)], state)
    assert [alert.state for alert in alerts] == ["failed", "still failing", "still failing"]
    assert [alert.at[8:13] for alert in alerts] == ["01T00", "02T06", "03T02"]
    assert {(alert.episode, alert.since) for alert in alerts} == {("0", START.isoformat())}
    assert json.loads(json.dumps(state)) == state


def test_a_check_that_is_not_evaluated_again_is_not_told_again() -> None:
    assert len(alerts_of([finding(0, 0)] * 3)) == 1


def test_what_gets_worse_is_told_and_recovers_as_bad_as_it_was() -> None:
    severities = ["warn", "error", "warn"]
    findings = [finding(n, n, severity=severity) for n, severity in enumerate(severities)]
    alerts = alerts_of([*findings, finding(3, 3, passed=True, severity="warn")])
    told = [(alert.state, alert.severity) for alert in alerts]
    assert told == [("failed", "warn"), ("failed", "error"), ("recovered", "error")]


def test_stale_data_are_told_again_by_the_clock() -> None:
    findings = [finding(0, hours, check="freshness") for hours in (0, 1, 25, 26)]
    assert [alert.state for alert in alerts_of(findings)] == ["failed", "still failing"]


def test_the_link_leads_to_the_asset() -> None:
    (alert,) = alerts_of([finding(1, 0)])
    assert alert.url == "https://ui/assets/shop/churn/monitoring?view=checks"
    assert alert.line == "shop/churn: drift failed on monitoring: x (since " + alert.since + ")"


def test_checks_that_are_gone_are_forgotten(root: Path) -> None:
    with dg.DagsterInstance.local_temp() as instance:
        gone = {"event": "1", "episode": "1", "since": START.isoformat(), "severity": "warn"}
        cursor = json.dumps({"failing": {"shop/gone/monitoring:drift": gone | {"reminder": 0}}})
        cursor, said = tick(instance, root, cursor)
        assert json.loads(cursor)["failing"] == {}
        assert "told" not in said
