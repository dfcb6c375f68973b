"""The training loop, read from top to bottom, in one process or several (``Step`` says why they agree).

It may be killed at any time: the same command resumes from the last checkpoint and ends in the same bytes.
``docs/how-to/many-machines.md`` has the commands for one process and for many.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
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

from intervox.audio import Waveform
from intervox.errors import missing_extra
from intervox.metrics.vectors import Vectors
from intervox.model.model import SubspaceModel
from intervox.progress import progress_bar
from intervox.recipe import Recipe
from intervox.training.cells import TrainingCells, make_sampler
from intervox.training.checkpoint import (
    LossRecord,
    Measurement,
    Progress,
    load_checkpoint,
    save_checkpoint,
    state_copy,
)
from intervox.training.encoder import TrainableEncoder
from intervox.training.inputs import Given, Inputs
from intervox.training.losses import MultiPart, MultiPartLoss
from intervox.training.schedule import momentum, schedule
from intervox.training.validation import Validation

LOG_EVERY = 10

_REMEDY = (
    "lower training.learning_rate (at depth blocks encoder.learning_rate too), set training.clip_gradient, "
    "or raise the subspaces' temperature"
)

Value = TypeVar("Value")


def train(
    model: SubspaceModel,
    encoder: TrainableEncoder | None,
    accelerator: Accelerator,
    cells: TrainingCells,
    inputs: Inputs,
    validation: Validation | None,
    recipe: Recipe,
    folder: Path,
) -> Progress:
    """Run the steps that are left; the weights to keep are then in ``model`` and ``encoder``.

    Parameters
    ----------
    model
        As it starts; on the main process at least.
    encoder
        What is trained of the backbone; without, what the inputs hold is of a frozen one.
    cells
        What to train on.
    inputs
        Reads them.
    validation
        What to choose the weights by; without it they are the last ones.
    recipe
        ``subspaces``, ``loss``, ``training``, ``encoder`` and ``seed`` are read.
    folder
        Where the checkpoint is, and the TensorBoard log.
    """
    settings, main = recipe.training, accelerator.is_main_process
    step = Step(model, MultiPart(recipe.subspaces, recipe.loss), encoder)
    optimizer = make_optimizer(step, recipe)
    # With several processes this also gives all of them the main one's start.
    prepared, optimizer = accelerator.prepare(step, optimizer)
    trained = {"model": model} | ({"encoder": encoder} if encoder else {})
    modules: dict[str, nn.Module] = {**trained, "loss": step.loss}
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
                rates = from_main(validation.measure(partial(step.read, inputs)) if main else None)
                done.validation.append(Measurement(step=done.step, rates=rates))
                if done.best_step == done.step:
                    done.best = {name: state_copy(module) for name, module in trained.items()}
                _show(log, "validation", done.step, rates | {"mean": done.validation[-1].mean})
            if done.step == settings.steps:
                break

            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * schedule(done.step, settings)
                group["betas"] = (momentum(done.step, settings), group["betas"][1])
            batch = sampler.batch(done.step)
            places = share(len(batch.cells))
            given = inputs.drawn(cells.rows[batch.cells[places]], done.step, places.tolist())
            labels = {
                name: torch.from_numpy(part).to(accelerator.device) for name, part in batch.labels.items()
            }
            loss: MultiPartLoss = prepared(given, labels)
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
    for name, state in done.best.items():
        trained[name].load_state_dict(state)
    return done


def make_optimizer(step: "Step", recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW over maps and loss, and over the encoder with a peak of its own."""
    heads = [*step.model.parameters(), *step.loss.parameters()]
    groups = [{"params": heads, "peak": recipe.training.learning_rate}]
    if step.encoder:
        groups.append({"params": [*step.encoder.parameters()], "peak": recipe.encoder.learning_rate})
    return torch.optim.AdamW(groups, weight_decay=recipe.training.weight_decay)


class Step(nn.Module):
    """Encoder, where one is trained, model and loss as one module.

    One training in several processes has the gradient of a single one. Every process draws the same
    batch and takes its share of the cells through the model. The vectors of all are gathered, with their
    gradients, and every process computes the whole loss L: each anchor sees the positives and negatives
    of the whole batch, not those of one process.

    Why the gradient is exact, for W processes with equal weights θ. Process k makes the vectors v_k;
    those of the others are constants to it. As its L is that of the whole batch, what reaches v_k is
    all of ∂L/∂v_k, and times W it leaves W (∂L/∂v_k)(∂v_k/∂θ) on process k. ``DistributedDataParallel``
    takes the mean over processes, Σ_k (∂L/∂v_k)(∂v_k/∂θ) = dL/dθ. What the loss itself learns (the
    heads of an adversary) has its whole gradient on every process, and the mean of equal gradients is
    that gradient: here the factor W would be wrong. So it is put on the vectors, not on the loss.
    Nothing but the vectors and DDP's mean is ever sent.
    """

    def __init__(self, model: SubspaceModel, loss: MultiPart, encoder: TrainableEncoder | None) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.encoder = encoder

    def forward(self, given: Given, labels: Mapping[str, Tensor]) -> MultiPartLoss:
        """Return the loss of the whole batch.

        Parameters
        ----------
        given
            Of this process' ``share`` of the cells.
        labels
            Column to integers, shape (cells of the whole batch,).
        """
        vectors = self.embed(given)
        count = len(next(iter(labels.values())))
        found: MultiPartLoss = self.loss({n: _gather(part)[:count] for n, part in vectors.items()}, labels)
        return found

    def embed(self, given: Given) -> dict[str, Tensor]:
        """Return the vectors (cells, dim) of every subspace."""
        if self.encoder is None:
            assert isinstance(given, tuple), "means or frames"
            return self._project(*given)
        assert isinstance(given, list), "audio"
        encoder = self.encoder

        def compute(waves: list[Waveform]) -> dict[str, Tensor]:
            return self._project(*encoder(waves))

        positions, parts = zip(*encoder.in_batches(given, compute), strict=True)
        order = torch.argsort(torch.tensor([place for batch in positions for place in batch]))
        return {
            name: torch.cat([part[name] for part in parts])[order.to(self.model.device)] for name in parts[0]
        }

    def read(self, inputs: Inputs, rows: NDArray[np.int64]) -> dict[str, Vectors]:
        """Embed cells as they are, without a gradient."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(rows), inputs.at_once):
                found = self.embed(inputs.plain(rows[start : start + inputs.at_once]))
                parts.append({name: vectors.cpu().numpy() for name, vectors in found.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _project(self, states: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        device = self.model.device
        vectors: dict[str, Tensor] = self.model(states.to(device), None if mask is None else mask.to(device))
        return vectors


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
