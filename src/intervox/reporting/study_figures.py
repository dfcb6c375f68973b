"""``sweep.svg``: what each variant of a recipe changes."""

from itertools import cycle

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from intervox.evaluation.results import Sweep
from intervox.reporting.figures import COLOURS, FILE_STYLE, svg_text
from intervox.reporting.study_tables import HIGHER_IS_BETTER, MEASURES

_COLUMNS = 3
"""Panels side by side."""


def difference_plot(found: Sweep) -> str:
    """Draw a panel a measure, a row a variant, a colour a protocol; an SVG file on white.

    Raw layers are left out: their distance would hide that between the variants.
    """
    measured = found.variants[0].figures
    panels = [key for key in MEASURES if any(f"{name} {key}" in measured for name in found.protocols)]
    names = [row.name for row in found.variants[1:]]
    if not names:
        panels = []
    with matplotlib.rc_context(FILE_STYLE):
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
        return svg_text(figure, facecolor="white")


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
