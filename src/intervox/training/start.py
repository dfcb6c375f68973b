"""What a model is before its first step: standardisation, erasure, and the closed form of every subspace."""

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from intervox.clips.labels import PIECE, UNLABELLED
from intervox.features.store import Features
from intervox.model.closed_form import LinearMap, fit_lda
from intervox.model.model import SubspaceModel
from intervox.recipe import Recipe
from intervox.recipe.training import SubspaceSettings
from intervox.training.cells import TrainingCells, labels_of_several
from intervox.training.losses import columns

_ROWS_AT_ONCE = 4096


def bare_model(
    features: Features, recipe: Recipe, backbone: str | None = None, fingerprint: str | None = None
) -> SubspaceModel:
    """Make the recipe's subspaces, nothing fitted yet, on the backbone of some features or on another."""
    about = features.about
    shared = any(settings.map == "shared" for settings in recipe.subspaces.values())
    return SubspaceModel(
        backbone or about["backbone"],
        about["layers"],
        about["dim"],
        {name: settings.model_dump(mode="json") for name, settings in recipe.subspaces.items()},
        fingerprint or about["fingerprint"],
        about["window_seconds"],
        shared=recipe.shared.model_dump() if shared else None,
    )


def standardised_model(features: Features, recipe: Recipe, rows: NDArray[np.int64]) -> SubspaceModel:
    """Make the recipe's subspaces with the mean and deviation of some cells, and no maps yet."""
    model = bare_model(features, recipe)
    _standardise(model, features, rows)
    return model


def label_columns(recipe: Recipe) -> set[str]:
    """Name the columns of the plan whose labels training needs."""
    erased = {factor for settings in recipe.subspaces.values() for factor in settings.erase}
    return columns(recipe.subspaces, recipe.loss) | erased


def prepare(
    model: SubspaceModel, cells: pa.Table, chosen: TrainingCells, features: Features, recipe: Recipe
) -> None:
    """Fit what is not learned by steps: standardisation, erasure, the closed-form start.

    The standardisation reads some rows at a time; the others hold those of all cells, in fp32.
    """
    if recipe.training.standardise:
        _standardise(model, features, chosen.rows)
    erasing = [name for name, settings in recipe.subspaces.items() if settings.erase]
    from_lda = recipe.training.initialisation == "lda"
    if not (erasing or from_lda):
        return
    means = torch.from_numpy(features.rows(chosen.rows))
    for name in erasing:
        model.fit_erasure(name, means, chosen.labels, chosen.blocks)
    if from_lda:
        standard = means.sub_(model.mean).div_(model.scale)
        for name, settings in recipe.subspaces.items():
            inputs = model.erased(name, standard) if settings.erase else standard
            labels = labels_of_several(chosen.labels[settings.factor], *_pieces(cells, chosen))
            linear = closed_form(settings, inputs.numpy(), labels)
            model.initialise(name, linear.shrunk(settings.reliability))


def closed_form(
    settings: SubspaceSettings, standard: NDArray[np.float32], labels: NDArray[np.int64]
) -> LinearMap:
    """Fit LDA for one subspace on the same layers, labels and dim that training gets.

    Parameters
    ----------
    standard
        Standardised layer means, shape (cells, layers, dim).
    labels
        Shape (cells,).
    """
    known = labels != UNLABELLED
    inputs = select_layers(settings, standard if known.all() else standard[known])
    return fit_lda(inputs, labels[known], settings.dim, settings.shrinkage)


def select_layers(settings: SubspaceSettings, standard: NDArray[np.float32]) -> NDArray[np.float32]:
    """Combine a subspace's layers with equal weights, as its map sees them before training.

    Parameters
    ----------
    standard
        Standardised layer means, shape (cells, layers, dim).

    Returns
    -------
    ndarray
        Shape (cells, dim) for ``combine: sum``, (cells, layers * dim) for ``concat``.
    """
    chosen = standard if settings.layers is None else standard[:, list(settings.layers)]
    return chosen.mean(axis=1) if settings.combine == "sum" else chosen.reshape(len(chosen), -1)


def _pieces(cells: pa.Table, chosen: TrainingCells) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the number of each cell's rendition, and whether it is a piece of an unlabelled recording."""
    if not {"seed", "kind"} <= set(cells.column_names):
        return chosen.rows, np.zeros(len(chosen.rows), bool)
    return cells["seed"].to_numpy()[chosen.rows], np.array(cells["kind"].to_pylist())[chosen.rows] == PIECE


def _standardise(model: SubspaceModel, features: Features, rows: NDArray[np.int64]) -> None:
    mean, deviation = mean_and_deviation(features, rows)
    model.set_standardisation(torch.from_numpy(mean), torch.from_numpy(deviation))


def mean_and_deviation(
    features: Features, rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation over some cells, in the memory of a few of them.

    Returns
    -------
    mean, deviation
        Shape (layers, dim); the deviation with one degree of freedom less than cells.
    """
    parts = [rows[start : start + _ROWS_AT_ONCE] for start in range(0, len(rows), _ROWS_AT_ONCE)]
    mean = np.sum([features.rows(part).sum(axis=0, dtype=np.float64) for part in parts], axis=0) / len(rows)
    squares = np.sum([np.square(features.rows(part) - mean).sum(axis=0) for part in parts], axis=0)
    return mean, np.sqrt(squares / max(1, len(rows) - 1))
