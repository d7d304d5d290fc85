"""The picture of a project's life: metric, drift, decisions and versions over event time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mlops_assets.evaluation import canvas
from mlops_assets.evaluation.canvas import CHALLENGER, CHAMPION, GOOD, GRID, INK, PALE, QUIET
from mlops_assets.monitoring.records import Records

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mlops_assets.config.project import Project
    from resources.store import Store

COLOURS = {"retrain": CHAMPION, "blocked": INK, "wait": GOOD, "insufficient_data": GRID}
WORDS = {
    "retrain": "retrain",
    "blocked": "blocked, people told",
    "wait": "wait",
    "insufficient_data": "too little data",
}
MAX_WINDOWS = 400


@dataclass(frozen=True)
class Timeline:
    """Records of the newest windows, by window name.

    Attributes:
        metric: The watched metric.
        min_share: Share of drifted importance from which inputs have drifted.
        windows: Reports.
        performance: Realised performance.
        decisions: Decisions.
    """

    metric: str
    min_share: float
    windows: dict[str, dict[str, Any]]
    performance: dict[str, dict[str, Any]]
    decisions: dict[str, dict[str, Any]]

    def newest_metric(self) -> dict[str, float]:
        """The newest ``estimated`` and ``realised`` value, as far as there are any."""
        estimated = [(report["estimated"] or {}).get("value") for report in self.windows.values()]
        realised = [record["realised"]["value"] for record in self.performance.values()]
        found = {"estimated": estimated, "realised": realised}
        return {
            kind: next(value for value in reversed(values) if value is not None)
            for kind, values in found.items()
            if any(value is not None for value in values)
        }


def load_timeline(project: Project, store: Store, count: int = MAX_WINDOWS) -> Timeline:
    """The newest windows of a project."""

    def newest(kind: str) -> dict[str, dict[str, Any]]:
        records = Records(store, project.id, kind)
        return {name: records.read(name) for name in records.names()[-count:]}

    return Timeline(
        project.spec.watched_metric,
        project.spec.monitoring.drift.min_share,
        newest("windows"),
        newest("performance"),
        newest("decisions"),
    )


def timeline_rows(timeline: Timeline) -> list[dict[str, Any]]:
    """One row for each window, newest first."""
    rows = []
    for name, report in sorted(timeline.windows.items(), reverse=True):
        performance = timeline.performance.get(name, {})
        decision = timeline.decisions.get(name, {})
        rows.append(
            {
                "window": report["window"]["start"][:16].replace("T", " "),
                "rows": report["rows"],
                "version": report["version"],
                "data": report["quality"]["state"],
                "drift": report["drift"]["state"],
                "drifted_importance": report["drift"]["share"],
                f"estimated_{timeline.metric}": (report["estimated"] or {}).get("value"),
                f"realised_{timeline.metric}": performance.get("realised", {}).get("value"),
                "decision": decision.get("verdict"),
                "reason": decision.get("reason"),
            }
        )
    return rows


def draw_timeline(timeline: Timeline, title: str) -> bytes:
    """Metric, drift and decisions over time as a PNG."""
    figure = canvas.new_figure(10.5, 6.0)
    grid = figure.add_gridspec(3, 1, height_ratios=(3, 2, 1))
    top = canvas.panel(figure, grid[0], f"{title}: {timeline.metric} of the live model")
    middle = canvas.panel(figure, grid[1], "Importance of the inputs that drifted")
    bottom = canvas.panel(figure, grid[2], "Decisions")
    _draw_metric(top, timeline)
    _draw_drift(middle, timeline)
    _draw_decisions(bottom, timeline)
    for axes in (top, middle):
        axes.sharex(bottom)
        axes.tick_params(labelbottom=False)
    _draw_versions((top, middle, bottom), timeline)
    return canvas.to_png(figure)


def _moments(records: Sequence[dict[str, Any]]) -> list[float]:
    """Starts of the windows in matplotlib's days."""
    return [_days(record) for record in records]


def _days(record: dict[str, Any]) -> float:
    from matplotlib.dates import date2num

    return float(date2num(datetime.fromisoformat(record["window"]["start"])))


def _draw_metric(axes: Axes, timeline: Timeline) -> None:
    estimated = [r for r in timeline.windows.values() if (r["estimated"] or {}).get("value")]
    if estimated:
        values = [r["estimated"]["value"] for r in estimated]
        axes.plot(_moments(estimated), values, color=PALE, linestyle=":", label="estimated")
    known = [r for r in timeline.performance.values() if r["realised"]["value"] is not None]
    if not known:
        return
    moments = _moments(known)
    low = [r["realised"]["lower"] for r in known]
    high = [r["realised"]["upper"] for r in known]
    axes.fill_between(moments, low, high, color=PALE, alpha=0.35, linewidth=0)
    values = [r["realised"]["value"] for r in known]
    axes.plot(moments, values, color=CHALLENGER, marker="o", markersize=3, label="realised")
    based = [r for r in known if r["baseline"] is not None]
    limits = [_limit(r) for r in based]
    axes.step(
        _moments(based), limits, where="mid", color=CHAMPION, linestyle="--", label="accepted"
    )
    canvas.legend(axes, "center left", (1.01, 0.5))


def _limit(record: dict[str, Any]) -> float:
    from mlops_assets.config.metrics import METRICS

    sign = -1 if METRICS[record["realised"]["metric"]].goal == "increase" else 1
    return float(record["baseline"] + sign * record["max_drop"])


def _draw_drift(axes: Axes, timeline: Timeline) -> None:
    windows = list(timeline.windows.values())
    axes.plot(
        _moments(windows), [r["drift"]["share"] for r in windows], color=CHALLENGER, label="inputs"
    )
    predicted = [r for r in windows if r["drift"]["prediction_drifted"]]
    axes.scatter(
        _moments(predicted), [1.0] * len(predicted), color=INK, s=10, label="prediction drifted"
    )
    axes.axhline(timeline.min_share, color=CHAMPION, linestyle="--", linewidth=1, label="accepted")
    axes.set_ylim(-0.03, 1.05)
    canvas.legend(axes, "center left", (1.01, 0.5))


def _draw_decisions(axes: Axes, timeline: Timeline) -> None:
    for verdict, colour in COLOURS.items():
        chosen = [d for d in timeline.decisions.values() if d["verdict"] == verdict]
        if chosen:
            axes.scatter(
                _moments(chosen),
                [0] * len(chosen),
                color=colour,
                marker="|" if verdict in ("wait", "insufficient_data") else "D",
                s=60,
                zorder=3 if verdict in ("retrain", "blocked") else 2,
                label=WORDS[verdict],
            )
    axes.set_yticks([])
    axes.set_ylim(-1, 1)
    axes.xaxis_date()
    canvas.legend(axes, "center left", (1.01, 0.5))


def _draw_versions(panels: Sequence[Axes], timeline: Timeline) -> None:
    """A line where another version answered most requests for the first time."""
    before = None
    for report in timeline.windows.values():
        version = report["version"]
        if version is None or version == before:
            continue
        before = version
        moment = _days(report)
        for axes in panels:
            axes.axvline(moment, color=QUIET, linewidth=0.8)
        panels[0].annotate(
            f"v{version}",
            (moment, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(2, -9),
            textcoords="offset points",
            fontsize=canvas.SMALL,
            color=QUIET,
        )
