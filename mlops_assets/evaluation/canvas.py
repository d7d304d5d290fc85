"""Figures without global state: one style, and PNG bytes that are legible on any background."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1f2933"
QUIET = "#6b7785"
GRID = "#e4e8ed"
PAPER = "#ffffff"
CHALLENGER = "#0072b2"
PALE = "#8fb8d4"
CHAMPION = "#d55e00"
GOOD = "#009e73"
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""

DPI = 110
TITLE, LABEL, SMALL = 10.5, 9.5, 8.5
"""Font sizes in points."""


def new_figure(width: float = 7.0, height: float = 3.8) -> Figure:
    """An empty figure, in inches; opaque, so that dark themes do not swallow its text."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=PAPER)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1)
    return figure


def panel(figure: Figure, place: Any, title: str, x: str = "", y: str = "") -> Axes:
    """A panel of a figure, styled."""
    axes = figure.add_subplot(place)
    axes.set_facecolor(PAPER)
    axes.set_title(title, color=INK, loc="left", fontweight="bold", fontsize=TITLE)
    axes.set_xlabel(x, color=QUIET, fontsize=LABEL)
    axes.set_ylabel(y, color=QUIET, fontsize=LABEL)
    axes.tick_params(colors=QUIET, labelsize=SMALL, length=3)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET)
    return axes


def legend(axes: Axes, place: str = "best", at: tuple[float, float] | None = None) -> None:
    """The legend, if anything in the panel has a label."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(
            loc=place,
            bbox_to_anchor=at,
            frameon=True,
            framealpha=0.9,
            edgecolor="none",
            labelcolor=INK,
            fontsize=SMALL,
        )


def to_png(figure: Figure) -> bytes:
    """The figure as PNG bytes with a palette of 128 colours, which keeps them small."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[:, :, :3])
    body = io.BytesIO()
    image.quantize(128).save(body, format="PNG", optimize=True)
    return body.getvalue()
