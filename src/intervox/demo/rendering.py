"""Answers as HTML, everything that a visitor gave escaped."""

from collections.abc import Sequence
from typing import Any

import jinja2

from intervox.demo.comparison import Verdict
from intervox.demo.maps import MAP_SIZE, MARKS, MapDrawing
from intervox.demo.spotting import Timeline


def comparison(verdicts: Sequence[Verdict], drawings: dict[str, MapDrawing]) -> str:
    """Show verdicts, each with the map of its subspace where there is one."""
    return _render("comparison", verdicts=verdicts, drawings=drawings, marks=MARKS, size=MAP_SIZE)


def spotting(found: Timeline) -> str:
    """Show detections as a timeline and a table."""
    return _render("spotting", found=found, percent_of=lambda time: round(100 * time / found.seconds, 2))


def problem(sentence: str) -> str:
    """Show what a visitor can mend."""
    return _render("problem", sentence=f"{sentence[0].upper()}{sentence[1:]}.")


def percent(probability: float) -> str:
    """Write a probability without claiming certainty."""
    if probability < 0.01:
        return "below 1\u00a0%"
    return "above 99\u00a0%" if probability > 0.99 else f"{100 * probability:.0f}\u00a0%"


def clock(seconds: float) -> str:
    """Write a time as minutes and seconds, to a tenth."""
    minutes, tenths = divmod(round(10 * seconds), 600)
    return f"{minutes}:{tenths // 10:02d}.{tenths % 10}"


def _render(template: str, **values: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("intervox.demo", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(f"{template}.html.jinja").render(percent=percent, clock=clock, **values)
