"""The sensor that tells people what checks and freshness policies found."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from mlops_assets.alerts.base import KINDS, Alert
from mlops_assets.assets.platform import PlatformResource

if TYPE_CHECKING:
    from resources.settings import Settings

FRESHNESS = "freshness"


@dataclass(frozen=True)
class Finding:
    """One verdict about one asset.

    Attributes:
        path: The asset's key.
        check: The check, or ``freshness``.
        passed: The verdict.
        severity: ``error`` or ``warn``.
        text: What was found.
        at: When (UTC).
        event: Identity of the evaluation.
    """

    path: tuple[str, ...]
    check: str
    passed: bool
    severity: str
    text: str
    at: datetime
    event: str

    @property
    def subject(self) -> str:
        """What the verdict is about."""
        return f"{'/'.join(self.path)}:{self.check}"


def build_alerts_sensor(team: str) -> dg.SensorDefinition:
    """One sensor for everything that the checks of a team's code location find.

    Two queries a tick, however many checks there are. Its cursor holds what is failing since when.
    An alert has the same name whenever the same evaluation is looked at, so a daemon that was
    killed tells nothing twice that it had kept.
    """

    @dg.sensor(
        name=f"{team}__alerts",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
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
        state: dict[str, Any] = json.loads(context.cursor) if context.cursor else {}
        findings = read_findings(context.instance, _graph(context))
        alerts = [
            alert
            for alert in raise_alerts(findings, state, ui_url(settings), spec.repeat_after)
            if spec.notify_recovery or alert.state != "recovered"
        ]
        new = [alert for alert in alerts if outbox.add(alert)]
        failures = outbox.deliver()
        for text in [*(str(problem) for problem in loaded.problems), *failures]:
            context.log.warning(text)
        failing = len(state["failing"])
        told = [f"told: {alert.title}" for alert in new]
        nothing = f"nothing new to tell: {failing} of {len(findings)} verdicts are bad"
        reason = "; ".join([*(told or [nothing]), *failures])
        return dg.SensorResult(skip_reason=reason, cursor=json.dumps(state, sort_keys=True))

    return alerts_sensor


def read_findings(instance: dg.DagsterInstance, graph: Any) -> list[Finding]:
    """The newest verdict of every check and freshness policy of a code location.

    Args:
        instance: The Dagster instance.
        graph: The asset graph of the code location.
    """
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
        list(graph.asset_check_keys)
    )
    found = [_of_check(record) for record in latest.values()]
    watched = [key for key in graph.get_all_asset_keys() if graph.get(key).freshness_policy]
    states = instance.get_freshness_state_records(watched) if watched else {}
    found += [_of_freshness(key, record) for key, record in states.items()]
    return [finding for finding in found if finding is not None]


def _graph(context: dg.SensorEvaluationContext) -> Any:
    repository = context.repository_def
    if repository is None:
        raise dg.DagsterInvariantViolationError("the sensor needs its repository")
    return repository.asset_graph


def raise_alerts(
    findings: Iterable[Finding], state: dict[str, Any], url: str, repeat_after: timedelta
) -> Iterable[Alert]:
    """Alerts where a verdict changes, or stays bad for too long; ``state`` is carried along.

    Args:
        findings: Verdicts, one for each subject.
        state: ``failing`` holds, by subject, the evaluation that began it and when it was last
            told.
        url: Base address of the UI.
        repeat_after: When something that is still wrong is told again.
    """
    failing: dict[str, Any] = state.setdefault("failing", {})
    for finding in findings:
        open_case = failing.get(finding.subject)
        if finding.passed:
            if open_case is not None:
                del failing[finding.subject]
                yield _alert(finding, "recovered", open_case["episode"], url)
            continue
        if open_case is None:
            failing[finding.subject] = {"episode": finding.event, "told": finding.at.isoformat()}
            yield _alert(finding, "failed", finding.event, url)
        elif finding.at - datetime.fromisoformat(open_case["told"]) >= repeat_after:
            open_case["told"] = finding.at.isoformat()
            yield _alert(finding, "still failing", open_case["episode"], url)


def ui_url(settings: Settings) -> str:
    """Address of the UI: ``MLOPS_UI_URL``, or that of the Dagster that runs here."""
    from resources.dagster_ui import DEFAULT_PORT, find_dagster

    named = os.environ.get("MLOPS_UI_URL")
    if named:
        return named.rstrip("/")
    server = find_dagster(settings)
    return server.url if server else f"http://127.0.0.1:{DEFAULT_PORT}"


def _alert(finding: Finding, state: Any, episode: str, url: str) -> Alert:
    view = "overview" if finding.check == FRESHNESS else "checks"
    return Alert(
        kind="stale" if finding.check == FRESHNESS else KINDS.get(finding.check, "quality"),
        state=state,
        severity=finding.severity,
        project="/".join(finding.path[:2]),
        asset="/".join(finding.path),
        check=finding.check,
        text=finding.text,
        at=finding.at.isoformat(),
        episode=episode,
        url=f"{url}/assets/{'/'.join(finding.path)}?view={view}",
    )


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


def _of_freshness(key: dg.AssetKey, record: Any) -> Finding | None:
    state = record.freshness_state.value
    if state not in ("PASS", "WARN", "FAIL"):
        return None
    text = "the data are fresh" if state == "PASS" else "the data are older than they should be"
    severity = "error" if state == "FAIL" else "warn"
    at = record.updated_at.replace(tzinfo=record.updated_at.tzinfo or UTC)
    return Finding(tuple(key.path), FRESHNESS, state == "PASS", severity, text, at, at.isoformat())
