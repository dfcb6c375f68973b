"""Overlap of two subspaces as such, whatever the data."""

from torch import Tensor

from intervox.subspaces.losses.cross_covariance import alignment


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
