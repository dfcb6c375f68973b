"""A recipe's plan as people read it: the design of each split, and the cost of the whole."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from intervox.corpus.design import plan_audition, plan_cells
from intervox.corpus.estimate import describe_plan, estimate_cost
from intervox.recipe_corpus import CorpusRecipe


def plan_corpus(recipe: CorpusRecipe, seed: int, workers: int) -> dict[str, Any]:
    """Lay out a corpus and estimate its cost.

    Returns
    -------
    dict
        ``splits``, from ``describe_plan``; ``cost`` and, where the recipe auditions its voices,
        ``audition``, from ``estimate_cost``, with the number of ``cells``.
    """
    table = plan_cells(recipe, seed)
    found: dict[str, Any] = {
        "splits": describe_plan(table),
        "cost": estimate_cost(table, recipe, seed, workers) | {"cells": table.num_rows},
    }
    if recipe.casting:
        audition = plan_audition(recipe, seed)
        plain = recipe.model_copy(update={"quality": recipe.quality.model_copy(update={"recognise": False})})
        found["audition"] = estimate_cost(audition, plain, seed, workers) | {"cells": audition.num_rows}
    return found


def print_plan(name: str, found: dict[str, Any]) -> None:
    """Show what ``plan_corpus`` found on standard output."""
    console = Console()
    table = Table(title=f"Plan of {name}", title_justify="left")
    table.add_column("")
    for split in found["splits"]:
        table.add_column(split, justify="right")
    for key in ("cells", "renditions", "blocks", "speakers", "contents", "conditions"):
        table.add_row(key, *(f"{part[key]:,}" for part in found["splits"].values()))
    for key in ("engines", "languages", "kinds"):
        table.add_row(f"{key}, cells", *(_counts(part[key]) for part in found["splits"].values()))
    table.add_row(
        "shares engines with",
        *(", ".join(part["shares_engines_with"]) or "none" for part in found["splits"].values()),
    )
    console.print(table)
    for what, cost in (("the audition", found.get("audition")), ("the corpus", found["cost"])):
        if cost:
            console.print(
                f"{what}: {cost['cells']:,} cells, about {_duration(cost['hours'] * 3600)} of audio, "
                f"{cost['bytes'] / 1e6:,.0f} MB, {_duration(cost['minutes'] * 60)} on this machine"
            )
            if cost["refused"]:
                console.print(
                    f"{cost['refused']:.0%} of the tried renditions were refused: {escape(cost['reason'])}"
                )
    if "audition" in found:
        console.print("near-duplicate voices that the audition finds will be merged or left out")


def _duration(seconds: float) -> str:
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _counts(counts: dict[str, int]) -> str:
    return "\n".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda i: -i[1]))
