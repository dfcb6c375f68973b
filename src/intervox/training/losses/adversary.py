"""What a space should not know, told by those who try to read it there."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from intervox.recipe.training import SubspaceSettings
from intervox.training.losses.multi_positive import Denominator, multi_positive_loss


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
    denominator, chunk
        See ``multi_positive_loss``.
    """

    def __init__(
        self, subspaces: Mapping[str, SubspaceSettings], denominator: Denominator, chunk: int
    ) -> None:
        super().__init__()
        self._temperatures = {s.factor: s.temperature for s in reversed(list(subspaces.values()))}
        self._denominator = denominator
        self._chunk = chunk
        self.heads = nn.ModuleDict(
            {
                name: nn.ModuleDict(
                    {
                        factor: nn.Linear(settings.dim, settings.dim, bias=False)
                        for factor in sorted(self._temperatures.keys() - {settings.factor})
                    }
                )
                for name, settings in subspaces.items()
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
        losses = []
        for name, heads in self.heads.items():
            assert isinstance(heads, nn.ModuleDict)
            reversed_vectors: Tensor = _Reverse.apply(vectors[name])  # type: ignore[no-untyped-call]
            for factor, head in heads.items():
                told = normalize(head(reversed_vectors), dim=1)
                loss, _ = multi_positive_loss(
                    told, labels[factor], self._temperatures[factor], self._denominator, chunk=self._chunk
                )
                losses.append(loss)
        return torch.stack(losses).mean()


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        return vectors.view_as(vectors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient
