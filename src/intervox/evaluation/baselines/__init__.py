"""The baselines by name, and their fitting for every subspace of a recipe."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from intervox.errors import IntervoxError
from intervox.evaluation.baselines.closed_form import (
    Affine,
    Baseline,
    Task,
    collapse,
    lda,
    leace,
    pca,
    random_projection,
    svd,
    whitening,
)
from intervox.evaluation.representations import (
    FROZEN,
    Representation,
    standardised,
    subspace_representations,
)
from intervox.evaluation.test_sets import Means
from intervox.features.store import Features
from intervox.metrics.vectors import Vectors, unit
from intervox.model.model import SubspaceModel
from intervox.recipe import Recipe
from intervox.recipe.training import SubspaceSettings
from intervox.storage import CARD, restore_text
from intervox.training.cells import TrainingCells
from intervox.training.refine import refine
from intervox.training.start import select_layers

CLOSED_FORM = {
    "random": Baseline("seeded Gaussian directions", random_projection),
    "pca": Baseline("directions of most variance", pca),
    "whitening": Baseline("directions of most variance, scaled to unit variance", whitening),
    "lda": Baseline("linear discriminant analysis on the same labels", lda),
    "leace": Baseline("other factors erased by LEACE, then PCA", leace),
    "collapse": Baseline("directions of the other factors' class means projected out, then PCA", collapse),
    "svd": Baseline("regression on the codes that an SVD of the crossed blocks shares", svd),
}
OBSERVATIONAL = "observational"
ABOUT = {name: baseline.about for name, baseline in CLOSED_FORM.items()} | {
    OBSERVATIONAL: "the same head, start and loss, trained on batches that cross nothing"
}
"""Every baseline to one clause that says what it is."""


def fit_baselines(
    names: Sequence[str], model: SubspaceModel, recipe: Recipe, means: Means, chosen: TrainingCells
) -> list[Representation]:
    """Fit closed-form baselines for each subspace, with its cells, layers, labels and dim.

    Parameters
    ----------
    names
        Keys of ``CLOSED_FORM``; one that is listed twice is fitted once.
    model
        Of the frozen backbone; its standardisation is that of all baselines.
    means
        The frozen layers' means of the training cells, row i for ``chosen.rows[i]``.

    Returns
    -------
    list
        Named ``<baseline>.<subspace>``, such as ``pca.speaker``.

    Raises
    ------
    IntervoxError
        A name is none of them, or a baseline's extra is not installed.
    """
    unknown = [name for name in names if name not in CLOSED_FORM]
    if unknown:
        raise IntervoxError(f"there is no baseline {unknown[0]!r}: choose from {', '.join(CLOSED_FORM)}")
    standard = standardised(model, means)
    result = []
    for space, settings in recipe.subspaces.items():
        factors = {s.factor for s in recipe.subspaces.values()} - {settings.factor}
        task = Task(
            select_layers(settings, standard),
            chosen.blocks,
            chosen.labels[settings.factor],
            tuple(chosen.labels[factor] for factor in sorted(factors)),
            settings.dim,
            settings.shrinkage,
            recipe.seed,
        )
        for name in dict.fromkeys(names):
            embed = _embedder(model, settings, CLOSED_FORM[name].fit(task))
            result.append(Representation(f"{name}.{space}", embed, FROZEN))
    return result


def observational_representations(
    cells: pa.Table, features: Features, recipe: Recipe, folder: Path
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
    restore_text(folder / CARD, lambda: str(model.generate_model_card()))
    return [replace(r, name=f"{OBSERVATIONAL}.{r.name}") for r in subspace_representations(model)]


def _embedder(
    model: SubspaceModel, settings: SubspaceSettings, projection: Affine
) -> Callable[[Means], Vectors]:
    def embed(means: Means) -> Vectors:
        return unit(projection(select_layers(settings, standardised(model, means))))

    return embed
