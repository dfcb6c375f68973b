"""The report's plots, drawn as SVG text so that the page needs nothing else."""

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import norm

from intervox.evaluation.findings import Rate
from intervox.training.checkpoint import LossRecord

Rates = tuple[NDArray[np.float64], NDArray[np.float64]]
"""False accepts, falling, and false rejects, rising."""

COLOURS = ("#2f7ed8", "#e07b39", "#3a9d6b", "#b3589a", "#8a7fd1", "#c9a227", "#5aa9b5", "#9a6a4f", "#888888")
"""Readable on a light and on a dark page."""

_COLOUR_OF = {
    "speaker subspace": COLOURS[0],
    "content subspace": COLOURS[1],
    "LDA": COLOURS[2],
    "Resemblyzer": COLOURS[4],
    "raw": COLOURS[8],
    "raw, mean over layers": COLOURS[7],
}
"""As on the page that the figures are part of."""

_SPARE = COLOURS[3], COLOURS[5], COLOURS[6]
"""For spaces and baselines of other names."""

_LONG_DECIMALS = re.compile(r"\d+\.\d{3,}")
"""Of coordinates: a tenth of a point is finer than a screen."""

_INK = "#010203"
"""Stands for the page's own text colour, which an SVG file does not know."""

_DET_TICKS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
_DET_STEPS = 200
"""Points of a curve across the figure, at most."""
_INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
FILE_STYLE: Any = {
    "svg.hashsalt": "intervox",
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
"""Of every figure, also of those that are files of their own."""

_STYLE = FILE_STYLE | {
    "svg.fonttype": "none",
    "legend.fontsize": 8,
    "axes.prop_cycle": cycler(color=COLOURS),
    **dict.fromkeys(_INKED, _INK),
}


def det_curves(rates: Mapping[str, Rates], dashed: Mapping[str, Rates], label: str) -> str:
    """False rejects against false accepts on normal-deviate axes, one line a representation.

    Parameters
    ----------
    dashed
        The same under a harder condition; may be empty.
    label
        What is shown, for those who do not see it; the error rates are added.
    """
    with matplotlib.rc_context(_STYLE):
        axes = _axes(height=4.2)
        limits = norm.ppf(_DET_TICKS[0]), norm.ppf(_DET_TICKS[-1])
        for curves, style in ((rates, "-"), (dashed, "--")):
            for name, (accept, reject) in curves.items():
                x, y = (norm.ppf(each.clip(5e-4, 1 - 5e-4)) for each in (accept, reject))
                kept = _thinned(x, y, limits)
                named = name if name not in rates or style == "-" else None
                axes.plot(x[kept], y[kept], style, label=named, color=_colour(name))
        ticks = np.asarray(norm.ppf(_DET_TICKS))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(ticks, [f"{100 * tick:g}" for tick in _DET_TICKS])
        axes.set(xlim=limits, ylim=limits, xlabel="false accepts, %", ylabel="false rejects, %")
        axes.plot(ticks, ticks, color="0.6", linewidth=0.8, zorder=0)
        axes.grid(alpha=0.15)
        equal = [f"{name} {_equal(*curve):.1f} %" for name, curve in rates.items()]
        return _finish(axes, f"{label}. Equal error rates: {', '.join(equal)}")


def _thinned(
    x: NDArray[np.float64], y: NDArray[np.float64], limits: tuple[float, float]
) -> NDArray[np.bool_]:
    """Keep the points of a falling curve that can be told apart on the page."""
    steps = np.floor((x - y) / (limits[1] - limits[0]) * _DET_STEPS)
    shown = (x >= limits[0] - 1) & (y >= limits[0] - 1)
    return np.asarray(shown & np.append(True, np.diff(steps) != 0))


def _equal(accept: NDArray[np.float64], reject: NDArray[np.float64]) -> float:
    """Where the two kinds of error are as frequent, in per cent."""
    place = int(np.argmin(np.abs(accept - reject)))
    return float(50 * (accept[place] + reject[place]))


def score_histograms(scores: Mapping[str, NDArray[np.float32]], space: str, label: str) -> str:
    """Densities of the cosines of several kinds of trial."""
    with matplotlib.rc_context(_STYLE):
        axes = _axes(height=4.2)
        bins = np.linspace(-1, 1, 81).tolist()
        for name, values in scores.items():
            axes.hist(values, bins, density=True, histtype="step", linewidth=1.4, label=name)
        axes.set(xlabel=f"cosine in the {space} subspace", ylabel="density", yticks=[])
        axes.set_xticks([-1, -0.5, 0, 0.5, 1])
        means = [f"{name} {values.mean():.2f}" for name, values in scores.items() if len(values)]
        return _finish(axes, f"{label}. Mean cosines: {', '.join(means)}")


def severity_curves(curves: Mapping[str, Mapping[str, Rate]], most: float, label: str) -> str:
    """EER over severity with its interval, one line a disturbance.

    Parameters
    ----------
    most
        Upper end of the axis, in per cent, so that figures side by side share a scale.
    """
    with matplotlib.rc_context(_STYLE):
        axes = _axes(height=3.0)
        ends = []
        for name, curve in curves.items():
            severities = sorted(curve, key=float)
            places = [float(severity) for severity in severities]
            rates = [100 * curve[severity].eer for severity in severities]
            (line,) = axes.plot(places, rates, marker="o", markersize=3, label=name.replace("_", " "))
            ends.append(f"{name.replace('_', ' ')} {rates[0]:.1f} to {rates[-1]:.1f} %")
            if has_bands({name: curve}):
                low, high = 100 * np.asarray([curve[severity].eer_interval for severity in severities]).T
                axes.fill_between(places, low, high, color=line.get_color(), alpha=0.18, linewidth=0)
        axes.set(xlabel="severity", ylabel="EER, %", ylim=(0, most))
        axes.set_xticks(sorted({float(severity) for curve in curves.values() for severity in curve}))
        axes.grid(alpha=0.15)
        return _finish(axes, f"{label}: {', '.join(ends)}")


def has_bands(curves: Mapping[str, Mapping[str, Rate]]) -> bool:
    """Whether every point of the curves has an interval to be drawn."""
    return all(isinstance(rate.eer_interval, tuple) for curve in curves.values() for rate in curve.values())


def reliability(bins: Mapping[str, Sequence[Sequence[float]]], label: str) -> str:
    """Share of targets over the mean predicted probability; the diagonal is calibrated."""
    with matplotlib.rc_context(_STYLE):
        axes = _axes(height=3.6)
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, zorder=0)
        read = []
        for name, points in bins.items():
            predicted, observed, counts = np.asarray(points, float).T
            (line,) = axes.plot(predicted, observed, linewidth=1, label=name, color=_colour(name))
            sizes = 6 + 50 * counts / counts.max()
            axes.scatter(predicted, observed, sizes, color=line.get_color(), alpha=0.7, linewidth=0)
            off = float(np.average(np.abs(predicted - observed), weights=counts))
            read.append(f"{name} {100 * off:.0f} points off the diagonal on average")
        axes.set(xlabel="probability predicted", ylabel="share of targets", xlim=(-0.02, 1.02))
        axes.set_ylim(-0.02, 1.02)
        axes.grid(alpha=0.15)
        return _finish(axes, f"{label}: {', '.join(read)}")


def running_curves(curves: Mapping[str, Sequence[Sequence[float]]], label: str) -> str:
    """Missed keywords over false alarms an hour, one line a representation."""
    with matplotlib.rc_context(_STYLE):
        axes = _axes(height=3.0)
        read = []
        for name, points in curves.items():
            alarms, missed = np.asarray(points, float).T
            axes.step(alarms, 100 * missed, where="post", label=name, color=_colour(name))
            at_ten = missed[alarms <= 10].min(initial=1.0)
            read.append(f"{name} {100 * at_ten:.0f} %")
        axes.set(xlabel="false alarms an hour", ylabel="keywords missed, %", ylim=(0, 101))
        axes.set_xscale("symlog", linthresh=1)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_xlim(left=0)
        axes.grid(alpha=0.15)
        return _finish(axes, f"{label}. Missed at ten false alarms an hour: {', '.join(read)}")


def layer_weights(weights: Mapping[str, Mapping[int, float]]) -> str:
    """Learned weight of every layer that a subspace uses."""
    with matplotlib.rc_context(_STYLE):
        axes = _axes(height=2.8)
        width = 0.8 / len(weights)
        read = []
        for index, (name, by_layer) in enumerate(weights.items()):
            positions = np.array(list(by_layer)) + (index - (len(weights) - 1) / 2) * width
            title = f"{name} subspace"
            axes.bar(positions, list(by_layer.values()), width, label=title, color=_colour(title))
            read.append(f"{title} layer {max(by_layer, key=lambda layer: by_layer[layer])}")
        layers = sorted({layer for by_layer in weights.values() for layer in by_layer})
        axes.set(xlabel="layer", ylabel="weight", xticks=layers)
        axes.margins(y=0.4)
        return _finish(axes, f"Weights of the layers. The largest: {', '.join(read)}")


def training_curves(history: Sequence[LossRecord]) -> str:
    """Every part of the loss over the steps."""
    with matplotlib.rc_context(_STYLE):
        axes = _axes(height=2.8)
        steps = [record.step for record in history]
        first, last = history[0].parts, history[-1].parts
        for part in first:
            axes.plot(steps, [record.parts[part] for record in history], label=part.replace("_", " "))
        axes.set(xlabel="step", ylabel="loss part", yscale="log")
        axes.grid(alpha=0.15)
        read = [f"{part.replace('_', ' ')} from {first[part]:.2g} to {last[part]:.2g}" for part in first]
        return _finish(axes, f"Parts of the loss over {steps[-1]:,} steps: {', '.join(read)}")


def _axes(height: float) -> Axes:
    return Figure(figsize=(4.4, height)).subplots()


def _colour(name: str) -> str:
    """The colour of a representation, the same in every figure of a page."""
    known = "raw" if name.startswith("raw, layer") else name
    return _COLOUR_OF.get(known) or _SPARE[sum(name.encode()) % len(_SPARE)]


def _finish(axes: Axes, label: str) -> str:
    """Render as an ``<svg>`` element, the same text for the same figure, in the page's text colour."""
    # Above the curves, so that it covers none.
    short = sum(map(len, axes.get_legend_handles_labels()[1])) < 48
    place: Any = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    axes.legend(frameon=False, ncols=3 if short else 2, **place)
    text = svg_text(axes.get_figure(), bbox_inches="tight", transparent=True)
    drawn = text[text.index("<svg") :].replace(_INK, "currentColor")
    drawn = _LONG_DECIMALS.sub(lambda found: f"{float(found[0]):.1f}", drawn)
    return drawn.replace("<svg", f'<svg role="img" aria-label="{escape(label)}."', 1)


def svg_text(figure: Any, **options: Any) -> str:
    """Write a figure as SVG, the same text for the same figure."""
    buffer = io.StringIO()
    about = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=about, **options)
    return buffer.getvalue()
