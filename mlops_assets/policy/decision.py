"""Whether to retrain, decided from evidence alone: no clock, no store, no Dagster.

The order is fixed: bad data never retrain; realised performance decides first; a window with too
few rows is *insufficient*, never *fine*; drift must persist; cooldown, budget and back-off bound
what evidence may start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from mlops_assets.config.automation import AutomationSpec
from mlops_assets.config.base import format_duration
from mlops_assets.config.monitoring import MonitoringSpec

Verdict = Literal["retrain", "wait", "insufficient_data", "blocked"]
Cause = Literal["bad_data", "performance", "drift", "nothing"]
Outcome = Literal["promoted", "rejected", "unchanged", "failed", "pending"]

MAX_REJECTED = 3
"""After so many retrains in a row that replaced nothing, people are asked instead."""
WEEK = timedelta(days=7)


@dataclass(frozen=True)
class WindowEvidence:
    """What the policy needs of a window's report.

    Attributes:
        name: Its name.
        end: Its end; the policy's time is the data's.
        bundle_id: The model that answered.
        rows: Its requests.
        enough_rows: Whether they are enough to judge.
        bad: What makes its data bad, if anything does.
        drift: State of its drift: ``drifted``, ``stable`` or ``insufficient``.
        drifted: What drifted, in words.
    """

    name: str
    end: datetime
    bundle_id: str | None
    rows: int
    enough_rows: bool
    bad: tuple[str, ...] = ()
    drift: str = "insufficient"
    drifted: str = ""


@dataclass(frozen=True)
class PerformanceEvidence:
    """What the policy needs of a window's realised performance.

    Attributes:
        name: The window.
        bundle_id: The model that answered.
        decayed: Whether it is worse than it was; None when that cannot be said.
        text: The figures in words.
    """

    name: str
    bundle_id: str
    decayed: bool | None
    text: str


@dataclass(frozen=True)
class Retrain:
    """A retrain that was decided before.

    Attributes:
        at: End of the window that decided it.
        outcome: What became of it.
        bundle_id: The model that was live then.
    """

    at: datetime
    outcome: Outcome
    bundle_id: str | None = None


@dataclass(frozen=True)
class Decision:
    """A verdict and its evidence.

    Attributes:
        verdict: ``retrain``, ``wait``, ``insufficient_data`` or ``blocked`` (people are needed).
        cause: What it follows from.
        reason: One sentence.
        tests: Every rule that was looked at, in order: rule, found, expected, met.
    """

    verdict: Verdict
    cause: Cause
    reason: str
    tests: tuple[dict[str, Any], ...] = field(default=())


def decide(
    windows: Sequence[WindowEvidence],
    performance: Sequence[PerformanceEvidence],
    retrains: Sequence[Retrain],
    monitoring: MonitoringSpec,
    automation: AutomationSpec,
    *,
    live: str | None = None,
) -> Decision:
    """Decide for the newest window.

    Args:
        windows: Windows up to the one in question, oldest first, at least one.
        performance: Realised performance known by then, oldest first.
        retrains: Retrains decided before, oldest first.
        monitoring: The project's thresholds.
        automation: Its bounds.
        live: Bundle that is live now, where that is known.
    """
    window = windows[-1]
    table: list[dict[str, Any]] = []
    _row(table, "data are good", "; ".join(window.bad) or "good", "no broken rule", not window.bad)
    if window.bad:
        reason = f"Bad data never retrain: {'; '.join(window.bad[:3])}."
        return Decision("blocked", "bad_data", reason, tuple(table))
    replaced = None not in (live, window.bundle_id) and live != window.bundle_id
    found = "replaced since" if replaced else "yes"
    _row(table, "the model that answered is live", found, "yes", not replaced)
    if replaced:
        reason = (
            "The model that answered these requests was replaced since; its evidence is history."
        )
        return Decision("wait", "nothing", reason, tuple(table))
    decay = _decay(window, performance, monitoring, table)
    if decay and monitoring.performance.on_decay == "retrain":
        return _bounded(("performance", decay), window, retrains, automation, table)
    _row(
        table,
        "enough rows",
        f"{window.rows:,}",
        f"{monitoring.window.min_rows:,}",
        window.enough_rows,
    )
    if decay:
        return Decision(
            "wait", "performance", f"{decay}; the project wants to be told only.", tuple(table)
        )
    if not window.enough_rows or window.drift == "insufficient":
        return Decision(
            "insufficient_data", "nothing", _insufficient(window, monitoring), tuple(table)
        )
    drift = _drift(window, windows, monitoring, table)
    if drift is None:
        return Decision("wait", "nothing", _calm(window), tuple(table))
    if drift.startswith("not yet"):
        return Decision("wait", "drift", f"{window.drifted} drifted, but {drift}.", tuple(table))
    if monitoring.drift.on_drift == "alert":
        return Decision(
            "wait", "drift", f"{drift}; the project wants to be told only.", tuple(table)
        )
    return _bounded(("drift", drift), window, retrains, automation, table)


def _decay(
    window: WindowEvidence,
    performance: Sequence[PerformanceEvidence],
    monitoring: MonitoringSpec,
    table: list[dict[str, Any]],
) -> str | None:
    """The loss in words, if it counts. Only the model that answers now is judged."""
    needed, among = monitoring.performance.persist
    judged = [
        item
        for item in performance
        if item.bundle_id == window.bundle_id and item.decayed is not None
    ][-among:]
    lost = [item for item in judged if item.decayed]
    found = judged[-1].text if judged else "no mature window of this model"
    kept = len(lost) < needed
    _row(
        table,
        "realised performance",
        f"{found}; worse in {len(lost)} of {len(judged)}",
        f"worse by {monitoring.performance.max_drop:g} in fewer than {needed} of {among} windows",
        kept if judged else None,
    )
    return None if kept else f"The live model got worse: {lost[-1].text}"


def _drift(
    window: WindowEvidence,
    windows: Sequence[WindowEvidence],
    monitoring: MonitoringSpec,
    table: list[dict[str, Any]],
) -> str | None:
    """Drift in words if it persists, ``not yet …`` if it does not, None if there is none."""
    needed, among = monitoring.drift.persist
    same = [
        one
        for one in windows
        if one.bundle_id == window.bundle_id and not one.bad and one.drift != "insufficient"
    ][-among:]
    seen = sum(one.drift == "drifted" for one in same)
    _row(
        table,
        "inputs and predictions",
        window.drifted or "no drift",
        f"drift in fewer than {needed} of the last {among} windows (found {seen})",
        seen < needed,
    )
    if seen >= needed and window.drift == "drifted":
        return f"{window.drifted} drifted in {seen} of the last {len(same)} windows"
    if window.drift == "drifted":
        return f"not yet in {needed} of {among} windows (seen in {seen})"
    return None


def _bounded(
    why: tuple[Cause, str],
    window: WindowEvidence,
    retrains: Sequence[Retrain],
    automation: AutomationSpec,
    table: list[dict[str, Any]],
) -> Decision:
    """Retrain, unless cooldown, budget or back-off forbid it."""
    cause, evidence = why
    open_ones = [item for item in retrains if item.outcome == "pending"]
    _row(table, "retrains under way", str(len(open_ones)), "none", not open_ones)
    if open_ones:
        reason = (
            f"{evidence}, but the retrain decided on {open_ones[-1].at:%Y-%m-%d %H:%M} goes on."
        )
        return Decision("wait", cause, reason, tuple(table))
    rejected = _without_effect(retrains, window.bundle_id)
    _row(
        table,
        "retrains that replaced nothing",
        str(rejected),
        f"fewer than {MAX_REJECTED}",
        rejected < MAX_REJECTED,
    )
    if rejected >= MAX_REJECTED:
        reason = (
            f"{evidence}, but the last {rejected} retrains replaced nothing: a person is needed "
            "(change the features or the model, or deploy by `mlops run`)."
        )
        return Decision("blocked", cause, reason, tuple(table))
    wait = automation.cooldown * 2**rejected
    last = retrains[-1].at if retrains else None
    cool = last is None or window.end - last >= wait
    since = "none yet" if last is None else f"{_span(window.end - last)} ago"
    _row(table, "cooldown", f"last retrain {since}", f"at least {format_duration(wait)} ago", cool)
    if not cool:
        after = f" after {rejected} retrains without effect" if rejected else ""
        reason = (
            f"{evidence}, but the last retrain was {since}: "
            f"the cooldown is {format_duration(wait)}{after}."
        )
        return Decision("wait", cause, reason, tuple(table))
    spent = sum(window.end - item.at < WEEK for item in retrains)
    budget = automation.max_retrains_per_week
    _row(table, "budget", f"{spent} in seven days", f"fewer than {budget}", spent < budget)
    if spent >= budget:
        reason = f"{evidence}, but the budget of {budget} retrains a week is spent."
        return Decision("wait", cause, reason, tuple(table))
    return Decision("retrain", cause, f"{evidence}.", tuple(table))


def _without_effect(retrains: Sequence[Retrain], bundle_id: str | None) -> int:
    """How many retrains in a row left the model live that answers now."""
    count = 0
    for item in reversed(retrains):
        if item.outcome == "promoted" or item.bundle_id != bundle_id:
            break
        count += item.outcome != "pending"
    return count


def _insufficient(window: WindowEvidence, monitoring: MonitoringSpec) -> str:
    if not window.enough_rows:
        return (
            f"{window.rows:,} requests are too few to judge: at least "
            f"{monitoring.window.min_rows:,} are needed."
        )
    return f"{window.rows:,} requests could not be compared: {window.drifted or 'no reference'}."


def _calm(window: WindowEvidence) -> str:
    return (
        f"Nothing asks for it: {window.rows:,} good requests like those the model was trained for."
    )


def _row(
    table: list[dict[str, Any]], rule: str, found: str, expected: str, met: bool | None
) -> None:
    table.append({"rule": rule, "found": found, "expected": expected, "met": met})


def _span(value: timedelta) -> str:
    return format_duration(timedelta(seconds=int(value.total_seconds())))


def window_evidence(name: str, report: Mapping[str, Any]) -> WindowEvidence:
    """Evidence from a window's report."""
    broken = [
        f"{f['rule']} in {f['column']}: {f['found']}, expected {f['expected']}"
        for f in report["quality"]["findings"]
        if not f["passed"] and f["severity"] == "error"
    ]
    drift = report["drift"]
    return WindowEvidence(
        name=name,
        end=datetime.fromisoformat(report["window"]["end"]),
        bundle_id=report["bundle_id"],
        rows=report["rows"],
        enough_rows=report["enough_rows"],
        bad=tuple(broken),
        drift=drift["state"],
        drifted=drift["reason"] if drift["state"] == "insufficient" else describe_drift(drift),
    )


def describe_drift(drift: Mapping[str, Any]) -> str:
    """What drifted, most important first, in words; empty when nothing did."""
    parts = []
    columns = [column for column in drift["columns"] if column["state"] == "drifted"]
    if drift["inputs_drifted"] and columns:
        columns.sort(key=lambda column: -(column["importance"] or 0))
        names = ", ".join(column["column"] for column in columns[:3])
        more = f" and {len(columns) - 3} more" if len(columns) > 3 else ""
        parts.append(f"{names}{more} ({drift['share']:.0%} of the importance)")
    together = drift.get("multivariate")
    if together and together["drifted"]:
        parts.append(f"the inputs together (a classifier's ROC AUC is {together['auc']:.2f})")
    if drift["prediction_drifted"]:
        parts.append("the prediction")
    return " and ".join(parts)


def performance_evidence(name: str, record: Mapping[str, Any]) -> PerformanceEvidence:
    """Evidence from a window's realised performance."""
    realised, baseline = record["realised"], record["baseline"]
    if realised["value"] is None or baseline is None:
        text = f"{realised['metric']} of window {name} is not known"
    else:
        text = (
            f"{realised['metric']} {realised['value']:.4g} "
            f"({realised['lower']:.4g} to {realised['upper']:.4g}) against {baseline:.4g}"
        )
    return PerformanceEvidence(name, record["bundle_id"], record["decayed"], text)
