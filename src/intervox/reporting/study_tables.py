"""``ingredients.json`` and ``sweep.json`` as tables: what was trained, and what it measured."""

from intervox.evaluation.results import Ingredients, Sweep, SweepBaseline, SweepFigure, SweepVariant
from intervox.metrics.bootstrap import Interval
from intervox.reporting.wording import condition_title, percent, stratum_title
from intervox.tables import NOTHING, Table

MEASURES = {
    "clean different_text": "speaker EER, different text",
    "clean same_text_impostors": "speaker EER, same-text impostors",
    "cross_condition different_text": "speaker EER, cross-condition",
    "clean content_eer": "content EER",
    "cross_condition content_eer": "content EER, cross-condition",
    "clean one_shot": "one-shot keywords",
    "clean speaker_leak": "speaker EER in content",
}
"""Condition and measure to words; the order of columns and panels."""

HIGHER_IS_BETTER = ("clean one_shot", "clean speaker_leak")

_SWEEP_NOTE = (
    "In %, with the 95 % interval over the measured speakers (of content EER: contents) and, where there are "
    "several, the seeds. * marks a value whose paired difference from the first row has an interval without "
    "0. EER of the subspace's own factor: lower is better; one-shot accuracy and the speaker EER in the "
    "content subspace (50 is chance): higher is better."
)
_INGREDIENTS_NOTE = (
    "In brackets the 95 % interval over the measured speakers; one training seed. * marks a value whose "
    "paired difference from the first row of its group has an interval without 0."
)


def ingredient_tables(found: Ingredients) -> list[Table]:
    """Build the tables of what each ingredient of a corpus buys."""
    columns = found.variants[0].figures
    tables = []
    for what, chosen in (
        ("EER of the speaker subspace", [c for c in columns if not c.endswith("one_shot")]),
        ("one-shot keyword accuracy of the content subspace", [c for c in columns if c.endswith("one_shot")]),
    ):
        records = [
            {
                "ingredient": variant.group,
                "variant": variant.name,
                "cells": f"{variant.cells:,}",
                "voices": f"{variant.voices:,}",
                "texts": f"{variant.texts:,}",
            }
            | {
                _heading(column): starred(figure.value, figure.interval, figure.difference)
                for column, figure in variant.figures.items()
                if column in chosen
            }
            for variant in found.variants
        ]
        if chosen:
            title = f"Ingredients of {found.recipe}: {what} in %"
            tables.append(Table.from_records(title, _INGREDIENTS_NOTE, records))
    return tables


def _heading(column: str) -> str:
    protocol, condition, measure = column.split()
    words = f"{protocol}, {condition_title(stratum_title(measure))}"
    return words if condition == "clean" else f"{words}, {condition_title(condition)}"


def sweep_tables(found: Sweep) -> list[Table]:
    """Build the tables of a sweep: what was trained, then one for each set it was measured on."""
    tables = [_variants_table(found)]
    rows: list[SweepVariant | SweepBaseline] = [*found.variants, *found.baselines]
    for protocol in found.protocols:
        used = [key for key in MEASURES if f"{protocol} {key}" in found.variants[0].figures]
        records = [
            {"variant": row.name}
            | {MEASURES[key]: _sweep_cell(row.figures.get(f"{protocol} {key}")) for key in used}
            for row in rows
        ]
        tables.append(
            Table.from_records(f"Sweep on {protocol}: recipe {found.recipe}", _SWEEP_NOTE, records, 1)
        )
    return tables


def selection_sentence(found: Sweep) -> str:
    """Say which variant is best, and on what."""
    chosen = found.selected
    if chosen is None:
        return "No variant is chosen: the corpus has no held-out cells with speaker and content trials."
    return (
        f"Best on the held-out cells, by the mean of speaker and content EER, clean and cross-condition: "
        f"{chosen.variant} ({100 * chosen.score:.1f} %). The human columns took no part in the choice."
    )


def _variants_table(found: Sweep) -> Table:
    records = []
    for row in found.variants:
        changed = (f"{field}: {'null' if value is None else value}" for field, value in row.overrides.items())
        record = {
            "variant": row.name,
            "what differs from the recipe": ", ".join(changed) or NOTHING,
            "training cells": f"{row.cells:,}",
            "seeds": ", ".join(map(str, row.seeds)),
            "steps": "–".join(str(step) for step in sorted({min(row.steps), max(row.steps)})),
            "seconds a seed": f"{sum(row.seconds) / len(row.seconds):.0f}",
        }
        records.append(record)
    return Table.from_records(f"Sweep: variants of {found.recipe}", selection_sentence(found), records)


def _sweep_cell(figure: SweepFigure | None) -> str:
    return NOTHING if figure is None else starred(figure.value, figure.interval, figure.difference.interval)


def starred(value: float, interval: Interval | None, difference: Interval | None) -> str:
    """Write a value in per cent, with a star where its difference is not 0."""
    rate, *bounds = percent(value, interval).split(" ", 1)
    differs = isinstance(difference, tuple) and not difference[0] <= 0 <= difference[1]
    return " ".join([rate + ("*" if differs else ""), *bounds])
