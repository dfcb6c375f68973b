"""One training in several processes, with the gradient that a single process would have.

Every process draws the same batch and takes its share of the cells through the model. The vectors of
all are gathered, with their gradients, and every process computes the whole loss L: each anchor sees
the positives and negatives of the whole batch, not those of one process.

Why the gradient is exact, for W processes with equal weights θ. Process k makes the vectors v_k; those
of the others are constants to it. As its L is that of the whole batch, what reaches v_k is all of
∂L/∂v_k, and times W it leaves W (∂L/∂v_k)(∂v_k/∂θ) on process k. ``DistributedDataParallel``
takes the mean over processes, Σ_k (∂L/∂v_k)(∂v_k/∂θ) = dL/dθ. What reaches L on other ways (temperatures,
the maps of a weight penalty, the loss' own heads) has its whole gradient on every process, and the
mean of equal gradients is that gradient: here the factor W would be wrong. So it is put on the
vectors, not on the loss. Nothing but the vectors and DDP's mean is ever sent.
"""

import math
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
import torch.distributed
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from torch import Tensor, nn

from intervox.errors import IntervoxError
from intervox.model.model import SubspaceModel
from intervox.training.losses import MultiPart

Value = TypeVar("Value")

_PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def join_processes(precision: str) -> Accelerator:
    """Join the processes that ``accelerate launch`` started, or be the only one.

    Parameters
    ----------
    precision
        ``fp32``, ``bf16`` or ``fp16``, whatever the launcher was told: the recipe decides the model.

    Raises
    ------
    IntervoxError
        The device can't compute in this precision.
    """
    # It keeps the precision of an earlier training in this process and refuses another.
    AcceleratorState._reset_state()
    try:
        accelerator = Accelerator(mixed_precision=_PRECISIONS[precision])
        usable = precision == "fp32" or accelerator.native_amp
    except ValueError:
        usable = False
    if not usable:
        raise IntervoxError(
            f"training.precision: {precision} is not to be had on this device: choose bf16 or fp32"
        )
    return accelerator


def from_main(value: Value | None) -> Value:
    """Return to every process what the main one gives; the others give None."""
    return broadcast_object_list([value])[0]  # type: ignore[no-any-return]


def share(count: int) -> NDArray[np.int64]:
    """Return which of ``count`` places of a batch are this process': equally many everywhere.

    The last place is repeated where the division leaves a rest; ``Step`` drops the repetitions.
    """
    size = math.ceil(count / _processes())
    first = torch.distributed.get_rank() * size if _processes() > 1 else 0
    return np.minimum(np.arange(first, first + size), count - 1)


class Step(nn.Module):
    """Model and loss as one module, from a share of a batch to the loss of all of it.

    ``DistributedDataParallel`` sees to the gradients of what its own forward used. The temperatures
    and maps are read outside the model's forward, so they have to be read inside this one.
    """

    def __init__(self, model: SubspaceModel, loss: MultiPart) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(
        self, states: Tensor, mask: Tensor | None, labels: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, int]]:
        """Return the total, the parts without gradients, and the anchors without positives.

        Parameters
        ----------
        states, mask
            Of this process' ``share`` of the cells, as ``SubspaceModel.forward`` takes them.
        labels
            Column to integers, shape (cells of the whole batch,).
        """
        vectors = self.model(states, mask)
        count = len(next(iter(labels.values())))
        # Mixed precision ends here: the logits' differences need fp32.
        with torch.autocast(states.device.type, enabled=False):
            whole = {name: _gather(_precise(part))[:count] for name, part in vectors.items()}
            found = self.loss(whole, labels, self.model.temperatures(), self.model.maps())
        return found.total, {name: part.detach() for name, part in found.parts.items()}, found.dropped


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


def _precise(vectors: Tensor) -> Tensor:
    return vectors if vectors.dtype == torch.float64 else vectors.float()


def _processes() -> int:
    there = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if there else 1
