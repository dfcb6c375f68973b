"""Overlap of two subspaces as such, whatever the data."""

import torch
from torch import Tensor
from torch.linalg import matrix_norm


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
    a = first if first.dtype == torch.float64 else first.float()
    b = second.to(a.dtype)
    return alignment(a - a.mean(dim=0), b - b.mean(dim=0))


def alignment(a: Tensor, b: Tensor) -> Tensor:
    """``||aᵀb||² / (||aᵀa|| ||bᵀb||)`` of matrices with as many rows, in [0, 1]."""
    # matrix_norm, unlike a square root, has a zero gradient at zero: one cell, or a collapsed space.
    scale: Tensor = matrix_norm(a.T @ a) * matrix_norm(b.T @ b)
    cross: Tensor = matrix_norm(a.T @ b).square()
    return cross / scale.clamp_min(torch.finfo(a.dtype).tiny)


def orthogonality(first: Tensor, second: Tensor) -> Tensor:
    """Measure how far two linear maps read the same directions of their input, in [0, 1].

    The weight penalty ``||W_a W_bᵀ||²`` in Frobenius norms, divided by ``||W_a W_aᵀ|| ||W_b W_bᵀ||``:
    zero for orthogonal row spaces, one for maps that differ by a rotation and a scale of their output.
    It is the ``coupling`` that two spaces would have on white input; on real input, orthogonal weights
    do not make uncorrelated outputs.

    Parameters
    ----------
    first, second
        Maps of shapes (d1, inputs) and (d2, inputs).
    """
    return alignment(first.T, second.T)
