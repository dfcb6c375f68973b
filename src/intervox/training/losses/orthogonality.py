"""Linear dependence of two spaces over a batch, as the paper measures it."""

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor, nn

from intervox.errors import IntervoxError
from intervox.recipe.training import LossSettings, SubspaceSettings


class Orthogonality(nn.Module):
    """The mean squared entry of ``Z_aᵀ Z_b``, averaged over each two spaces.

    ``Z`` is the batch's unit vectors (cells, dim), not centred (Cox & Barker 2026). The entries are sums over
    cells, so it grows with the batch; ``CrossCovariance`` does not.

    Raises
    ------
    IntervoxError
        There is one subspace.
    """

    def __init__(self, subspaces: Mapping[str, SubspaceSettings], settings: LossSettings) -> None:
        super().__init__()
        if len(subspaces) < 2:
            raise IntervoxError("loss.orthogonality needs two subspaces: set it to 0 or add one")

    def forward(self, vectors: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> Tensor:
        """Return a scalar for unit vectors (cells, dim) a space; labels are not read."""
        return torch.stack([(a.T @ b).square().mean() for a, b in combinations(vectors.values(), 2)]).mean()
