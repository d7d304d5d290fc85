"""Leave a decision for every window that has a report and none yet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlops_assets.config.project import Project
from mlops_assets.monitoring.records import Records, parse_name
from mlops_assets.monitoring.run import PERFORMANCE, WINDOWS
from mlops_assets.policy.decision import (
    Decision,
    Outcome,
    Retrain,
    decide,
    performance_evidence,
    window_evidence,
)
from resources.ledger import Ledger

if TYPE_CHECKING:
    from resources.store import Store

DECISIONS = "decisions"
OUTCOMES = "outcomes"
HISTORY = 100
"""How many windows and decisions the policy looks back on."""


def decide_open_windows(project: Project, store: Store) -> list[dict[str, Any]]:
    """Decide for each window without a decision, oldest first.

    Returns:
        The decisions that were made now, as stored.
    """
    records = Records(store, project.id, DECISIONS)
    reports = Records(store, project.id, WINDOWS)
    decided = set(records.names())
    names = reports.names()
    live = Ledger(store, project.id.ledger_prefix).state().champion
    made = []
    for place, name in enumerate(names):
        if name in decided:
            continue
        recent = names[max(0, place + 1 - HISTORY) : place + 1]
        windows = [window_evidence(one, reports.read(one)) for one in recent[-_memory(project) :]]
        decision = decide(
            windows,
            _performance(project, store),
            past_retrains(project, store, before=name),
            project.spec.monitoring,
            project.spec.automation,
            live=live.bundle_id if live else None,
        )
        records.create(name, _as_record(name, decision, reports.read(name)))
        made.append(records.read(name))
    return made


def past_retrains(project: Project, store: Store, before: str | None = None) -> list[Retrain]:
    """Retrains that were decided, with what became of them, oldest first."""
    records = Records(store, project.id, DECISIONS)
    outcomes = Records(store, project.id, OUTCOMES)
    known = set(outcomes.names())
    names = [name for name in records.names() if before is None or name < before][-HISTORY:]
    found = []
    for name in names:
        record = records.read(name)
        if record["verdict"] == "retrain":
            outcome: Outcome = outcomes.read(name)["outcome"] if name in known else "pending"
            end = datetime.fromisoformat(record["window"]["end"])
            found.append(Retrain(end, outcome, record["bundle_id"]))
    return found


def record_outcome(
    project: Project, store: Store, decision: str, outcome: Outcome, reason: str
) -> None:
    """Say what became of a retrain; the first word stays."""
    body = {"decision": decision, "outcome": outcome, "reason": reason}
    Records(store, project.id, OUTCOMES).create(decision, body)


def decisions_state(project: Project, store: Store) -> str:
    """Identity of the decisions and outcomes that there are; none of them is read."""
    names = [Records(store, project.id, kind).names() for kind in (DECISIONS, OUTCOMES)]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]


def open_retrains(project: Project, store: Store) -> list[dict[str, Any]]:
    """Decisions to retrain of which nothing came yet, oldest first."""
    records = Records(store, project.id, DECISIONS)
    done = set(Records(store, project.id, OUTCOMES).names())
    recent = [records.read(name) for name in records.names()[-HISTORY:] if name not in done]
    return [record for record in recent if record["verdict"] == "retrain"]


def _memory(project: Project) -> int:
    return max(project.spec.monitoring.drift.persist[1], 1) * 4


def _performance(project: Project, store: Store) -> Sequence[Any]:
    records = Records(store, project.id, PERFORMANCE)
    return [performance_evidence(name, records.read(name)) for name in records.names()[-HISTORY:]]


def _as_record(name: str, decision: Decision, report: dict[str, Any]) -> dict[str, Any]:
    return {
        "decision": name,
        "window": report["window"],
        "bundle_id": report["bundle_id"],
        "version": report["version"],
        "verdict": decision.verdict,
        "cause": decision.cause,
        "reason": decision.reason,
        "tests": list(decision.tests),
        "rows": report["rows"],
        "drift_share": report["drift"]["share"],
    }


def decision_start(record: dict[str, Any]) -> datetime:
    """Start of the window that a decision is about."""
    return parse_name(record["decision"])
