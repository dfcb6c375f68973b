"""From cached features to a SubspaceModel: the start, the loop, and what is written in the end."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from intervox.backbones.load import load_backbone
from intervox.clips.labels import PIECE, UNLABELLED
from intervox.clips.schema import CELL_SCHEMA
from intervox.corpus.plan.design import plan_factors
from intervox.errors import IntervoxError
from intervox.features.store import Features
from intervox.model.closed_form import LinearMap, fit_lda
from intervox.model.model import SubspaceModel
from intervox.recipe import Recipe
from intervox.recipe.training import SubspaceSettings
from intervox.storage import StepFolder, check_memory, stable_hash
from intervox.training.cells import (
    TrainingCells,
    check_columns,
    labels_of_several,
    no_validation_cells,
    training_cells,
    validation_cells,
)
from intervox.training.checkpoint import CHECKPOINT, TrainingRecord
from intervox.training.loop import crop_frames, from_main, train
from intervox.training.losses import MultiPart, columns
from intervox.training.validation import Validation

SCHEMA_VERSION = 3
_ROWS_AT_ONCE = 4096
_BYTES_A_WEIGHT = 16
"""In training: itself, its gradient, and AdamW's two moments, in fp32."""


def refine(cells: pa.Table, features: Features, recipe: Recipe, folder: Path) -> SubspaceModel:
    """Train the recipe's subspaces, or resume from the last checkpoint.

    Every process of an ``accelerate launch`` calls it; the main one writes.

    Parameters
    ----------
    cells
        The corpus' plan.
    features
        Of the same corpus, row i for ``cell_id`` i.
    recipe
        ``subspaces``, ``loss``, ``training`` and ``seed`` are read.
    folder
        Where the model goes, and its ``TrainingRecord``.

    Raises
    ------
    IntervoxError
        A factor has no column, nothing is left to train or to validate on, or the loss is not finite.
    """
    check_memory_for(recipe, features.about["layers"], features.about["dim"])
    # The only process, or one of those that a launcher started; the launcher's precision is not asked.
    accelerator = Accelerator(mixed_precision="no")
    key = training_key(features, recipe)
    step = StepFolder(folder, key) if accelerator.is_main_process else None
    if not from_main(step.complete if step else None):
        torch.manual_seed(recipe.seed)
        about = features.about
        model = SubspaceModel(
            about["backbone"],
            about["layers"],
            about["dim"],
            {name: settings.model_dump(mode="json") for name, settings in recipe.subspaces.items()},
            about["fingerprint"],
            about["window_seconds"],
        )
        chosen = training_cells(cells, features, _columns(recipe))
        validation = _validation(cells, features, recipe) if recipe.training.validate_every else None
        # The others get the main process' start, and a checkpoint holds it.
        if accelerator.is_main_process and not (folder / CHECKPOINT).exists():
            _prepare(model, chosen, _pieces(cells, chosen), features, recipe)
        done = train(model, accelerator, chosen, validation, features, recipe, folder)
        if step:
            model.save_pretrained(folder)
            record = TrainingRecord(
                key=key, history=done.history, validation=done.validation, best_step=done.best_step
            )
            record.write(folder)
            step.finish()
            (folder / CHECKPOINT).unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    return SubspaceModel.from_pretrained(folder)


def check_settings(recipe: Recipe, layers: int, dim: int, plan: Collection[str]) -> None:
    """Raise what would stop ``refine`` whatever the cells are, before they are made for it.

    Parameters
    ----------
    layers, dim
        Of the backbone.
    plan
        Columns of the corpus' plan.

    Raises
    ------
    IntervoxError
        A factor has no column, a part of the loss has nothing to act on, or the backbone lacks a layer.
    """
    check_columns(_columns(recipe), plan)
    check_memory_for(recipe, layers, dim)
    settings = {name: one.model_dump(mode="json") for name, one in recipe.subspaces.items()}
    SubspaceModel(recipe.backbone, layers, dim, settings)
    MultiPart(recipe.subspaces, recipe.loss)


def check_memory_for(recipe: Recipe, layers: int, dim: int) -> None:
    """Refuse a training that this machine's memory can't hold.

    Parameters
    ----------
    layers, dim
        Of the backbone.
    """
    weights = 0
    for settings in recipe.subspaces.values():
        used = layers if settings.layers is None else len(settings.layers)
        inputs = dim * (used if settings.combine == "concat" else 1)
        mlp = settings.map == "mlp"
        weights += settings.width * (inputs + settings.dim) if mlp else inputs * settings.dim
    check_memory(
        "training the subspaces", _BYTES_A_WEIGHT * weights, "lower dim or width, or name fewer layers"
    )
    whole = recipe.training.initialisation == "lda" or any(one.erase for one in recipe.subspaces.values())
    train, split = recipe.corpus.train, recipe.corpus.cells("train")
    step = recipe.training.blocks_per_step * train.speakers * train.contents * recipe.corpus.copies
    cells = split if whole else min(step, split)
    check_memory(
        f"the layer means of {cells:,} training cells, {layers} × {dim} numbers each,",
        4 * cells * layers * dim,
        "lower corpus.train.blocks" if whole else "lower training.blocks_per_step",
    )


def check_training(recipe: Recipe) -> None:
    """Refuse what ``refine`` would refuse once the corpus is made.

    Raises
    ------
    IntervoxError
        The backbone is not to be had, or the recipe's training does not fit it or the corpus.
    """
    backbone = load_backbone(recipe.backbone)
    columns = [*CELL_SCHEMA.names, *plan_factors(recipe.corpus)]
    check_settings(recipe, backbone.layers, backbone.dim, columns)
    if recipe.training.validate_every and not recipe.corpus.validation.blocks:
        raise no_validation_cells()


def training_key(features: Features, recipe: Recipe) -> str:
    """Hash everything that decides a model's weights."""
    return stable_hash(
        [
            SCHEMA_VERSION,
            features.about["key"],
            {name: settings.model_dump(mode="json") for name, settings in recipe.subspaces.items()},
            recipe.loss.model_dump(),
            recipe.training.model_dump(exclude={"checkpoint_every", "tensorboard"}),
            recipe.seed,
        ]
    )


def training_record(folder: Path, features: Features, recipe: Recipe) -> TrainingRecord:
    """Read how the model in a folder was trained.

    Raises
    ------
    IntervoxError
        There is none, or it is that of another recipe.
    """
    record = TrainingRecord.read(folder)
    if record.key != training_key(features, recipe):
        raise IntervoxError(f"{folder} was refined by another recipe: run `intervox refine` first")
    return record


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


def _columns(recipe: Recipe) -> set[str]:
    """Name the columns of the plan whose labels training needs."""
    erased = {factor for settings in recipe.subspaces.values() for factor in settings.erase}
    return columns(recipe.subspaces, recipe.loss) | erased


def _validation(cells: pa.Table, features: Features, recipe: Recipe) -> Validation:
    factors = {name: settings.factor for name, settings in recipe.subspaces.items()}
    held_out = validation_cells(cells, features, set(factors.values()))
    return Validation(held_out, factors, recipe.seed, crop_frames(recipe.training))


def _pieces(cells: pa.Table, chosen: TrainingCells) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the number of each cell's rendition, and whether it is a piece of an unlabelled recording."""
    if not {"seed", "kind"} <= set(cells.column_names):
        return chosen.rows, np.zeros(len(chosen.rows), bool)
    return cells["seed"].to_numpy()[chosen.rows], np.array(cells["kind"].to_pylist())[chosen.rows] == PIECE


def _prepare(
    model: SubspaceModel,
    chosen: TrainingCells,
    pieces: tuple[NDArray[np.int64], NDArray[np.bool_]],
    features: Features,
    recipe: Recipe,
) -> None:
    """Fit what is not learned by steps: standardisation, erasure, the closed-form start.

    The standardisation reads some rows at a time; the others hold those of all cells, in fp32.
    """
    mean, deviation = mean_and_deviation(features, chosen.rows)
    model.set_standardisation(torch.from_numpy(mean), torch.from_numpy(deviation))
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
            labels = labels_of_several(chosen.labels[settings.factor], *pieces)
            linear = closed_form(settings, inputs.numpy(), labels)
            model.initialise(name, linear.shrunk(settings.reliability))


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
