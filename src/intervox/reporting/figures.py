"""The report's plots, drawn as SVG text so that the page needs nothing else."""

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import norm

from intervox.evaluation.findings import Rate
from intervox.evaluation.results import Sweep
from intervox.reporting.study_tables import HIGHER_IS_BETTER, MEASURES
from intervox.training.checkpoint import LossRecord

Rates = tuple[NDArray[np.float64], NDArray[np.float64]]
"""False accepts, falling, and false rejects, rising."""

COLOURS = ("#2f7ed8", "#e07b39", "#3a9d6b", "#b3589a", "#8a7fd1", "#c9a227", "#5aa9b5", "#9a6a4f", "#888888")
"""Readable on a light and on a dark page."""

_INK = "#010203"
"""Stands for the page's own text colour, which an SVG file does not know."""

_DET_TICKS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
_INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
_FILE_STYLE: Any = {
    "svg.hashsalt": "intervox",
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_STYLE = _FILE_STYLE | {
    "svg.fonttype": "none",
    "legend.fontsize": 8,
    "axes.prop_cycle": cycler(color=COLOURS),
    **dict.fromkeys(_INKED, _INK),
}
_COLUMNS = 3
"""Panels side by side in the plot of a sweep."""


def det_curves(rates: Mapping[str, Rates]) -> str:
    """False rejects against false accepts on normal-deviate axes, one line a representation."""
    with matplotlib.rc_context(_STYLE):
        axes = _axes(height=4.2)
        for name, (accept, reject) in rates.items():
            kept = np.linspace(0, len(accept) - 1, min(len(accept), 500)).astype(int)
            limits = 5e-4, 1 - 5e-4
            axes.plot(norm.ppf(accept[kept].clip(*limits)), norm.ppf(reject[kept].clip(*limits)), label=name)
        ticks = np.asarray(norm.ppf(_DET_TICKS))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(ticks, [f"{100 * tick:g}" for tick in _DET_TICKS])
        axes.set(xlim=(ticks[0], ticks[-1]), ylim=(ticks[0], ticks[-1]))
        axes.set(xlabel="false accepts, %", ylabel="false rejects, %")
        axes.plot(ticks, ticks, color="0.6", linewidth=0.8, zorder=0)
        axes.grid(alpha=0.15)
        return _finish(axes, "DET curves")


def score_histograms(scores: Mapping[str, NDArray[np.float32]], space: str) -> str:
    """Densities of the cosines of several kinds of trial."""
    with matplotlib.rc_context(_STYLE):
        axes = _axes(height=2.8)
        bins = np.linspace(-1, 1, 81).tolist()
        for name, values in scores.items():
            axes.hist(values, bins, density=True, histtype="step", linewidth=1.4, label=name)
        axes.set(xlabel=f"cosine in the {space} subspace", ylabel="density", yticks=[])
        axes.set_xticks([-1, -0.5, 0, 0.5, 1])
        return _finish(axes, "Histograms of scores")


def severity_curves(curves: Mapping[str, Mapping[str, Rate]]) -> str:
    """EER over severity with its interval, one line a disturbance."""
    with matplotlib.rc_context(_STYLE):
        axes = _axes(height=3.0)
        for name, curve in curves.items():
            severities = sorted(curve, key=float)
            places = [float(severity) for severity in severities]
            rates = [100 * curve[severity].eer for severity in severities]
            (line,) = axes.plot(places, rates, marker="o", markersize=3, label=name.replace("_", " "))
            intervals = [curve[severity].eer_interval for severity in severities]
            bounds = [each for each in intervals if isinstance(each, tuple)]
            if len(bounds) == len(intervals):
                low, high = 100 * np.asarray(bounds).T
                axes.fill_between(places, low, high, color=line.get_color(), alpha=0.08, linewidth=0)
        axes.set(xlabel="severity", ylabel="EER, %", ylim=(0, None))
        axes.grid(alpha=0.15)
        return _finish(axes, "EER over severity")


def reliability(bins: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Share of targets over the mean predicted probability; the diagonal is calibrated."""
    with matplotlib.rc_context(_STYLE):
        axes = _axes(height=3.6)
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, zorder=0)
        for name, points in bins.items():
            predicted, observed, counts = np.asarray(points, float).T
            (line,) = axes.plot(predicted, observed, linewidth=1, label=name)
            sizes = 6 + 50 * counts / counts.max()
            axes.scatter(predicted, observed, sizes, color=line.get_color(), alpha=0.7, linewidth=0)
        axes.set(xlabel="probability predicted", ylabel="share of targets", xlim=(-0.02, 1.02))
        axes.set_ylim(-0.02, 1.02)
        axes.grid(alpha=0.15)
        return _finish(axes, "Reliability")


def running_curves(curves: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Missed keywords over false alarms an hour, one line a representation."""
    with matplotlib.rc_context(_STYLE):
        axes = _axes(height=3.0)
        for name, points in curves.items():
            alarms, missed = np.asarray(points, float).T
            axes.step(alarms, 100 * missed, where="post", label=name)
        axes.set(xlabel="false alarms an hour", ylabel="keywords missed, %", ylim=(0, 101))
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.15)
        return _finish(axes, "Missed keywords over false alarms")


def layer_weights(weights: Mapping[str, Mapping[int, float]]) -> str:
    """Learned weight of every layer that a subspace uses."""
    with matplotlib.rc_context(_STYLE):
        axes = _axes(height=2.4)
        width = 0.8 / len(weights)
        for index, (name, by_layer) in enumerate(weights.items()):
            positions = np.array(list(by_layer)) + (index - (len(weights) - 1) / 2) * width
            axes.bar(positions, list(by_layer.values()), width, label=name)
        layers = sorted({layer for by_layer in weights.values() for layer in by_layer})
        axes.set(xlabel="layer", ylabel="weight", xticks=layers)
        axes.margins(y=0.4)
        return _finish(axes, "Layer weights")


def training_curves(history: Sequence[LossRecord]) -> str:
    """Every part of the loss over the steps."""
    with matplotlib.rc_context(_STYLE):
        axes = _axes(height=2.8)
        steps = [record.step for record in history]
        for part in history[0].parts:
            axes.plot(steps, [record.parts[part] for record in history], label=part.replace("_", " "))
        axes.set(xlabel="step", ylabel="loss part", yscale="log")
        axes.grid(alpha=0.15)
        return _finish(axes, "Loss over the steps")


def _axes(height: float) -> Axes:
    return Figure(figsize=(4.4, height)).subplots()


def _finish(axes: Axes, title: str) -> str:
    """Render as an ``<svg>`` element, the same text for the same figure, in the page's text colour."""
    axes.legend(frameon=False)
    text = _svg(axes.get_figure(), bbox_inches="tight", transparent=True)
    drawn = text[text.index("<svg") :].replace(_INK, "currentColor")
    return drawn.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def _svg(figure: Any, **options: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, **options)
    return buffer.getvalue()


def difference_plot(found: Sweep) -> str:
    """Draw a panel a measure, a row a variant, a colour a protocol; an SVG file on white.

    Raw layers are left out: their distance would hide that between the variants.
    """
    measured = found.variants[0].figures
    panels = [key for key in MEASURES if any(f"{name} {key}" in measured for name in found.protocols)]
    names = [row.name for row in found.variants[1:]]
    if not names:
        panels = []
    with matplotlib.rc_context(_FILE_STYLE):
        rows = max(1, -(-len(panels) // _COLUMNS))
        size = 12.0, rows * (1.3 + 0.13 * len(names) * (1 + len(found.protocols)))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, _COLUMNS, sharey=True, squeeze=False).ravel()
        for axes, key in zip(grid, panels, strict=False):
            _panel(axes, key, found)
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        if panels:
            grid[0].set_yticks(range(len(names)), names)
            grid[0].set_ylim(len(names) - 0.5, -0.5)
            handles = [
                matplotlib.lines.Line2D([], [], color=colour, marker="o", markersize=4, label=protocol)
                for protocol, colour in zip(found.protocols, cycle(COLOURS), strict=False)
            ]
            figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
        return _svg(figure, facecolor="white")


def _panel(axes: Axes, key: str, found: Sweep) -> None:
    axes.axvline(0, color="0.6", linewidth=0.8, zorder=0)
    spread = np.linspace(-0.3, 0.3, max(2, len(found.protocols)))
    for protocol, colour, offset in zip(found.protocols, cycle(COLOURS), spread, strict=False):
        for place, row in enumerate(found.variants[1:]):
            if figure := row.figures.get(f"{protocol} {key}"):
                difference = figure.difference
                axes.plot(100 * difference.value, place + offset, "o", color=colour, markersize=4)
                if isinstance(difference.interval, tuple):
                    bounds = [100 * bound for bound in difference.interval]
                    axes.plot(bounds, [place + offset] * 2, color=colour, linewidth=1.4)
    better = "right" if key in HIGHER_IS_BETTER else "left"
    axes.set_title(MEASURES[key], fontsize=9, loc="left")
    axes.set_xlabel(f"points more than the recipe; better to the {better}", fontsize=8)
    axes.grid(axis="x", alpha=0.15)
    axes.tick_params(axis="y", length=0)
