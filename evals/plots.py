"""Plots of an evaluation, as SVG that stands in a page."""

import io
import re

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from evals.evaluation import Evaluation

# Inches.
WIDTH, BAR, FRAME, CURVE = 8.0, 0.3, 0.7, 2.6
COLOURS = ("#4c78a8", "#f58518")
INK, FAINT = "#24292f", "#8c959f"
# Numbered in each plot alike, and referred to by nothing.
_GROUP = re.compile(r'<g id="[^"]*"')


def means(evaluation: Evaluation) -> str:
    """A point with its interval for each measure and way."""
    names = list(evaluation.outcomes[0].means)
    count = len(evaluation.outcomes)
    figure = Figure(figsize=(WIDTH, len(names) * count * BAR + FRAME), layout="constrained")
    ax = figure.subplots()
    for shift, (outcome, colour) in enumerate(zip(evaluation.outcomes, COLOURS, strict=False)):
        places = np.arange(len(names)) + (shift - (count - 1) / 2) * 0.3
        shown = [outcome.means[name] for name in names]
        middle = np.array([mean.mean for mean in shown])
        around = np.array([[mean.mean - mean.low, mean.high - mean.mean] for mean in shown]).T
        ax.errorbar(
            middle, places, xerr=around.clip(min=0), fmt="o", color=colour, capsize=3, label=outcome.way
        )
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlim(0, 1.02)
    ax.grid(axis="x", alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="best", frameon=False)
    return _svg(figure, "means")


def questions(evaluation: Evaluation) -> str:
    """The first measure question by question, in order: its values, or the differences of two ways."""
    name = evaluation.first_measure
    values = np.array([outcome.values[name] for outcome in evaluation.outcomes])
    two = len(values) == 2
    shown = np.sort(values[0] - values[1] if two else values[0])
    figure = Figure(figsize=(WIDTH, CURVE), layout="constrained")
    ax = figure.subplots()
    ax.fill_between(np.arange(len(shown)), shown, step="mid", color=COLOURS[0], alpha=0.7, linewidth=0)
    ax.axhline(0, color=FAINT, linewidth=0.8)
    ways = " minus ".join(outcome.way for outcome in evaluation.outcomes)
    ax.set_title(f"{name}: {ways}", loc="left", fontsize=9)
    ax.set_xlabel("questions, in the order of this value")
    ax.spines[["top", "right"]].set_visible(False)
    return _svg(figure, "questions")


def _svg(figure: Figure, name: str) -> str:
    """From `<svg` on, without a date, so that the same numbers give the same bytes; no id is in two plots."""
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.size": 9, "text.color": INK}):
        figure.savefig(
            out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    text = out.getvalue()
    return _GROUP.sub("<g", text[text.index("<svg") :])
