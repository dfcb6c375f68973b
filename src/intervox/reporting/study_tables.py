"""``sweep.json`` as tables: what was trained, then one table for each set it was measured on."""

from collections.abc import Mapping
from typing import Any

from intervox.reporting.wording import in_percent
from intervox.tables import NOTHING, Table

_INGREDIENTS_NOTE = (
    "In brackets the 95 % interval over the measured speakers; one training seed. * marks a value whose "
    "paired difference from the first row of its group has an interval without 0."
)


def ingredient_tables(found: dict[str, Any]) -> list[Table]:
    """Build the tables from what ``ingredients.compare_ingredients`` returned."""
    columns = list(found["variants"][0]["figures"])
    speaker = [column for column in columns if not column.endswith("one_shot")]
    content = [column for column in columns if column.endswith("one_shot")]
    tables = []
    if speaker:
        title = f"Ingredients of {found['recipe']}: EER of the speaker subspace in %"
        tables.append(_ingredient_table(title, _INGREDIENTS_NOTE, found, speaker, 1))
    if content:
        title = f"Ingredients of {found['recipe']}: one-shot keyword accuracy of the content subspace in %"
        tables.append(_ingredient_table(title, _INGREDIENTS_NOTE, found, content, 1))
    return tables


def _ingredient_table(title: str, note: str, found: dict[str, Any], columns: list[str], digits: int) -> Table:
    header = ["ingredient", "variant", "cells", "voices", "texts", *(_heading(column) for column in columns)]
    rows = []
    for variant in found["variants"]:
        counts = [f"{variant[name]:,}" for name in ("cells", "voices", "texts")]
        figures = [_ingredient_figure(variant["figures"][column], digits) for column in columns]
        rows.append([variant["group"], variant["name"], *counts, *figures])
    return Table(title, note, header, rows)


def _heading(column: str) -> str:
    protocol, condition, measure = column.split()
    words = {"different_text": "different text", "same_text_impostors": "same-text impostors"}
    shown = words.get(measure, measure.replace("_", "-"))
    return f"{protocol}, {shown}" + (", cross-condition" if condition != "clean" else "")


def _ingredient_figure(figure: dict[str, Any], digits: int) -> str:
    low, high = (100 * bound for bound in figure["interval"])
    difference = figure["difference"]
    star = "*" if difference and not difference[0] <= 0 <= difference[1] else ""
    return f"{100 * figure['value']:.{digits}f}{star} [{low:.{digits}f}, {high:.{digits}f}]"


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

_NOTE = (
    "In %, with the 95 % interval over the measured speakers (of content EER: contents) and, where there are "
    "several, the seeds. * marks a value whose paired difference from the first row has an interval without "
    "0. EER of the subspace's own factor: lower is better; one-shot accuracy and the speaker EER in the "
    "content subspace (50 is chance): higher is better."
)


def sweep_tables(found: dict[str, Any]) -> list[Table]:
    """Build the tables from what ``sweep.compare_variants`` returned."""
    tables = [_variants_table(found)]
    for protocol in found["protocols"]:
        used = [key for key in MEASURES if f"{protocol} {key}" in found["variants"][0]["figures"]]
        columns = [f"{protocol} {key}" for key in used]
        rows = [
            [row["name"], *(_cell(row["figures"].get(column)) for column in columns)]
            for row in (*found["variants"], *found["baselines"])
        ]
        title = f"Sweep on {protocol}: recipe {found['recipe']}"
        tables.append(Table(title, _NOTE, ["variant", *(MEASURES[key] for key in used)], rows, 1))
    return tables


def selection_sentence(found: dict[str, Any]) -> str:
    """Say which variant is best, and on what."""
    chosen = found["selected"]
    if chosen is None:
        return "No variant is chosen: the corpus has no held-out cells with speaker and content trials."
    return (
        f"Best on the held-out cells, by the mean of speaker and content EER, clean and cross-condition: "
        f"{chosen['variant']} ({100 * chosen['score']:.1f} %). The human columns took no part in the choice."
    )


def _variants_table(found: dict[str, Any]) -> Table:
    rows = []
    for row in found["variants"]:
        changed = ", ".join(f"{field}: {_value(value)}" for field, value in row["overrides"].items())
        seconds = sum(row["seconds"]) / len(row["seconds"])
        steps = "–".join(str(step) for step in sorted({min(row["steps"]), max(row["steps"])}))
        seeds = ", ".join(map(str, row["seeds"]))
        rows.append([row["name"], changed or NOTHING, f"{row['cells']:,}", seeds, steps, f"{seconds:.0f}"])
    header = ["variant", "what differs from the recipe", "training cells", "seeds", "steps", "seconds a seed"]
    return Table(f"Sweep: variants of {found['recipe']}", selection_sentence(found), header, rows, 2)


def _value(value: Any) -> str:
    return "null" if value is None else str(value)


def _cell(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return NOTHING
    value, *bounds = in_percent(figure["value"], figure["interval"]).split(" ", 1)
    return " ".join([value + ("*" if _differs(figure["difference"]["interval"]) else ""), *bounds])


def _differs(interval: list[float] | None) -> bool:
    return interval is not None and not interval[0] <= 0 <= interval[1]
