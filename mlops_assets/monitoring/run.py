"""Close the windows that have ended, and judge those whose labels have become final."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlops_assets.config.project import Project
from mlops_assets.monitoring.answering import DISTANCES, Models
from mlops_assets.monitoring.maturity import LateLabels, is_mature, judge_performance
from mlops_assets.monitoring.records import Records, parse_name, record_name
from mlops_assets.monitoring.register import Part, parts
from mlops_assets.monitoring.report import build_report, log_of
from mlops_assets.monitoring.rows import read_window, spans
from mlops_assets.monitoring.streams import inference_log, labels
from mlops_assets.monitoring.windows import Window, closed_windows, watermark

if TYPE_CHECKING:
    from resources.store import Store

WINDOWS = "windows"
PERFORMANCE = "performance"
EARLIER = 8
"""How many earlier reports the previous window is searched in."""
PENDING = 400
"""How many of the newest windows may still wait for their labels."""


@dataclass(frozen=True)
class MonitoringResult:
    """What one look at the log found.

    Attributes:
        reports: Reports of the windows that were closed now, oldest first.
        performance: Realised performance that became known now, oldest first.
        late: Mature windows without enough labels.
        until: The watermark: the log is taken for complete until then.
    """

    reports: list[dict[str, Any]] = field(default_factory=list)
    performance: list[dict[str, Any]] = field(default_factory=list)
    late: list[LateLabels] = field(default_factory=list)
    until: datetime | None = None


def monitor(project: Project, store: Store, now: datetime | None = None) -> MonitoringResult:
    """Write a report for each window that has closed, and its performance once labels are final.

    Every record is created once: a run that is killed and repeated writes what is missing, and of
    two runs at once one writes each record.

    Args:
        project: The project.
        store: Segments, bundles, ledger and records.
        now: The time; requests from the future do not close windows.
    """
    log = parts(project, inference_log(project), store)
    times = spans(log)
    if not times:
        return MonitoringResult()
    window = project.spec.monitoring.window
    newest = max(end for _, end in times)
    until = watermark(newest, window.allowed_lateness, now or datetime.now(UTC))
    models = Models(project, store)
    reports = _close(project, store, log, models, until)
    performance, late = _mature(project, store, log, models, until)
    return MonitoringResult(reports, performance, late, until)


def _close(
    project: Project, store: Store, log: list[Part], models: Models, until: datetime
) -> list[dict[str, Any]]:
    records = Records(store, project.id, WINDOWS)
    names = records.names()
    after = parse_name(names[-1]) if names else None
    columns = log_of(project)
    found = []
    for window in closed_windows(spans(log), until, project.spec.monitoring.window.every, after):
        rows = read_window(log, window, time=columns.time, request_id=columns.request_id)
        if rows is None:
            break
        earlier = _earlier(project, records, window)
        report = build_report(project, window, rows, models, earlier)
        records.create(record_name(window.start), report)
        found.append(records.read(record_name(window.start)))
    return found


def _earlier(project: Project, records: Records, window: Window) -> list[dict[str, Any]]:
    """The reports that a window may be compared with."""
    reference = project.spec.monitoring.reference
    if reference == "training":
        return []
    if reference not in DISTANCES:
        return records.last(EARLIER)
    name = record_name(window.start - DISTANCES[reference])
    return [records.read(name)] if name in records.names() else []


def _mature(
    project: Project, store: Store, log: list[Part], models: Models, until: datetime
) -> tuple[list[dict[str, Any]], list[LateLabels]]:
    stream = labels(project)
    if stream is None:
        return [], []
    known = parts(project, stream, store)
    records = Records(store, project.id, PERFORMANCE)
    done = set(records.names())
    every = project.spec.monitoring.window.every
    found: list[dict[str, Any]] = []
    late: list[LateLabels] = []
    for name in Records(store, project.id, WINDOWS).names()[-PENDING:]:
        window = Window(parse_name(name), parse_name(name) + every)
        if name in done or not is_mature(project, window, until):
            continue
        outcome = judge_performance(project, window, log, known, models)
        if isinstance(outcome, LateLabels):
            late.append(outcome)
        elif outcome is not None:
            records.create(name, outcome)
            found.append(records.read(name))
    return found, late
