"""``like_for_like.json`` as tables: one for each measure, corpora side by side, and one of differences."""

from collections.abc import Callable

from intervox.evaluation.results import ComparedSystem, LikeForLike, SweepFigure
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
        "accuracy of a linear probe less that of guessing, in points, on texts that it was not trained on, "
        "which are resampled; lower is better",
    ),
    "clean content_probe": (
        "Content probe of the speaker space",
        "accuracy of a linear probe less that of guessing, in points, on speakers that it was not trained "
        "on; lower is better",
    ),
}
"""Condition and measure to a title and how to read it."""

_INTERVALS = (
    "In brackets the 95 % interval over the measured speakers and, where there are several, the seeds; * "
    "marks a value whose paired difference from {reference} has an interval without 0."
)
_DIFFERENCES = "Less the value of {reference}, on the same resamples; in brackets the 95 % interval."


def summary_table(found: LikeForLike) -> Table:
    """Put the speaker EER and the keywords of all corpora into one table, clean / across conditions."""
    parts = (("different_text", "speaker EER"), ("one_shot", "one-shot keywords"))
    columns = {
        f"{corpus}, {title}": f"{corpus} {{}} {measure}"
        for measure, title in parts
        for corpus in found.protocols
        if corpus != HELD_OUT and any(f"{corpus} clean {measure}" in one.figures for one in found.systems)
    }
    rows = [[one.name, *(_both(one, column) for column in columns.values())] for one in found.systems]
    note = (
        "In %, clean / every clip in its own room, noise, band and level. EER: lower is better; keywords "
        f"from one example: higher is better. * marks a value whose paired difference from {found.reference} "
        "has a 95 % interval without 0."
    )
    return Table("Like for like", note, ["system", *columns], rows, labels=1)


def _both(system: ComparedSystem, column: str) -> str:
    figures = [system.figures.get(column.format(one)) for one in ("clean", "cross_condition")]
    shown = [starred(each.value, None, each.difference.interval) for each in figures if each is not None]
    return " / ".join(shown) or NOTHING


def like_for_like_tables(found: LikeForLike, differences: bool = True) -> list[Table]:
    """Build the summary, a table for each measure, and after each the paired differences."""
    tables = [summary_table(found)]
    for measure, (title, reading) in MEASURES.items():
        corpora = [
            name
            for name in found.protocols
            if name != HELD_OUT and any(f"{name} {measure}" in one.figures for one in found.systems)
        ]
        if not corpora:
            continue
        note = f"{reading[0].upper()}{reading[1:]}. {_INTERVALS.format(reference=found.reference)}"
        tables.append(_table(f"{title}: like for like", note, found, corpora, measure, _value))
        if differences:
            note = _DIFFERENCES.format(reference=found.reference)
            tables.append(
                _table(f"{title}, differences: like for like", note, found, corpora, measure, _difference)
            )
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
