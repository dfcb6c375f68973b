"""``ingredients.json`` as tables: one of the speaker subspace, one of the content subspace."""

from typing import Any

from intervox.reporting.table import Table

_NOTE = (
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
        tables.append(_table(title, _NOTE, found, speaker, 1))
    if content:
        title = f"Ingredients of {found['recipe']}: one-shot keyword accuracy of the content subspace in %"
        tables.append(_table(title, _NOTE, found, content, 1))
    return tables


def _table(title: str, note: str, found: dict[str, Any], columns: list[str], digits: int) -> Table:
    header = ["ingredient", "variant", "cells", "voices", "texts", *(_heading(column) for column in columns)]
    rows = []
    for variant in found["variants"]:
        counts = [f"{variant[name]:,}" for name in ("cells", "voices", "texts")]
        figures = [_figure(variant["figures"][column], digits) for column in columns]
        rows.append([variant["group"], variant["name"], *counts, *figures])
    return Table(title, note, header, rows)


def _heading(column: str) -> str:
    protocol, condition, measure = column.split()
    words = {"different_text": "different text", "same_text_impostors": "same-text impostors"}
    shown = words.get(measure, measure.replace("_", "-"))
    return f"{protocol}, {shown}" + (", cross-condition" if condition != "clean" else "")


def _figure(figure: dict[str, Any], digits: int) -> str:
    low, high = (100 * bound for bound in figure["interval"])
    difference = figure["difference"]
    star = "*" if difference and not difference[0] <= 0 <= difference[1] else ""
    return f"{100 * figure['value']:.{digits}f}{star} [{low:.{digits}f}, {high:.{digits}f}]"
