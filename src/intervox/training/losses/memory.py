"""Cells of earlier steps, kept to be compared with."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from intervox.clips.labels import UNLABELLED


class Queue(nn.Module):
    """The last cells' vectors and labels, in buffers of fixed shape that are filled ring-wise.

    Cross-batch memory (Wang et al. 2020): a trained map drifts slowly, so that vectors of a few steps
    ago still serve to be compared with. A cell may be in the queue and in the batch at once.

    Parameters
    ----------
    dims
        Space name to its dim.
    columns
        Whose labels are kept.
    size
        How many cells; empty slots are ``UNLABELLED``.
    """

    next: Tensor

    def __init__(self, dims: Mapping[str, int], columns: Iterable[str], size: int) -> None:
        super().__init__()
        self._spaces, self._columns, self._size = list(dims), sorted(columns), size
        for name, dim in dims.items():
            self.register_buffer(f"vectors_{name}", torch.zeros(size, dim))
        for column in self._columns:
            self.register_buffer(f"labels_{column}", torch.full((size,), UNLABELLED))
        self.register_buffer("next", torch.tensor(0))

    def vectors(self, space: str) -> Tensor:
        """Return the vectors of a space, shape (size, dim)."""
        return self.get_buffer(f"vectors_{space}")

    def labels(self, column: str) -> Tensor:
        """Return the labels of a column, shape (size,)."""
        return self.get_buffer(f"labels_{column}")

    @torch.no_grad()
    def add(self, vectors: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> None:
        """Put a batch's cells, its last ones where it is larger than the queue, over the oldest."""
        count = min(self._size, len(labels[self._columns[0]]))
        slots = (self.next + torch.arange(count, device=self.next.device)) % self._size
        for space in self._spaces:
            self.vectors(space)[slots] = vectors[space][-count:].to(self.vectors(space))
        for column in self._columns:
            self.labels(column)[slots] = labels[column][-count:]
        self.next.add_(count).remainder_(self._size)
