"""What a training has logged so far, and the checkpoint that it resumes from."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from intervox.errors import IntervoxError
from intervox.storage import atomic_path, write_json
from intervox.training.losses import MultiPartLoss

CHECKPOINT, RECORD = "checkpoint.safetensors", "training.json"
_BEST, _OPTIMIZER, _PROGRESS = "best", "optimizer", "progress"


class LossRecord(BaseModel):
    """The loss of one step.

    Attributes
    ----------
    step
        Counted from 0.
    total, parts, dropped
        As in ``MultiPartLoss``, rounded.
    """

    step: int
    total: float
    parts: dict[str, float]
    dropped: dict[str, int]

    @classmethod
    def of(cls, step: int, loss: MultiPartLoss, remedy: str) -> "LossRecord":
        """Read a step's loss.

        Raises
        ------
        IntervoxError
            It is not finite; the message ends with the remedy.
        """
        total = round(float(loss.total.detach()), 6)
        if not math.isfinite(total):
            raise IntervoxError(f"the loss is {total} at step {step}: {remedy}")
        parts = {name: round(float(part.detach()), 6) for name, part in loss.parts.items()}
        return cls(step=step, total=total, parts=parts, dropped=loss.dropped)


class Measurement(BaseModel):
    """One validation: after how many steps, and each subspace's equal error rate in [0, 1]."""

    step: int
    rates: dict[str, float]

    @property
    def mean(self) -> float:
        """What decides: the mean error rate over subspaces."""
        return sum(self.rates.values()) / len(self.rates)


class TrainingRecord(BaseModel):
    """What ``training.json`` says of how a model was trained.

    Attributes
    ----------
    key
        Hash of everything that decides the weights.
    history
        Losses, every few steps.
    validation
        Every measurement; none without ``training.validate_every``.
    best_step
        After how many steps the weights that were kept were reached.
    """

    key: str
    history: list[LossRecord]
    validation: list[Measurement]
    best_step: int

    @classmethod
    def read(cls, folder: Path) -> "TrainingRecord":
        """Read the record beside a model, or say that it is missing or broken."""
        path = folder / RECORD
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise IntervoxError(f"{path} does not exist: run `intervox refine` first") from None
        except ValidationError:
            raise IntervoxError(f"{path} is not what Intervox writes there: refine again") from None

    def write(self, folder: Path) -> None:
        """Write the record beside its model."""
        write_json(folder / RECORD, self.model_dump())


class Progress(BaseModel):
    """How far a training is.

    Attributes
    ----------
    step
        Steps done.
    history, validation
        As in ``TrainingRecord``.
    best
        State of what is trained, by module, at the best measurement; empty before the first.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    step: int = 0
    history: list[LossRecord] = []
    validation: list[Measurement] = []
    best: dict[str, dict[str, Tensor]] = Field({}, exclude=True)

    @property
    def best_step(self) -> int:
        """After how many steps the mean error rate was lowest, the first of equals; else the last."""
        if not self.validation:
            return self.step
        return min(self.validation, key=lambda measured: measured.mean).step


def save_checkpoint(
    folder: Path, progress: Progress, modules: Mapping[str, nn.Module], optimizer: Any
) -> None:
    """Write weights, moments and logs as one safetensors file: nothing that could execute.

    Parameters
    ----------
    modules
        Name to module; parameters and buffers are kept.
    optimizer
        Whose parameters are those of the modules.
    """
    tensors = {
        f"{name}.{key}": t for name, module in modules.items() for key, t in module.state_dict().items()
    }
    for name, state in progress.best.items():
        tensors |= {f"{_BEST}.{name}.{key}": tensor for key, tensor in state.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}.{index}.{key}": tensor for key, tensor in moments.items()}
    with atomic_path(folder / CHECKPOINT) as temporary:
        save_file(
            # safetensors refuses tensors that share memory, as tied parameters do.
            {key: tensor.detach().cpu().clone().contiguous() for key, tensor in tensors.items()},
            temporary,
            {_PROGRESS: progress.model_dump_json()},
        )


def load_checkpoint(folder: Path, modules: Mapping[str, nn.Module], optimizer: Any) -> Progress:
    """Put everything back where ``save_checkpoint`` took it from; without a file, start anew."""
    path = folder / CHECKPOINT
    if not path.exists():
        return Progress()
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        progress = Progress.model_validate_json(file.metadata()[_PROGRESS])
    best = _part(tensors, _BEST)
    progress.best = {name: found for name in modules if (found := _part(best, name))}
    for name, module in modules.items():
        module.load_state_dict(_part(tensors, name))
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _part(tensors, _OPTIMIZER).items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    return progress


def state_copy(module: nn.Module) -> dict[str, Tensor]:
    """Copy a module's state, so that later steps do not change it."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    start = f"{name}."
    return {key.removeprefix(start): tensor for key, tensor in tensors.items() if key.startswith(start)}
