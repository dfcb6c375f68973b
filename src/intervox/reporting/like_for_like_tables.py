"""``like_for_like.json`` as tables: one for each measure, corpora side by side, and one of differences."""

from collections.abc import Callable

from intervox.evaluation.results import LikeForLike, SweepFigure
from intervox.evaluation.studies.sweep import HELD_OUT
from intervox.reporting.study_tables import starred
from intervox.reporting.wording import percent
from intervox.tables import NOTHING, Table

MEASURES = {
    "clean different_text": ("Speaker EER", "different text, clean, in %; lower is better"),
    "cross_condition different_text": (
        "Speaker EER across conditions",
        "different text, every clip in its own room, noise, band and level, in %; lower is better",
    ),
    "clean one_shot": (
        "One-shot keywords",
        "accuracy in % from one example of each word by other speakers; higher is better",
    ),
    "cross_condition one_shot": (
        "One-shot keywords across conditions",
        "the same, every clip in its own room, noise, band and level; higher is better",
    ),
    "clean speaker_probe": (
        "Speaker probe of the content space",
        "accuracy of a linear probe less that of guessing, in points; lower is better",
    ),
    "clean content_probe": (
        "Content probe of the speaker space",
        "accuracy of a linear probe less that of guessing, in points; lower is better",
    ),
}
"""Condition and measure to a title and how to read it."""

_INTERVALS = (
    "In brackets the 95 % interval over the measured speakers and, where there are several, the seeds; * "
    "marks a value whose paired difference from {reference} has an interval without 0."
)
_DIFFERENCES = "Less the value of {reference}, on the same resamples; in brackets the 95 % interval."


def like_for_like_tables(found: LikeForLike, differences: bool = True) -> list[Table]:
    """Build a table for each measure, and after it the paired differences."""
    tables = []
    for measure, (title, reading) in MEASURES.items():
        corpora = [
            name
            for name in found.protocols
            if name != HELD_OUT and any(f"{name} {measure}" in one.figures for one in found.systems)
        ]
        if not corpora:
            continue
        key = "like for like"
        note = f"{reading[0].upper()}{reading[1:]}. {_INTERVALS.format(reference=found.reference)}"
        tables.append(_table(f"{title}: {key}", note, found, corpora, measure, _value))
        if differences:
            note = _DIFFERENCES.format(reference=found.reference)
            tables.append(_table(f"{title}, differences: {key}", note, found, corpora, measure, _difference))
    return tables


def _table(
    title: str,
    note: str,
    found: LikeForLike,
    corpora: list[str],
    measure: str,
    write: Callable[[SweepFigure], str],
) -> Table:
    rows = []
    for one in found.systems:
        figures = [one.figures.get(f"{corpus} {measure}") for corpus in corpora]
        if any(figures):
            rows.append([one.name, *(NOTHING if each is None else write(each) for each in figures)])
    return Table(title, note, ["system", *corpora], rows, labels=1)


def _value(figure: SweepFigure) -> str:
    return starred(figure.value, figure.interval, figure.difference.interval)


def _difference(figure: SweepFigure) -> str:
    return percent(figure.difference.value, figure.difference.interval)
