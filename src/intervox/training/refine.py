"""From cached features, or audio, to a SubspaceModel: the start, the loop, and what is written in the end."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from accelerate import Accelerator

from intervox.backbones.load import load_backbone
from intervox.clips.schema import CELL_SCHEMA
from intervox.corpus.plan.design import plan_factors
from intervox.errors import IntervoxError
from intervox.features.store import Features
from intervox.features.waves import Waves
from intervox.model.files import CONFIG, OWN_BACKBONE
from intervox.model.model import SubspaceModel
from intervox.recipe import Recipe
from intervox.recipe.training import TrainingSettings
from intervox.steps import StepFolder, restore
from intervox.storage import CARD, check_memory, stable_hash
from intervox.training.cells import check_columns, no_validation_cells, training_cells, validation_cells
from intervox.training.checkpoint import CHECKPOINT, Progress, TrainingRecord
from intervox.training.encoder import TrainableEncoder
from intervox.training.fresh import FreshConditions
from intervox.training.inputs import AudioStretches, FrameStretches, Inputs, Means
from intervox.training.loop import from_main, train
from intervox.training.losses import MultiPart
from intervox.training.start import bare_model, label_columns, prepare
from intervox.training.validation import Validation

SCHEMA_VERSION = 4

CHANGED_LATER = (CONFIG, CARD, CHECKPOINT)
"""Files of a finished training's folder that other commands and people change, or that go."""

_BYTES_A_WEIGHT = 16
"""In training: itself, its gradient, and AdamW's two moments, in fp32."""


def refine(
    cells: pa.Table, features: Features, recipe: Recipe, folder: Path, waves: Waves | None = None
) -> SubspaceModel:
    """Train the recipe's subspaces at its depth, or resume from the last checkpoint.

    Every process of an ``accelerate launch`` calls it; the main one writes.

    Parameters
    ----------
    cells
        The corpus' plan.
    features
        Of the same corpus and the recipe's backbone, row i for ``cell_id`` i.
    recipe
        ``subspaces``, ``shared``, ``loss``, ``training``, ``encoder``, ``features`` and ``seed`` are read.
    folder
        Where the model goes, and its ``TrainingRecord``; at depth ``blocks`` also its own backbone.
    waves
        Of the same corpus; depth ``blocks`` reads them.

    Raises
    ------
    IntervoxError
        A factor has no column, nothing is left to train or to validate on, the backbone is not that of
        the features, or the loss is not finite.
    """
    check_memory_for(recipe, features.about["layers"], features.about["dim"])
    if Path(recipe.backbone).resolve() == (folder / OWN_BACKBONE).resolve():
        raise IntervoxError(f"{recipe.backbone} is what this run would write: give the recipe another name")
    # The only process, or one of those that a launcher started; the launcher's precision is not asked.
    accelerator = Accelerator(mixed_precision="no")
    # Before the folder is opened: settings that can't be used must not cost an earlier model.
    encoder = _encoder(features, recipe, accelerator) if recipe.training.depth == "blocks" else None
    key = training_key(features, recipe)
    step = StepFolder(folder, key) if accelerator.is_main_process else None
    if not from_main(step.complete if step else None):
        torch.manual_seed(recipe.seed)
        model = bare_model(features, recipe)
        chosen = training_cells(cells, features, label_columns(recipe))
        recipe = recipe.model_copy(update={"training": recipe.training.over(len(chosen.rows))})
        inputs = _inputs(cells, features, recipe, waves)
        validation = _validation(cells, features, recipe) if recipe.training.validate_every else None
        if maps := _maps_first(cells, features, recipe, folder):
            model.load_state_dict(maps.state_dict())
        # The others get the main process' start, and a checkpoint holds it.
        elif accelerator.is_main_process and not (folder / CHECKPOINT).exists():
            prepare(model, cells, chosen, features, recipe)
        done = train(model, encoder, accelerator, chosen, inputs, validation, recipe, folder)
        if step:
            _keep(_on_own_backbone(model, encoder, features, recipe, folder), done, step)
    accelerator.wait_for_everyone()
    return SubspaceModel.from_pretrained(folder)


def _maps_first(cells: pa.Table, features: Features, recipe: Recipe, folder: Path) -> SubspaceModel | None:
    """Train the maps alone on the frozen backbone, where the encoder is to follow."""
    if recipe.training.depth != "blocks" or recipe.reads_frames or not recipe.encoder.map_steps:
        return None
    maps = folder.with_name(f"{folder.name}-maps")
    return refine(cells, features, maps_alone(recipe), maps)


def maps_alone(recipe: Recipe) -> Recipe:
    """Return the training of the maps that comes before the encoder's."""
    of_a_step = TrainingSettings().blocks_per_step
    shallow = {"depth": "map", "steps": recipe.encoder.map_steps, "blocks_per_step": of_a_step}
    return recipe.model_copy(update={"training": recipe.training.model_copy(update=shallow)})


def _keep(model: SubspaceModel, done: Progress, step: StepFolder) -> None:
    """Write the model and how it was trained; the checkpoint goes last."""
    model.save_pretrained(step.path)
    logged = {"history": done.history, "validation": done.validation, "best_step": done.best_step}
    TrainingRecord(key=step.key, **logged).write(step.path)
    step.finish(CHANGED_LATER)
    (step.path / CHECKPOINT).unlink(missing_ok=True)


def _encoder(features: Features, recipe: Recipe, accelerator: Accelerator) -> TrainableEncoder:
    backbone = load_backbone(recipe.backbone, accelerator.device)
    if backbone.fingerprint != features.about["fingerprint"]:
        raise IntervoxError(
            f"the weights of {recipe.backbone} are not those of the features: run `intervox extract` first"
        )
    torch.manual_seed(recipe.seed)  # LoRA starts from random numbers
    return TrainableEncoder(backbone, recipe)


def _inputs(cells: pa.Table, features: Features, recipe: Recipe, waves: Waves | None) -> Inputs:
    settings = recipe.training
    if settings.depth == "map":
        return Means(features)
    if settings.depth == "frames":
        return FrameStretches(features, settings, recipe.seed)
    if waves is None:
        raise IntervoxError(
            "training.depth: blocks reads the audio of a corpus: run `intervox extract` first"
        )
    speakers = np.unique(np.asarray(cells["speaker"].to_pylist()), return_inverse=True)[1]
    fresh = FreshConditions(cells, recipe, waves.folder) if recipe.encoder.fresh_conditions else None
    return AudioStretches(waves, speakers, settings, recipe.encoder, fresh, recipe.seed)


def _on_own_backbone(
    model: SubspaceModel, encoder: TrainableEncoder | None, features: Features, recipe: Recipe, folder: Path
) -> SubspaceModel:
    """Keep a trained backbone beside the maps, which are of it from now on."""
    if encoder is None:
        return model
    home = folder / OWN_BACKBONE
    own = bare_model(features, recipe, str(home), encoder.save(home))
    own.load_state_dict(model.state_dict())
    return own


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
    check_columns(label_columns(recipe), plan)
    check_memory_for(recipe, layers, dim)
    settings = {name: one.model_dump(mode="json") for name, one in recipe.subspaces.items()}
    SubspaceModel(recipe.backbone, layers, dim, settings, shared=recipe.shared.model_dump())
    MultiPart(recipe.subspaces, recipe.loss)


def check_memory_for(recipe: Recipe, layers: int, dim: int) -> None:
    """Refuse a training that this machine's memory can't hold.

    Parameters
    ----------
    layers, dim
        Of the backbone.
    """
    check_memory(
        "training the subspaces",
        _BYTES_A_WEIGHT * _weights(recipe, layers, dim),
        "lower dim or width, or name fewer layers",
    )
    whole = recipe.training.initialisation == "lda" or any(one.erase for one in recipe.subspaces.values())
    train, split = recipe.corpus.train, recipe.corpus.cells("train")
    shuffled = recipe.training.batches == "shuffled"
    step = recipe.training.blocks_per_step * train.speakers * train.contents * recipe.corpus.copies
    cells = split if whole else min(recipe.training.cells_per_step if shuffled else step, split)
    check_memory(
        f"the layer means of {cells:,} training cells, {layers} × {dim} numbers each,",
        4 * cells * layers * dim,
        "lower corpus.train.blocks"
        if whole
        else f"lower training.{'cells_per_step' if shuffled else 'blocks_per_step'}",
    )


def _weights(recipe: Recipe, layers: int, dim: int) -> int:
    """Count the weights of all maps but for their biases."""
    own, shared = 0, 0
    for settings in recipe.subspaces.values():
        used = layers if settings.layers is None else len(settings.layers)
        inputs = dim * (used if settings.combine == "concat" else 1)
        if settings.map == "mlp":
            own += settings.width * (inputs + settings.dim)
        elif settings.map == "shared":
            shared = recipe.shared.width * (inputs + (recipe.shared.hidden - 1) * recipe.shared.width)
            own += recipe.shared.width * settings.dim
        else:
            own += inputs * settings.dim
    return own + shared


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
    if recipe.training.depth == "blocks":
        TrainableEncoder(backbone, recipe)
    if recipe.training.validate_every and not recipe.corpus.validation.blocks:
        raise no_validation_cells()


def training_key(features: Features, recipe: Recipe) -> str:
    """Hash everything that decides a model's weights."""
    return stable_hash(
        [
            SCHEMA_VERSION,
            features.about["key"],
            {name: settings.model_dump(mode="json") for name, settings in recipe.subspaces.items()},
            recipe.shared.model_dump(),
            recipe.loss.model_dump(),
            recipe.training.model_dump(exclude={"checkpoint_every", "tensorboard"}),
            recipe.seed,
            *_encoder_key(recipe),
        ]
    )


def _encoder_key(recipe: Recipe) -> list[Any]:
    if recipe.training.depth != "blocks":
        return []
    return [recipe.encoder.model_dump(mode="json"), recipe.features.batch_seconds]


def finished_training(folder: Path, features: Features, recipe: Recipe) -> tuple[StepFolder, TrainingRecord]:
    """Open the folder of a trained model, and read how it was trained.

    Raises
    ------
    IntervoxError
        There is none, it is that of another recipe, or it is damaged.
    """
    restore(folder)
    record = TrainingRecord.read(folder)
    if record.key != training_key(features, recipe):
        raise IntervoxError(f"{folder} was refined by another recipe: run `intervox refine` first")
    step = StepFolder(folder, record.key)
    if not step.complete:
        raise IntervoxError(f"{folder} is not a finished training: run `intervox refine` first")
    return step, record


def _validation(cells: pa.Table, features: Features, recipe: Recipe) -> Validation:
    factors = {name: settings.factor for name, settings in recipe.subspaces.items()}
    held_out = validation_cells(cells, features, set(factors.values()))
    return Validation(held_out, factors, recipe.seed)
