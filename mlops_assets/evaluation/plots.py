"""Pictures of a training and of an evaluation: plain data in, PNG bytes out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.evaluation import canvas
from mlops_assets.evaluation.canvas import CHALLENGER, CHAMPION, GOOD, GRID, INK, QUIET
from mlops_assets.evaluation.decision import figure as told
from mlops_assets.evaluation.result import EvaluationResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mlops_assets.training.result import EpochResult

MAX_ANNOTATED_CLASSES = 12
_COLOURS = {"challenger": CHALLENGER, "champion": CHAMPION}
_NAMES = {"challenger": "this model", "champion": "live model"}


def evaluation_pictures(result: EvaluationResult) -> dict[str, bytes]:
    """Every picture that the result has the data for, by name, in the order to show them."""
    from mlops_assets.evaluation.slice_plot import slices

    drawn: dict[str, tuple[bool, Callable[[EvaluationResult], bytes]]] = {
        "champion_vs_challenger_plot": (result.comparison is not None, champion_vs_challenger),
        "roc_and_pr": ("roc" in result.curves.get("challenger", {}), roc_and_pr),
        "calibration": (bool(result.calibration.get("challenger")), calibration),
        "residuals": ("residuals" in result.curves.get("challenger", {}), residuals),
        "confusion": ("confusion" in result.curves.get("challenger", {}), confusion),
        "slices_plot": (bool(result.slices), slices),
    }
    return {name: draw(result) for name, (wanted, draw) in drawn.items() if wanted}


def learning_curve(
    history: Sequence[EpochResult | Mapping[str, Any]], best_epoch: int | None = None
) -> bytes:
    """Training and validation loss by epoch, with the best epoch marked.

    Args:
        history: Epochs with ``epoch``, ``train_loss`` and ``validation_loss``.
        best_epoch: The epoch whose weights are kept; that of the lowest validation loss when not
            given.
    """
    from matplotlib.ticker import MaxNLocator

    epochs = [int(_of(item, "epoch")) for item in history]
    train = [_loss(_of(item, "train_loss")) for item in history]
    validation = [_loss(_of(item, "validation_loss")) for item in history]
    figure = canvas.new_figure()
    axes = canvas.panel(figure, 111, "Loss by epoch", "epoch", "loss")
    marker = "o" if len(epochs) <= 40 else None
    axes.plot(epochs, train, color=QUIET, marker=marker, markersize=3, label="training")
    axes.plot(epochs, validation, color=CHALLENGER, marker=marker, markersize=3, label="validation")
    if best_epoch is None and np.isfinite(validation).any():
        best_epoch = epochs[int(np.nanargmin(validation))]
    if best_epoch in epochs:
        _mark_best(axes, best_epoch, validation[epochs.index(best_epoch)])
    positive = [loss for loss in (*train, *validation) if loss > 0]
    if positive and max(positive) > 20 * min(positive):
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    canvas.legend(axes)
    return canvas.to_png(figure)


def roc_and_pr(result: EvaluationResult) -> bytes:
    """ROC and precision-recall curves of both models."""
    figure = canvas.new_figure(8.4, 3.9)
    grid = figure.add_gridspec(1, 2)
    left = canvas.panel(figure, grid[0], "ROC", "false positive rate", "true positive rate")
    right = canvas.panel(figure, grid[1], "Precision and recall", "recall", "precision")
    left.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=":")
    base = _positive_share(result)
    if base is not None:
        right.axhline(base, color=QUIET, linewidth=1, linestyle=":")
    for name, lines in _models(result.curves):
        style: dict[str, Any] = {"color": _COLOURS[name], "linewidth": 1.8, "zorder": 3}
        roc, pr = lines["roc"], lines["pr"]
        area, average = (
            _metric(result, name, metric) for metric in ("roc_auc", "average_precision")
        )
        left.plot(roc["fpr"], roc["tpr"], label=f"{_NAMES[name]}: area {area}", **style)
        right.plot(pr["recall"], pr["precision"], label=f"{_NAMES[name]}: {average}", **style)
    for axes in (left, right):
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.03)
    canvas.legend(left, "lower right")
    canvas.legend(right, "upper right")
    return canvas.to_png(figure)


def calibration(result: EvaluationResult) -> bytes:
    """What came true against what was predicted, and how many rows were predicted so."""
    figure = canvas.new_figure(7.0, 4.8)
    grid = figure.add_gridspec(2, 1, height_ratios=[3, 1])
    bins = result.calibration["challenger"]
    title = "Calibration" if result.task != "regression" else "Mean label by mean prediction"
    upper = canvas.panel(figure, grid[0], f"{title} ({_bins_told(bins)})", y=_observed(result))
    lower = canvas.panel(figure, grid[1], "", _predicted(result), "density")
    for name, rows in _models(result.calibration):
        x, y = ([row[key] for row in rows] for key in ("predicted", "observed"))
        style: dict[str, Any] = {
            "color": _COLOURS[name],
            "markersize": 4,
            "linewidth": 1.4,
            "label": _NAMES[name],
        }
        if result.task == "regression":
            upper.plot(x, y, marker="o", **style)
        else:
            upper.errorbar(x, y, yerr=_wilson(rows), marker="o", capsize=2, **style)
        _density(lower, rows, _COLOURS[name])
    ends = [row[key] for rows in result.calibration.values() for row in rows
            for key in ("predicted", "observed")]  # fmt: skip
    upper.axline((ends[0], ends[0]), slope=1, color=QUIET, linewidth=1, linestyle=":")
    lower.set_xlim(upper.get_xlim())
    lower.set_ylim(bottom=0)
    canvas.legend(upper, "upper left")
    return canvas.to_png(figure)


def residuals(result: EvaluationResult) -> bytes:
    """How far off the predictions are, and where."""
    lines = result.curves["challenger"]
    figure = canvas.new_figure(8.4, 3.9)
    grid = figure.add_gridspec(1, 2)
    left = canvas.panel(figure, grid[0], "Residuals", "prediction minus label", "rows")
    edges = np.asarray(lines["residuals"]["edges"])
    counts = lines["residuals"]["counts"]
    left.stairs(counts, edges, fill=True, color=CHALLENGER, alpha=0.35)
    left.stairs(counts, edges, color=CHALLENGER, label=_NAMES["challenger"])
    champion = result.curves.get("champion", {}).get("residuals")
    if champion:
        left.stairs(champion["counts"], champion["edges"], color=CHAMPION, label=_NAMES["champion"])
    left.axvline(0, color=INK, linewidth=1)
    canvas.legend(left)
    _density_map(
        canvas.panel(figure, grid[1], "Predicted and actual", "predicted", "actual"), lines
    )
    return canvas.to_png(figure)


def confusion(result: EvaluationResult) -> bytes:
    """Share of each actual class that was taken for each class."""
    document = result.curves["challenger"]["confusion"]
    classes, counts = document["classes"], np.asarray(document["counts"], dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 2.6 + 0.34 * len(classes)
    figure = canvas.new_figure(max(4.6, size + 1.6), max(3.6, size))
    axes = canvas.panel(figure, 111, "Confusion: share of each actual class", "predicted", "actual")
    axes.grid(False)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [name if len(name) <= 16 else f"{name[:15]}…" for name in classes]
    axes.set_xticks(range(len(names)), names, rotation=90 if len(names) > 5 else 0)
    axes.set_yticks(range(len(names)), names)
    if len(names) <= MAX_ANNOTATED_CLASSES:
        for (row, column), share in np.ndenumerate(shares):
            axes.text(
                column, row, f"{share * 100:.0f} %", ha="center", va="center", fontsize=7.5,
                color="white" if share > 0.5 else INK,
            )  # fmt: skip
    figure.colorbar(image, ax=axes, shrink=0.8).ax.tick_params(colors=QUIET, labelsize=8)
    return canvas.to_png(figure)


def champion_vs_challenger(result: EvaluationResult) -> bytes:
    """The difference of the primary metric with its bounds, against the margin."""
    c = result.comparison
    if c is None:
        raise ValueError("there is no comparison to draw")
    figure = canvas.new_figure(7.0, 2.5)
    better = "higher" if c.goal == "increase" else "lower"
    title = f"{c.metric}: {told(c.challenger)} against {told(c.champion)} live ({better} is better)"
    axes = canvas.panel(figure, 111, title, f"difference in {c.metric}")
    low, high = (c.difference if bound is None else bound for bound in (c.lower, c.upper))
    margin = -c.margin if c.goal == "increase" else c.margin
    ends = [low, high, margin, 0.0]
    pad = 0.12 * (max(ends) - min(ends)) or 1e-6
    axes.set_xlim(min(ends) - pad, max(ends) + pad)
    edge = axes.get_xlim()[1] if c.goal == "increase" else axes.get_xlim()[0]
    axes.axvspan(margin, edge, color=GOOD, alpha=0.10, linewidth=0, label="accepted")
    axes.axvline(
        margin, color=GOOD, linewidth=1.2, linestyle="--", label=f"margin {told(margin, sign=True)}"
    )
    axes.axvline(0, color=QUIET, linewidth=1)
    colour = CHALLENGER if c.non_inferior else CHAMPION
    axes.plot([low, high], [0, 0], color=colour, linewidth=3, solid_capstyle="butt")
    axes.plot([low, high], [0, 0], "|", color=colour, markersize=14, markeredgewidth=2)
    axes.plot([c.difference], [0], "o", color=colour, markersize=8)
    text = f"{told(c.difference, sign=True)}   ({told(c.lower, True)} to {told(c.upper, True)})"
    axes.annotate(
        text, (c.difference, 0), (0, 12), textcoords="offset points", ha="center", color=INK
    )
    axes.set_yticks([])
    axes.set_ylim(-1, 1)
    axes.spines["left"].set_visible(False)
    canvas.legend(axes, "lower left" if c.goal == "decrease" else "lower right")
    return canvas.to_png(figure)


def _mark_best(axes: Axes, epoch: int, loss: float) -> None:
    axes.axvline(epoch, color=GOOD, linewidth=1, linestyle="--")
    label = f"best: epoch {epoch}, loss {told(loss)}"
    axes.plot([epoch], [loss], "o", color=GOOD, markersize=8, label=label, zorder=4)


def _models(parts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Champion first, so that the challenger is drawn over it; empty parts left out."""
    return [(name, parts[name]) for name in ("champion", "challenger") if parts.get(name)]


def _metric(result: EvaluationResult, model: str, metric: str) -> str:
    metrics = result.metrics if model == "challenger" else result.champion_metrics or {}
    return told(metrics.get(metric))


def _positive_share(result: EvaluationResult) -> float | None:
    bins = result.calibration.get("challenger") or []
    rows = sum(row["rows"] for row in bins)
    return sum(row["observed"] * row["rows"] for row in bins) / rows if rows else None


def _observed(result: EvaluationResult) -> str:
    return {"binary": "share that came true", "multiclass": "share that was right"}.get(
        result.task, "mean label"
    )


def _predicted(result: EvaluationResult) -> str:
    return {
        "binary": "predicted probability",
        "multiclass": "probability of the predicted class",
    }.get(result.task, "mean prediction")


def _bins_told(bins: Sequence[Mapping[str, Any]]) -> str:
    rows = [row["rows"] for row in bins]
    if min(rows) == max(rows):
        return f"{len(rows)} bins of {rows[0]:,} rows"
    return f"{len(rows)} bins of {min(rows):,} to {max(rows):,} rows"


def _wilson(bins: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """Distances to the ends of the 95 % interval of a share (Wilson 1927)."""
    z = 1.96
    below, above = [], []
    for row in bins:
        n, share = row["rows"], row["observed"]
        middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        below.append(max(0.0, share - (middle - half)))
        above.append(max(0.0, middle + half - share))
    return [below, above]


def _density(axes: Axes, bins: Sequence[Mapping[str, Any]], colour: str) -> None:
    """Rows of each bin over its width; a bin of one value is as wide as the narrowest other."""
    total = sum(row["rows"] for row in bins)
    edges = np.array([bins[0]["lower"], *(row["upper"] for row in bins)], dtype=float)
    widths = np.diff(edges)
    wide = widths[widths > 0]
    widths = np.maximum(widths, wide.min() if wide.size else 1.0)
    axes.stairs(np.array([row["rows"] for row in bins]) / total / widths, edges, color=colour)
    axes.set_yticks([])


def _density_map(axes: Axes, lines: Mapping[str, Any]) -> None:
    from matplotlib.colors import LogNorm

    edges = lines["predicted_vs_actual"]["edges"]
    counts = np.asarray(lines["predicted_vs_actual"]["counts"], dtype=float)
    shown = np.where(counts > 0, counts, np.nan)
    mesh = axes.pcolormesh(
        edges, edges, shown, cmap="Blues", norm=LogNorm(1, max(2.0, counts.max()))
    )
    axes.axline((edges[0], edges[0]), slope=1, color=CHAMPION, linewidth=1, linestyle="--")
    axes.grid(color=GRID)
    bar = axes.figure.colorbar(mesh, ax=axes, shrink=0.85)
    bar.set_label("rows", color=QUIET)
    bar.ax.tick_params(colors=QUIET, labelsize=8)


def _of(item: object, name: str) -> Any:
    return item[name] if isinstance(item, Mapping) else getattr(item, name)


def _loss(value: float | None) -> float:
    return float("nan") if value is None else float(value)
