"""The training loop, read from top to bottom, in one process or several (``Step`` says why they agree).

It may be killed at any time: the same command resumes from the last checkpoint and ends in the same bytes.
``docs/how-to/many-machines.md`` has the commands for one process and for many.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from intervox.errors import missing_extra
from intervox.features.store import Features
from intervox.model.model import SubspaceModel
from intervox.progress import progress_bar
from intervox.recipe import Recipe
from intervox.recipe.training import AdaptationSettings, TrainingSettings
from intervox.seeds import rng
from intervox.training.cells import Batch, TrainingCells, make_sampler
from intervox.training.checkpoint import (
    LossRecord,
    Measurement,
    Progress,
    load_checkpoint,
    save_checkpoint,
    state_copy,
)
from intervox.training.losses import MultiPart, MultiPartLoss
from intervox.training.validation import Validation

LOG_EVERY = 10
FRAMES_PER_SECOND = 50
"""Of most backbones, wav2vec 2.0's kin and Whisper among them."""

_REMEDY = "lower training.learning_rate, set training.clip_gradient, or raise the subspaces' temperature"

Value = TypeVar("Value")


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
    modules: dict[str, nn.Module] = {"model": model, "loss": step.loss}
    done = load_checkpoint(folder, modules, optimizer)
    sampler = make_sampler(cells, [s.factor for s in recipe.subspaces.values()], settings, recipe.seed)
    note = ""
    with (
        progress_bar("refining", settings.steps, "steps") if main else nullcontext() as bar,
        _tensorboard(folder, done.step) if main and settings.tensorboard else nullcontext() as log,
    ):
        if bar:
            bar.advance(done.step)
        while True:
            if validation and (done.step % settings.validate_every == 0 or done.step == settings.steps):
                rates = from_main(validation.measure(model, features) if main else None)
                done.validation.append(Measurement(step=done.step, rates=rates))
                if done.best_step == done.step:
                    done.best = state_copy(model)
                _show(log, "validation", done.step, rates | {"mean": done.validation[-1].mean})
            if done.step == settings.steps:
                break

            for group in optimizer.param_groups:
                group["lr"] = learning_rate(done.step, settings)
            batch = sampler.batch(done.step)
            states, mask = _read(batch, done.step, model, cells, features, recipe)
            labels = {
                name: torch.from_numpy(part).to(accelerator.device) for name, part in batch.labels.items()
            }
            mask = None if mask is None else mask.to(accelerator.device)
            loss: MultiPartLoss = prepared(states.to(accelerator.device), mask, labels)
            optimizer.zero_grad()
            accelerator.backward(loss.total)
            if settings.clip_gradient:
                accelerator.clip_grad_norm_(step.parameters(), settings.clip_gradient)
            optimizer.step()

            if done.step % LOG_EVERY == 0 or done.step == settings.steps - 1:
                logged = LossRecord.of(done.step, loss, _REMEDY)
                done.history.append(logged)
                _show(log, "loss", done.step, {"total": logged.total} | logged.parts)
                note = _note(done)
            done.step += 1
            if main and done.step % settings.checkpoint_every == 0:
                save_checkpoint(folder, done, modules, optimizer)
            if bar:
                bar.advance(1, note)
    if done.best:
        model.load_state_dict(done.best)
    return done


def learning_rate(step: int, settings: TrainingSettings | AdaptationSettings) -> float:
    """Rise linearly over the warm-up, then fall to zero by a half cosine.

    Parameters
    ----------
    step
        Counted from 0, below ``settings.steps``.
    """
    peak = settings.learning_rate
    if step < settings.warmup_steps:
        return peak * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * done))


class Step(nn.Module):
    """Model and loss as one module: one training in several processes, with the gradient of a single one.

    Every process draws the same batch and takes its share of the cells through the model. The vectors
    of all are gathered, with their gradients, and every process computes the whole loss L: each anchor
    sees the positives and negatives of the whole batch, not those of one process.

    Why the gradient is exact, for W processes with equal weights θ. Process k makes the vectors v_k;
    those of the others are constants to it. As its L is that of the whole batch, what reaches v_k is
    all of ∂L/∂v_k, and times W it leaves W (∂L/∂v_k)(∂v_k/∂θ) on process k. ``DistributedDataParallel``
    takes the mean over processes, Σ_k (∂L/∂v_k)(∂v_k/∂θ) = dL/dθ. What the loss itself learns (the
    heads of an adversary) has its whole gradient on every process, and the mean of equal gradients is
    that gradient: here the factor W would be wrong. So it is put on the vectors, not on the loss.
    Nothing but the vectors and DDP's mean is ever sent.
    """

    def __init__(self, model: SubspaceModel, loss: MultiPart) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, states: Tensor, mask: Tensor | None, labels: Mapping[str, Tensor]) -> MultiPartLoss:
        """Return the loss of the whole batch.

        Parameters
        ----------
        states, mask
            Of this process' ``share`` of the cells, as ``SubspaceModel.forward`` takes them.
        labels
            Column to integers, shape (cells of the whole batch,).
        """
        vectors = self.model(states, mask)
        count = len(next(iter(labels.values())))
        found: MultiPartLoss = self.loss({n: _gather(part)[:count] for n, part in vectors.items()}, labels)
        return found


def share(count: int) -> NDArray[np.int64]:
    """Return which of ``count`` places of a batch are this process': equally many everywhere.

    The last place is repeated where the division leaves a rest; ``Step`` drops the repetitions.
    """
    size = math.ceil(count / _processes())
    first = torch.distributed.get_rank() * size if _processes() > 1 else 0
    return np.minimum(np.arange(first, first + size), count - 1)


def from_main(value: Value | None) -> Value:
    """Return to every process what the main one gives; the others give None."""
    return broadcast_object_list([value])[0]  # type: ignore[no-any-return]


def _gather(vectors: Tensor) -> Tensor:
    """Join all processes' vectors; this one's get their gradient times the number of processes."""
    count = _processes()
    if count == 1:
        return vectors
    vectors.register_hook(lambda gradient: gradient * count)  # type: ignore[no-untyped-call]
    parts = [torch.empty_like(vectors) for _ in range(count)]
    torch.distributed.all_gather(parts, vectors.detach().contiguous())
    parts[torch.distributed.get_rank()] = vectors
    return torch.cat(parts)


def _processes() -> int:
    there = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if there else 1


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


def _note(done: Progress) -> str:
    """Say beside the bar how it goes: the losses, and the best held-out figure so far."""
    last = done.history[-1]
    if not done.validation:
        return f"loss {last.total:.3f}"
    parts = [f"{name} {value:.3f}" for name, value in ({"total": last.total} | last.parts).items()]
    best = min(measured.mean for measured in done.validation)
    return " · ".join([*parts, f"best held-out EER {100 * best:.2f} % at {done.best_step}"])


@contextmanager
def _tensorboard(folder: Path, step: int) -> Iterator[Any]:
    """Open a log; what an earlier, killed run wrote from this step on is hidden."""
    if find_spec("tensorboard") is None:
        raise missing_extra("tensorboard", "tensorboard", "training.tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard"), purge_step=step) as writer:
        yield writer


def _show(log: Any, group: str, step: int, values: Mapping[str, float]) -> None:
    if log:
        for name, value in values.items():
            log.add_scalar(f"{group}/{name}", value, step)
