"""Linear dependence of two spaces over a batch."""

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.linalg import matrix_norm

from intervox.recipe.training import LossSettings, SubspaceSettings


def coupling(first: Tensor, second: Tensor) -> Tensor:
    """Measure the linear dependence of two spaces over a batch, in [0, 1].

    ``||C_ab||² / (||C_aa|| ||C_bb||)`` with Frobenius norms of the (cross-)covariances: the RV
    coefficient (Escoufier 1973), the cross-covariance penalty made independent of scale and of both
    dims. Zero means uncorrelated, which is less than independent.

    Parameters
    ----------
    first, second
        Shapes (cells, d1) and (cells, d2).

    Returns
    -------
    Tensor
        Scalar; zero with a zero gradient where a space is one point.
    """
    a, b = first - first.mean(dim=0), second - second.mean(dim=0)
    # matrix_norm, unlike a square root, has a zero gradient at zero: one cell, or a collapsed space.
    scale: Tensor = matrix_norm(a.T @ a) * matrix_norm(b.T @ b)
    cross: Tensor = matrix_norm(a.T @ b).square()
    return cross / scale.clamp_min(torch.finfo(a.dtype).tiny)


class CrossCovariance(nn.Module):
    """The mean ``coupling`` of each two spaces: what one tells linearly of another is punished."""

    def __init__(self, subspaces: Mapping[str, SubspaceSettings], settings: LossSettings) -> None:
        super().__init__()

    def forward(self, vectors: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> Tensor:
        """Return a scalar in [0, 1] for unit vectors (cells, dim) a space; labels are not read."""
        return torch.stack([coupling(a, b) for a, b in combinations(vectors.values(), 2)]).mean()
