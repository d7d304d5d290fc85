"""From verdicts to alerts: an episode begins with a failure and ends when the check passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from mlops_assets.alerts.base import KINDS, Alert

FRESHNESS = "freshness"
"""Stands for the check's name in verdicts of a freshness policy."""


@dataclass(frozen=True)
class Finding:
    """One verdict about one asset.

    Attributes:
        path: The asset's key.
        check: The check, or ``freshness``.
        passed: The verdict.
        severity: ``error`` or ``warn``.
        text: What was found.
        at: When it was found to be so (UTC).
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


@dataclass(frozen=True)
class Episode:
    """The failures of a check between two passes.

    Attributes:
        event: Identity of the first.
        since: When that was (UTC).
    """

    event: str
    since: datetime


def raise_alerts(
    findings: Iterable[Finding],
    state: dict[str, Any],
    begun: Callable[[Finding], Episode],
    url: str,
    repeat_after: timedelta,
) -> Iterable[Alert]:
    """Alerts where a verdict changes or worsens, or is still bad after a while.

    Args:
        findings: Verdicts, one for each subject.
        state: What is failing, by subject; carried along.
        begun: The episode that a failure belongs to; asked once for each new evaluation.
        url: Base address of the UI.
        repeat_after: When something that is still wrong is told again.
    """
    failing: dict[str, Any] = state.setdefault("failing", {})
    for finding in findings:
        known = failing.get(finding.subject)
        if not finding.passed:
            case = _case(finding, known, begun, repeat_after)
            failing[finding.subject] = case
            told = _to_tell(case, known)
            if told is not None:
                yield _alert(finding, told, case, url)
        elif known is not None:
            del failing[finding.subject]
            yield _alert(finding, "recovered", known | {"reminder": 0}, url)


def _case(
    finding: Finding,
    known: dict[str, Any] | None,
    begun: Callable[[Finding], Episode],
    repeat_after: timedelta,
) -> dict[str, Any]:
    if known is not None and known["event"] == finding.event:
        episode = Episode(known["episode"], datetime.fromisoformat(known["since"]))
    else:
        episode = begun(finding)
    worst = finding.severity
    if known is not None and known["episode"] == episode.event and known["severity"] == "error":
        worst = "error"
    return {
        "episode": episode.event,
        "since": episode.since.isoformat(),
        "event": finding.event,
        "severity": worst,
        "reminder": max(0, int((finding.at - episode.since) / repeat_after)),
    }


def _to_tell(
    case: dict[str, Any], known: dict[str, Any] | None
) -> Literal["failed", "still failing"] | None:
    if known is None or known["episode"] != case["episode"]:
        return "failed"
    if case["severity"] != known["severity"]:
        return "failed"
    return "still failing" if case["reminder"] > known["reminder"] else None


def _alert(
    finding: Finding,
    state: Literal["failed", "still failing", "recovered"],
    case: dict[str, Any],
    url: str,
) -> Alert:
    view = "overview" if finding.check == FRESHNESS else "checks"
    return Alert(
        kind="stale" if finding.check == FRESHNESS else KINDS.get(finding.check, "quality"),
        state=state,
        severity=case["severity"],
        project="/".join(finding.path[:2]),
        asset="/".join(finding.path),
        check=finding.check,
        text=finding.text,
        at=finding.at.isoformat(),
        since=case["since"],
        episode=case["episode"],
        url=f"{url}/assets/{'/'.join(finding.path)}?view={view}",
        reminder=case["reminder"] if state == "still failing" else 0,
    )
