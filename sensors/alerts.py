"""The sensor that tells people what checks and freshness policies found."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.alerts.episodes import FRESHNESS, Episode, Finding, raise_alerts
from mlops_assets.assets.platform import PlatformResource
from sensors.pace import pace

if TYPE_CHECKING:
    from mlops_assets.alerts.delivery import Outbox
    from resources.settings import Settings

CHECKS_PER_QUERY = 5000
"""SQLite takes 32,766 values in a query; each check is two."""
SCAN_EVERY = timedelta(hours=1)
"""So often everything that was ever kept is looked through for what a killed tick left unsent."""
NEVER = datetime.min.replace(tzinfo=UTC).isoformat()
HISTORY_PAGE = 200
HISTORY_PAGES = 50


def build_alerts_sensor(team: str) -> dg.SensorDefinition:
    """One sensor for everything that the checks of a team's code location find.

    Two queries a tick, however many projects there are, and one more for each failure that is
    new. An alert has the same name whenever the same evaluation is looked at, so a daemon that was
    killed, or lost its cursor, tells nothing twice that it had told.
    """

    @dg.sensor(
        name=f"{team}__alerts",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=pace(30),
        description="Tells people about failed checks, gates and deployments, and stale data.",
    )
    def alerts_sensor(
        context: dg.SensorEvaluationContext, platform: PlatformResource
    ) -> dg.SensorResult:
        from mlops_assets.alerts.delivery import Outbox
        from mlops_assets.config.team import load_team

        settings = platform.settings()
        loaded = load_team(team, settings.root, os.environ)
        spec = loaded.spec.alerts
        outbox = Outbox(platform.store(), team, spec, loaded.redactor)
        instance, graph = context.instance, _graph(context)
        now = datetime.now(UTC)
        findings = read_findings(instance, graph, now)
        state = _known_state(context.cursor, graph)
        raised = raise_alerts(
            findings, state, episode_finder(instance), ui_url(settings), spec.repeat_after
        )
        told = [alert for alert in raised if spec.notify_recovery or alert.state != "recovered"]
        new = [alert for alert in told if outbox.add(alert)]
        failures = _deliver(outbox, state, [alert.fingerprint for alert in told], now)
        for text in [*(str(problem) for problem in loaded.problems), *failures]:
            context.log.warning(text)
        said = [f"told: {alert.title}" for alert in new] or [
            f"nothing new to tell: {len(state['failing'])} of {len(findings)} verdicts are bad"
        ]
        reason = "; ".join([*said[:20], *failures])
        return dg.SensorResult(skip_reason=reason, cursor=json.dumps(state, sort_keys=True))

    return alerts_sensor


def read_findings(instance: dg.DagsterInstance, graph: Any, now: datetime) -> list[Finding]:
    """The newest verdict of every check and freshness policy of a code location.

    Args:
        instance: The Dagster instance.
        graph: The asset graph of the code location.
        now: The time (UTC); what is stale is stale now.
    """
    keys = list(graph.asset_check_keys)
    found: list[Finding | None] = []
    for start in range(0, len(keys), CHECKS_PER_QUERY):
        latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            keys[start : start + CHECKS_PER_QUERY]
        )
        found += [_of_check(record) for record in latest.values()]
    watched = _watched(graph)
    states = instance.get_freshness_state_records(watched) if watched else {}
    found += [_of_freshness(key, record, now) for key, record in states.items()]
    return [finding for finding in found if finding is not None]


def episode_finder(instance: dg.DagsterInstance) -> Callable[[Finding], Episode]:
    """Looks up when a check that fails began to: the first failure since it last passed."""

    def begun(finding: Finding) -> Episode:
        if finding.check == FRESHNESS:
            return Episode(finding.event, datetime.fromisoformat(finding.event))
        first = finding
        for earlier in _history(instance, finding):
            if earlier.passed:
                break
            first = earlier
        return Episode(first.event, first.at)

    return begun


def ui_url(settings: Settings) -> str:
    """Address of the UI: ``MLOPS_UI_URL``, or that of the Dagster that runs here."""
    from resources.dagster_ui import DEFAULT_PORT, find_dagster

    named = os.environ.get("MLOPS_UI_URL")
    if named:
        return named.rstrip("/")
    server = find_dagster(settings)
    return server.url if server else f"http://127.0.0.1:{DEFAULT_PORT}"


def _deliver(outbox: Outbox, state: dict[str, Any], raised: list[str], now: datetime) -> list[str]:
    """Send what this tick and the one before left; now and then, whatever is unsent."""
    is_due = now - datetime.fromisoformat(state["scanned"]) >= SCAN_EVERY
    failures = outbox.deliver(now, only=None if is_due else [*state["unsettled"], *raised])
    state["unsettled"] = outbox.unsettled
    if is_due:
        state["scanned"] = now.isoformat()
    return failures


def _graph(context: dg.SensorEvaluationContext) -> Any:
    repository = context.repository_def
    if repository is None:
        raise dg.DagsterInvariantViolationError("the sensor needs its repository")
    return repository.asset_graph


def _watched(graph: Any) -> list[dg.AssetKey]:
    return [key for key in graph.get_all_asset_keys() if graph.get(key).freshness_policy]


def _known_state(cursor: str | None, graph: Any) -> dict[str, Any]:
    """The cursor, without checks that no longer exist."""
    state: dict[str, Any] = {"failing": {}, "unsettled": [], "scanned": NEVER}
    state |= json.loads(cursor) if cursor else {}
    subjects = {f"{'/'.join(key.asset_key.path)}:{key.name}" for key in graph.asset_check_keys}
    subjects |= {f"{'/'.join(key.path)}:{FRESHNESS}" for key in _watched(graph)}
    failing = state["failing"].items()
    state["failing"] = {subject: case for subject, case in failing if subject in subjects}
    return state


def _history(instance: dg.DagsterInstance, finding: Finding) -> Iterator[Finding]:
    """Earlier verdicts of the same check, newest first; at most 10,000."""
    key = dg.AssetCheckKey(dg.AssetKey(finding.path), finding.check)
    cursor = int(finding.event)
    for _ in range(HISTORY_PAGES):
        page = instance.event_log_storage.get_asset_check_execution_history(
            key, limit=HISTORY_PAGE, cursor=cursor
        )
        for record in page:
            earlier = _of_check(record)
            if earlier is not None:
                yield earlier
        if len(page) < HISTORY_PAGE:
            return
        cursor = page[-1].id


def _of_check(record: Any) -> Finding | None:
    """None while the check's run goes on or ended without a verdict."""
    event = record.event.dagster_event if record.event else None
    if event is None or event.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return None
    evaluation = event.asset_check_evaluation_data
    return Finding(
        tuple(record.key.asset_key.path),
        record.key.name,
        bool(evaluation.passed),
        "error" if evaluation.severity is dg.AssetCheckSeverity.ERROR else "warn",
        evaluation.description or "",
        datetime.fromtimestamp(record.event.timestamp, UTC),
        str(record.id),
    )


def _of_freshness(key: dg.AssetKey, record: Any, now: datetime) -> Finding | None:
    """None while nothing is known."""
    state = record.freshness_state.value
    if state not in ("PASS", "WARN", "FAIL"):
        return None
    text = "the data are fresh" if state == "PASS" else "the data are older than they should be"
    severity = "error" if state == "FAIL" else "warn"
    changed = record.updated_at.replace(tzinfo=record.updated_at.tzinfo or UTC).isoformat()
    return Finding(tuple(key.path), FRESHNESS, state == "PASS", severity, text, now, changed)
