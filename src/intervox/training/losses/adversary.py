"""What a space should not know, told by those who try to read it there."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from intervox.errors import IntervoxError
from intervox.recipe.training import LossSettings, SubspaceSettings
from intervox.training.losses.multi_positive import multi_positive_loss


class Adversary(nn.Module):
    """A linear head on every space for every factor that is another's.

    Domain-adversarial training (Ganin & Lempitsky 2015: gradient reversal): a head learns to tell the factor,
    and its gradient goes into the space reversed. The classifier of the paper is a space here, trained
    with the multi-positive loss, since most speakers and texts are in few batches. Heads are linear
    and square: what a linear probe of the space could read is what they may read.

    Parameters
    ----------
    subspaces
        Name to its settings. A head's temperature is that of the first subspace of its factor.
    settings
        ``denominator`` and ``chunk`` are read.

    Raises
    ------
    IntervoxError
        All subspaces are of one factor.
    """

    def __init__(self, subspaces: Mapping[str, SubspaceSettings], settings: LossSettings) -> None:
        super().__init__()
        self._settings = settings
        self._temperatures = {s.factor: s.temperature for s in reversed(list(subspaces.values()))}
        if len(self._temperatures) < 2:
            raise IntervoxError("loss.adversary needs subspaces of two factors: set it to 0 or add one")
        self.heads = nn.ModuleDict(
            {
                name: nn.ModuleDict(
                    {
                        factor: nn.Linear(own.dim, own.dim, bias=False)
                        for factor in sorted(self._temperatures.keys() - {own.factor})
                    }
                )
                for name, own in subspaces.items()
            }
        )

    def forward(self, vectors: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> Tensor:
        """Return the heads' mean loss: minimising it makes heads better and spaces harder to read.

        Parameters
        ----------
        vectors
            Space name to unit vectors of shape (cells, dim).
        labels
            Factor to integers of shape (cells,).
        """
        denominator, chunk = self._settings.denominator, self._settings.chunk
        losses = []
        for name, heads in self.heads.items():
            assert isinstance(heads, nn.ModuleDict)
            reversed_vectors: Tensor = _Reverse.apply(vectors[name])  # type: ignore[no-untyped-call]
            for factor, head in heads.items():
                told = normalize(head(reversed_vectors), dim=1)
                temperature = self._temperatures[factor]
                losses.append(
                    multi_positive_loss(told, labels[factor], temperature, denominator, chunk=chunk)[0]
                )
        return torch.stack(losses).mean()


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        return vectors.view_as(vectors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient
