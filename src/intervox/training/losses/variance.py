"""No dimension may collapse."""

from torch import Tensor

EPSILON = 1e-4


def variance(vectors: Tensor) -> Tensor:
    """Measure how many dimensions of a space carry less than their part of the spread.

    VICReg's hinge (Bardes et al. 2022, eq. 1 and 2), ``mean over dims of max(0, 1 - std)`` with
    ``std = sqrt(variance + 1e-4)``, on vectors scaled by ``sqrt(dim)``: a unit vector's dims have a
    standard deviation of 1 / sqrt(dim) where it is spread evenly.

    Parameters
    ----------
    vectors
        Unit vectors, shape (cells, dim); one cell has no spread.

    Returns
    -------
    Tensor
        Scalar in [0, 1].
    """
    cells, dim = vectors.shape
    spread = vectors.var(dim=0, correction=min(1, cells - 1)) * dim
    return (1 - (spread + EPSILON).sqrt()).relu().mean()
