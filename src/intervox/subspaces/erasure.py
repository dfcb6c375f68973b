"""Take another factor out of a subspace's inputs, in closed form, before anything is learned."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intervox.subspaces.lda import fit_lda
from intervox.subspaces.losses import UNLABELLED

Labels = NDArray[np.integer]


@dataclass(frozen=True)
class Erasure:
    """The projection ``x - (x @ read) @ write`` along a few directions.

    Attributes
    ----------
    read, write
        Shapes (width, directions) and (directions, width); ``write @ read`` is the identity.
    """

    read: NDArray[np.float32]
    write: NDArray[np.float32]


def fit_erasure(
    inputs: NDArray[np.float32],
    factors: Sequence[Labels],
    directions: int,
    shrinkage: float,
    blocks: Labels | None = None,
) -> Erasure:
    """Erase the leading directions in which the class means of some factors vary.

    The directions are those of LDA: most variance of the class means relative to that within the
    classes. What the inputs' scores on them predict by least squares is taken from the inputs: in
    whitened coordinates an orthogonal projection, the smallest change in squared error after which
    the scores are zero, hence the class means coincide along the directions and the inputs are
    uncorrelated with them. With as many directions as classes less one, and no shrinkage, it is
    LEACE (Belrose et al. 2023, theorem 4.3): the class means coincide altogether, and no linear
    classifier finds the factor in the cells that it was fitted on. A corpus has more classes than
    inputs, of which LEACE would leave nothing; the leading directions hold most of the factor.

    Parameters
    ----------
    inputs
        Shape (cells, width), with a mean of zero.
    factors
        Shape (cells,) each: classes, ``UNLABELLED`` where there is none. All are erased together.
    directions
        Of each factor; fewer where it has not more classes.
    shrinkage
        As in ``fit_lda``.
    blocks
        Shape (cells,): groups in which the factors are crossed with the one to keep. Directions and
        projection are fitted on differences within them: a text is said by the speakers of its block
        alone, so its mean over all cells carries theirs, and erasing it would erase them.
    """
    differences = inputs if blocks is None else _within(inputs, blocks)
    found = []
    for labels in factors:
        known = labels != UNLABELLED
        found.append(fit_lda(differences[known], labels[known], directions, shrinkage).weight)
    read = np.concatenate(found).T.astype(np.float64)
    scores = differences @ read
    write = np.linalg.pinv(scores.T @ scores, hermitian=True) @ (scores.T @ differences)
    return Erasure(read.astype(np.float32), write.astype(np.float32))


def _within(inputs: NDArray[np.float32], groups: Labels) -> NDArray[np.float32]:
    """Take each group's mean off its rows."""
    _, numbers, counts = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), inputs.shape[1]), np.float64)
    np.add.at(sums, numbers, inputs)
    return np.asarray(inputs - (sums / counts[:, None])[numbers], np.float32)
