"""The picture of the slices: how far each is from the whole."""

from __future__ import annotations

from typing import Any

from mlops_assets.config.metrics import METRICS
from mlops_assets.evaluation import canvas
from mlops_assets.evaluation.canvas import CHALLENGER, CHAMPION, INK, PALE, QUIET
from mlops_assets.evaluation.decision import figure as told
from mlops_assets.evaluation.result import EvaluationResult

MAX_BARS = 30
MAX_COLUMNS = 6
_HEAD = "__head"
_NOTE: dict[str, Any] = {"fontsize": 8, "color": QUIET}


def slices(result: EvaluationResult) -> bytes:
    """Bars of the primary metric by slice, drawn from the value of all rows.

    The largest slices of each column; worse slices are in another colour, the live model's value
    is a diamond, and rows are counted at the right.
    """
    lines = _lines(result)
    whole = result.metrics[result.primary]
    figure = canvas.new_figure(7.4, 1.3 + 0.23 * len(lines))
    better = "higher" if METRICS[result.primary].goal == "increase" else "lower"
    title = f"{result.primary} by slice ({better} is better; line: all rows, {told(whole)})"
    live = ", ◆ live model" if result.champion_metrics is not None else ""
    axes = canvas.panel(figure, 111, title, f"{result.primary}   (dark: worse than all rows{live})")
    axes.grid(False, axis="y")
    for place, line in enumerate(lines):
        if _HEAD not in line:
            _bar(axes, place, line, result, whole or 0.0)
    if whole is not None:
        axes.axvline(whole, color=INK, linewidth=1)
    labels = [line.get(_HEAD) or line["value"][:28] for line in lines]
    axes.set_yticks(range(len(lines)), labels)
    for tick, line in zip(axes.get_yticklabels(), lines, strict=True):
        if _HEAD in line:
            tick.set_fontweight("bold")
            tick.set_color(INK)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.margins(x=0.06)
    axes.text(1.01, 0, "rows", transform=axes.get_yaxis_transform(), va="center", **_NOTE)
    return canvas.to_png(figure)


def _lines(result: EvaluationResult) -> list[dict[str, Any]]:
    """A heading for each column, followed by its largest slices."""
    columns: dict[str, list[dict[str, Any]]] = {}
    for part in result.slices:
        columns.setdefault(part["column"], []).append(part)
    shown = list(columns.items())[:MAX_COLUMNS]
    room = MAX_BARS // len(shown)
    lines: list[dict[str, Any]] = []
    for column, parts in shown:
        rest = [part for part in parts if part["kind"] in {"other", "missing"}]
        named = [part for part in parts if part not in rest]
        lines += [{_HEAD: column}, *named[: max(1, room - len(rest))], *rest]
    return lines


def _bar(
    axes: Any, place: int, part: dict[str, Any], result: EvaluationResult, whole: float
) -> None:
    value = part["metrics"][result.primary]
    right = axes.get_yaxis_transform()
    rows = f"{part['rows']:,}" + ("" if value is not None else "  (not defined)")
    axes.text(1.01, place, rows, transform=right, va="center", **_NOTE)
    if value is None:
        return
    worse = (value < whole) == (METRICS[result.primary].goal == "increase") and value != whole
    colour = CHALLENGER if worse else PALE
    axes.barh(place, value - whole, left=whole, height=0.62, color=colour)
    old = (part["champion_metrics"] or {}).get(result.primary)
    if old is not None:
        axes.plot([old], [place], "D", color=CHAMPION, markersize=4)
