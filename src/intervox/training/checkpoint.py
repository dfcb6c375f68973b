"""A training that can go on: everything that its end depends on, in one file of plain tensors."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from intervox.storage import atomic_path

CHECKPOINT = "checkpoint.safetensors"
_BEST, _OPTIMIZER = "best", "optimizer"

Record = dict[str, float]


@dataclass
class Progress:
    """How far a training is.

    Attributes
    ----------
    step
        Steps done.
    history
        Losses, one record every few steps.
    validation
        Error rates, one record a measurement.
    best
        State of the model with the best of them; empty before the first.
    """

    step: int = 0
    history: list[Record] = field(default_factory=list)
    validation: list[Record] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)


def save_checkpoint(
    folder: Path,
    progress: Progress,
    modules: Mapping[str, nn.Module],
    optimizer: Any,
    scaler: Any = None,
) -> None:
    """Write weights, moments and logs as one safetensors file: nothing that could execute.

    Parameters
    ----------
    modules
        Name to module; parameters and buffers are kept.
    optimizer
        Whose parameters are those of the modules.
    scaler
        Of fp16 gradients, if there is one.
    """
    tensors = {
        f"{name}.{key}": t for name, module in modules.items() for key, t in module.state_dict().items()
    }
    tensors |= {f"{_BEST}.{key}": tensor for key, tensor in progress.best.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"{_OPTIMIZER}.{index}.{key}": tensor for key, tensor in moments.items()}
    metadata = {
        "step": progress.step,
        "history": progress.history,
        "validation": progress.validation,
        "scaler": scaler.state_dict() if scaler else {},
    }
    with atomic_path(folder / CHECKPOINT) as temporary:
        save_file(
            # safetensors refuses tensors that share memory, as tied parameters do.
            {key: tensor.detach().cpu().clone().contiguous() for key, tensor in tensors.items()},
            temporary,
            {key: json.dumps(value) for key, value in metadata.items()},
        )


def load_checkpoint(
    folder: Path, modules: Mapping[str, nn.Module], optimizer: Any, scaler: Any = None
) -> Progress:
    """Put everything back where ``save_checkpoint`` took it from; without a file, start anew."""
    path = folder / CHECKPOINT
    if not path.exists():
        return Progress()
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = {key: json.loads(value) for key, value in file.metadata().items()}
    for name, module in modules.items():
        module.load_state_dict(_part(tensors, name))
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _part(tensors, _OPTIMIZER).items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    if scaler and metadata["scaler"]:
        scaler.load_state_dict(metadata["scaler"])
    return Progress(metadata["step"], metadata["history"], metadata["validation"], _part(tensors, _BEST))


def state_copy(module: nn.Module) -> dict[str, Tensor]:
    """Copy a module's state, so that later steps do not change it."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    start = f"{name}."
    return {key.removeprefix(start): tensor for key, tensor in tensors.items() if key.startswith(start)}
