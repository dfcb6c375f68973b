"""The training loop, read from top to bottom.

In one process, on a CPU or a GPU::

    intervox refine RECIPE

on the four GPUs of a machine, with the same gradients (``distributed.py`` says why)::

    accelerate launch --num_processes 4 -m intervox refine RECIPE

and in four processes without a GPU::

    ACCELERATE_USE_CPU=1 torchrun --nproc_per_node 4 -m intervox refine RECIPE

Each may be killed at any time; the same command goes on from the last checkpoint and ends in the same
bytes.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from intervox.errors import IntervoxError, missing_extra
from intervox.features.store import Features
from intervox.model.model import SubspaceModel
from intervox.progress import progress_bar
from intervox.recipe import Recipe
from intervox.recipe.training import TrainingSettings
from intervox.seeds import rng
from intervox.training.cells import TrainingCells
from intervox.training.checkpoint import Progress, Record, load_checkpoint, save_checkpoint, state_copy
from intervox.training.distributed import Step, from_main, share
from intervox.training.losses import MultiPart
from intervox.training.sampler import Batch, make_sampler
from intervox.training.validation import CRITERION, Validation


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """Rise linearly over the warm-up, then fall to zero by a half cosine or a line, or stay.

    Parameters
    ----------
    step
        Counted from 0, below ``settings.steps``.
    """
    peak = settings.learning_rate
    if step < settings.warmup_steps:
        return peak * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    if settings.schedule == "constant":
        return peak
    if settings.schedule == "linear":
        return peak * (1 - done)
    return peak * 0.5 * (1 + math.cos(math.pi * done))


LOG_EVERY = 10
FRAMES_PER_SECOND = 50
"""Of most backbones, wav2vec 2.0's kin and Whisper among them."""


def train(
    model: SubspaceModel,
    accelerator: Accelerator,
    cells: TrainingCells,
    validation: Validation | None,
    features: Features,
    recipe: Recipe,
    folder: Path,
) -> Progress:
    """Run the steps that are left; the weights to keep are then in ``model``.

    Parameters
    ----------
    model
        As it starts; on the main process at least.
    cells
        What to train on.
    validation
        What to choose the weights by; without it they are the last ones.
    recipe
        ``subspaces``, ``loss``, ``training`` and ``seed`` are read.
    folder
        Where the checkpoint is, and the TensorBoard log.
    """
    settings, main = recipe.training, accelerator.is_main_process
    step = Step(model, MultiPart(recipe.subspaces, recipe.loss))
    optimizer = torch.optim.AdamW(
        step.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    # With several processes this also gives all of them the main one's start.
    prepared, optimizer = accelerator.prepare(step, optimizer)
    modules: dict[str, torch.nn.Module] = {"model": model, "loss": step.loss}
    averaged = None
    if settings.ema:
        average = get_ema_multi_avg_fn(settings.ema)  # type: ignore[no-untyped-call]
        averaged = AveragedModel(model, multi_avg_fn=average)
        modules["ema"] = averaged
    kept: SubspaceModel = averaged.module if averaged else model  # type: ignore[assignment]
    done = load_checkpoint(folder, modules, optimizer, accelerator.scaler)
    sampler = make_sampler(cells, [s.factor for s in recipe.subspaces.values()], settings, recipe.seed)
    note = ""
    with (
        progress_bar("refining", settings.steps, "steps") if main else nullcontext() as bar,
        _tensorboard(folder, done.step) if main and settings.tensorboard else nullcontext() as log,
    ):
        if bar:
            bar.advance(done.step)
        while True:
            if validation and _is_measured(done.step, settings):
                found = validation.measure(kept, features) if main else None
                done.validation.append({"step": done.step} | from_main(found))
                if best_step(done.validation) == done.step:
                    done.best = state_copy(kept)
                _show(log, "validation", done.validation[-1])
            if done.step == settings.steps or _is_stale(done.validation, settings.patience):
                break

            for group in optimizer.param_groups:
                group["lr"] = learning_rate(done.step, settings)
            batch = sampler.batch(done.step)
            states, mask = _read(batch, done.step, model, cells, features, recipe)
            labels = {
                name: torch.from_numpy(part).to(accelerator.device) for name, part in batch.labels.items()
            }
            mask = None if mask is None else mask.to(accelerator.device)
            total, parts, dropped = prepared(states.to(accelerator.device), mask, labels)
            optimizer.zero_grad()
            accelerator.backward(total)
            if settings.clip_gradient:
                accelerator.clip_grad_norm_(step.parameters(), settings.clip_gradient)
            optimizer.step()
            if averaged:
                averaged.update_parameters(model)

            if done.step % LOG_EVERY == 0 or done.step == settings.steps - 1:
                done.history.append(_record(done.step, total, parts, dropped))
                _show(log, "loss", done.history[-1])
                note = _note(done)
            done.step += 1
            if main and done.step % settings.checkpoint_every == 0:
                save_checkpoint(folder, done, modules, optimizer, accelerator.scaler)
            if bar:
                bar.advance(1, note)
    model.load_state_dict(done.best or kept.state_dict())
    return done


def best_step(validation: list[Record]) -> int:
    """Return after how many steps the mean error rate was lowest, the first of equals."""
    return int(min(validation, key=lambda record: record[CRITERION])["step"])


def _is_measured(step: int, settings: TrainingSettings) -> bool:
    """Whether to validate after so many steps: the start and the end always."""
    return step % settings.validate_every == 0 or step == settings.steps


def _is_stale(validation: list[Record], patience: int) -> bool:
    steps = [record["step"] for record in validation]
    return bool(patience and steps and len(steps) - 1 - steps.index(best_step(validation)) >= patience)


def _read(
    batch: Batch,
    step: int,
    model: SubspaceModel,
    cells: TrainingCells,
    features: Features,
    recipe: Recipe,
) -> tuple[Tensor, Tensor | None]:
    """Read this process' share of a batch: means, or stretches of frames and their mask."""
    places = share(len(batch.cells))
    rows = cells.rows[batch.cells[places]]
    if not model.reads_frames:
        return torch.from_numpy(features.rows(rows)), None
    crop = crop_frames(recipe.training)
    # One clip a call: where a stretch starts must not hang on which process reads it.
    clips = [
        torch.from_numpy(features.states(row, crop, rng(recipe.seed, "training.crop", step, place))[0][0])
        for row, place in zip(rows[:, None], places.tolist(), strict=True)
    ]
    lengths = torch.tensor([len(clip) for clip in clips])
    return pad_sequence(clips, batch_first=True), torch.arange(int(lengths.max())) < lengths[:, None]


def crop_frames(settings: TrainingSettings) -> int:
    """Return how many frames of a clip an attentive map sees at most; at least 1."""
    return max(1, round(settings.crop_seconds * FRAMES_PER_SECOND))


def _record(step: int, total: Tensor, parts: dict[str, Tensor], dropped: dict[str, int]) -> Record:
    record = {"step": step, "total": round(float(total.detach()), 6)}
    if not math.isfinite(record["total"]):
        raise IntervoxError(
            f"the loss is {record['total']} at step {step}: lower training.learning_rate, set "
            "training.clip_gradient, or raise the subspaces' temperature"
        )
    losses = {name: round(float(part), 6) for name, part in parts.items()}
    return record | losses | {f"dropped_{name}": count for name, count in dropped.items()}


def _note(done: Progress) -> str:
    """Say beside the bar how it goes: the losses, and the best held-out figure so far."""
    losses = done.history[-1]
    if not done.validation:
        return f"loss {losses['total']:.3f}"
    parts = [f"{k} {v:.3f}" for k, v in losses.items() if k != "step" and not k.startswith("dropped_")]
    best = min(record[CRITERION] for record in done.validation)
    return " · ".join([*parts, f"best held-out EER {100 * best:.2f} % at {best_step(done.validation)}"])


@contextmanager
def _tensorboard(folder: Path, step: int) -> Iterator[Any]:
    """Open a log; what an earlier, killed run wrote from this step on is hidden."""
    if find_spec("tensorboard") is None:
        raise missing_extra("tensorboard", "tensorboard", "training.tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard"), purge_step=step) as writer:
        yield writer


def _show(log: Any, group: str, record: Record) -> None:
    if log:
        for name, value in record.items():
            if name != "step":
                log.add_scalar(f"{group}/{name}", value, record["step"])
