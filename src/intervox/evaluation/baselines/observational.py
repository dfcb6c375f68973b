"""The same head without intervention: trained on batches in which nothing is crossed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from intervox.evaluation.baselines.registry import OBSERVATIONAL
from intervox.evaluation.representations import Representation, subspace_representations
from intervox.features.store import Features
from intervox.recipe import Recipe
from intervox.subspaces.training import refine


def observational_representations(
    cells: Any, features: Features, recipe: Recipe, folder: Path
) -> list[Representation]:
    """Train the recipe's subspaces on observational batches, or go on from the last checkpoint.

    Start, loss, schedule and the labels that each subspace's loss sees are those of the recipe;
    see ``ObservationalSampler`` for what differs.

    Parameters
    ----------
    cells, features
        The corpus' plan and its features.
    folder
        Where the extra model goes.

    Returns
    -------
    list
        Named ``observational.<subspace>``.
    """
    training = recipe.training.model_copy(update={"batches": OBSERVATIONAL})
    model = refine(cells, features, recipe.model_copy(update={"training": training}), folder)
    return [replace(r, name=f"{OBSERVATIONAL}.{r.name}") for r in subspace_representations(model)]
