"""The training loop: cached features in, a SubspaceModel out; on a CPU or, unchanged, on a GPU."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from intervox.errors import IntervoxError
from intervox.features.store import Features
from intervox.progress import progress_bar
from intervox.recipe import Recipe
from intervox.recipe_training import LossSettings, SubspaceSettings, TrainingSettings
from intervox.storage import StepFolder, atomic_path, stable_hash, write_json
from intervox.subspaces.lda import LinearMap, fit_lda
from intervox.subspaces.losses import UNLABELLED, MultiPartLoss, multi_part_loss
from intervox.subspaces.model import SubspaceModel
from intervox.subspaces.sampler import BlockSampler, ObservationalSampler, Sampler

SCHEMA_VERSION = 1
LOG_EVERY = 10


@dataclass(frozen=True)
class TrainingCells:
    """The cells that training may see.

    Attributes
    ----------
    rows
        Shape (cells,): row of each cell in the features.
    blocks
        Shape (cells,): block of each cell.
    labels
        Factor to integers of shape (cells,).
    """

    rows: NDArray[np.int64]
    blocks: NDArray[np.int64]
    labels: dict[str, NDArray[np.int64]]


def training_cells(cells: Any, features: Features, factors: set[str]) -> TrainingCells:
    """Choose the plan's training cells whose features exist, and number their labels.

    Parameters
    ----------
    cells
        A corpus' plan (pyarrow table); each factor is one of its columns. Empty strings are
        unlabelled.

    Raises
    ------
    IntervoxError
        A factor has no column, or nothing is left to train on.
    """
    missing = factors - set(cells.column_names)
    if missing:
        raise IntervoxError(
            f"no column {sorted(missing)[0]!r} in the corpus: a subspace's factor is one of "
            + ", ".join(cells.column_names)
        )
    split = np.asarray(cells["split"].to_pylist())
    rows = np.flatnonzero((split == "train") & (features.frames > 0))
    if not len(rows):
        raise IntervoxError("the corpus has no training cells: raise corpus.train.blocks")
    labels = {}
    for factor in sorted(factors):
        values = np.asarray(cells[factor].to_pylist())[rows]
        numbers = np.unique(values, return_inverse=True)[1]
        labels[factor] = np.where(values == "", UNLABELLED, numbers)
    return TrainingCells(rows, cells["block"].to_numpy()[rows], labels)


def refine(cells: Any, features: Features, recipe: Recipe, folder: Path) -> SubspaceModel:
    """Train the recipe's subspaces, or go on from the last checkpoint.

    Parameters
    ----------
    cells
        The corpus' plan.
    features
        Of the same corpus, row i for ``cell_id`` i.
    recipe
        ``subspaces``, ``loss``, ``training`` and ``seed`` are read.
    folder
        Where the model goes.
    """
    subspaces = {name: s.model_dump(mode="json") for name, s in recipe.subspaces.items()}
    key = training_key(features, recipe)
    step = StepFolder(folder, key)
    if not step.complete:
        torch.manual_seed(recipe.seed)
        about = features.about
        model = SubspaceModel(
            about["backbone"],
            about["layers"],
            about["dim"],
            subspaces,
            about["fingerprint"],
            about["window_seconds"],
        )
        chosen = training_cells(cells, features, {s.factor for s in recipe.subspaces.values()})
        _prepare(model, chosen, features, recipe)
        history = _train(model, chosen, features, recipe, folder)
        model.save_pretrained(folder)
        write_json(folder / "training.json", {"key": key, "history": history})
        step.finish()
        (folder / "checkpoint.safetensors").unlink(missing_ok=True)
    return SubspaceModel.from_pretrained(folder)


def training_key(features: Features, recipe: Recipe) -> str:
    """Hash everything that decides a model's weights."""
    return stable_hash(
        [
            SCHEMA_VERSION,
            features.about["key"],
            {name: settings.model_dump(mode="json") for name, settings in recipe.subspaces.items()},
            recipe.loss.model_dump(),
            recipe.training.model_dump(),
            recipe.seed,
        ]
    )


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
    inputs = select_layers(settings, standard[known])
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


def _prepare(model: SubspaceModel, chosen: TrainingCells, features: Features, recipe: Recipe) -> None:
    """Fit the standardisation, and start every subspace from its closed form where wanted."""
    means = torch.from_numpy(features.rows(chosen.rows))
    model.fit_standardisation(means)
    if recipe.training.initialisation == "lda":
        standard = model.standardise(means).numpy()
        for name, settings in recipe.subspaces.items():
            labels = chosen.labels[settings.factor]
            model.initialise(name, closed_form(settings, standard, labels).shrunk(settings.reliability))


def _train(
    model: SubspaceModel,
    chosen: TrainingCells,
    features: Features,
    recipe: Recipe,
    folder: Path,
) -> list[dict[str, float]]:
    """Run the steps that are left and return one record every ``LOG_EVERY`` of them."""
    settings = recipe.training
    accelerator = Accelerator()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    first, history = _restore(model, optimizer, folder)
    prepared, optimizer = accelerator.prepare(model, optimizer)
    sampler = _sampler(chosen, settings, recipe.seed)
    with progress_bar("refining", settings.steps, "steps") as bar:
        bar.advance(first)
        for step in range(first, settings.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, settings)
            batch, by_factor = sampler.batch(step)
            means = torch.from_numpy(features.rows(chosen.rows[batch])).to(accelerator.device)
            labels = {
                name: torch.from_numpy(by_factor[s.factor]).to(accelerator.device)
                for name, s in recipe.subspaces.items()
            }
            loss = _loss(prepared(means), labels, recipe.subspaces, recipe.loss)
            optimizer.zero_grad()
            accelerator.backward(loss.total)
            optimizer.step()
            if step % LOG_EVERY == 0 or step == settings.steps - 1:
                history.append(_record(step, loss))
            if (step + 1) % settings.checkpoint_every == 0:
                _save(accelerator.unwrap_model(prepared), optimizer, step + 1, history, folder)
            bar.advance(1, f"loss {float(loss.total.detach()):.3f}")
    return history


def _sampler(chosen: TrainingCells, settings: TrainingSettings, seed: int) -> Sampler:
    kind = BlockSampler if settings.batches == "crossed" else ObservationalSampler
    return kind(chosen.blocks, chosen.labels, settings.blocks_per_step, seed)


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    progress = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def _loss(
    spaces: dict[str, Tensor],
    labels: dict[str, Tensor],
    subspaces: dict[str, SubspaceSettings],
    settings: LossSettings,
) -> MultiPartLoss:
    return multi_part_loss(
        spaces,
        labels,
        {name: s.temperature for name, s in subspaces.items()},
        {name: s.weight for name, s in subspaces.items()},
        settings.cross_covariance,
        settings.denominator,
    )


def _record(step: int, loss: MultiPartLoss) -> dict[str, float]:
    parts = {name: round(float(part.detach()), 6) for name, part in loss.parts.items()}
    dropped = {f"dropped_{name}": count for name, count in loss.dropped.items()}
    return {"step": step, "total": round(float(loss.total.detach()), 6), **parts, **dropped}


def _save(
    model: SubspaceModel,
    optimizer: torch.optim.Optimizer,
    step: int,
    history: list[dict[str, float]],
    folder: Path,
) -> None:
    """Write weights, moments and history as one safetensors file: nothing that could execute."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in moments.items()}
    metadata = {"step": str(step), "history": json.dumps(history)}
    with atomic_path(folder / "checkpoint.safetensors") as temporary:
        save_file({name: t.contiguous() for name, t in tensors.items()}, temporary, metadata)


def _restore(
    model: SubspaceModel, optimizer: torch.optim.Optimizer, folder: Path
) -> tuple[int, list[dict[str, float]]]:
    """Load the checkpoint where there is one; returns the next step and the history so far."""
    from safetensors import safe_open

    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return 0, []
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    return int(metadata["step"]), json.loads(metadata["history"])
