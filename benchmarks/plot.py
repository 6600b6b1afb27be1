"""The plot of a run: a panel of bars for each measurement."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.bench import Row

# Inches: the width, the share of a row, and what stands around the rows of a panel.
WIDTH = 8.0
BAR, BAR_SHARE, FRAME = 0.24, 0.7, 0.65
INK, BARS, TARGET = "#24292f", "#4c78a8", "#c44e52"


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write an SVG with one panel for each measurement and unit, in the order of the rows."""
    panels = [list(group) for _, group in groupby(rows, key=lambda row: (row.measurement, row.unit))]
    heights = [len(panel) * BAR + FRAME for panel in panels]
    with mpl.rc_context({"svg.hashsalt": "ibid", "font.size": 8, "text.color": INK}):
        figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
        axes = figure.subplots(len(panels), squeeze=False, height_ratios=heights)
        for panel, ax in zip(panels, axes.flat, strict=True):
            _panel(ax, panel)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _panel(ax: Axes, rows: Sequence[Row]) -> None:
    places = range(len(rows))
    ax.barh(places, [row.value for row in rows], color=BARS, height=BAR_SHARE)
    ax.set_yticks(places, [row.name for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_title(f"{rows[0].measurement}: {rows[0].unit}", loc="left", fontsize=9, fontweight="bold")
    ax.spines[["top", "right"]].set_visible(False)
    for place, row in zip(places, rows, strict=True):
        ax.text(row.value, place, f" {row.shown}", va="center")
        if row.target is not None:
            ax.plot([row.target.limit] * 2, [place - 0.5, place + 0.5], color=TARGET, linewidth=2)
    ax.margins(x=0.1)
