"""Closed forms: the map that a subspace starts from (LDA), and what is erased from its inputs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intervox.clips.labels import UNLABELLED
from intervox.errors import IntervoxError

Labels = NDArray[np.integer]


@dataclass(frozen=True)
class LinearMap:
    """``x @ weight.T + bias``.

    Attributes
    ----------
    weight, bias
        Shapes (dim, input) and (dim,); every direction has unit variance within the classes.
    reliability
        Shape (dim,), in [0, 1): the share of a direction's variance that lies between the classes,
        freed of what sampling the class means adds.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    reliability: NDArray[np.float32]

    def shrunk(self, exponent: float) -> "LinearMap":
        """Scale each direction by a power of its reliability.

        A cosine counts all directions of an LDA alike, the last ones that are mostly noise too;
        exponent 1 weighs them as the posterior mean of PLDA does (Ioffe 2006).
        """
        scale = self.reliability**exponent
        return LinearMap(self.weight * scale[:, None], self.bias * scale, self.reliability)


def fit_lda(inputs: NDArray[np.float32], labels: Labels, dim: int, shrinkage: float) -> LinearMap:
    """Find the directions that best separate the classes, whitened within them.

    The same map as scikit-learn's ``LinearDiscriminantAnalysis(solver="eigen")``, which forms one
    covariance a class: minutes for a thousand classes of a thousand dimensions, here a second.

    Parameters
    ----------
    inputs
        Shape (cells, input).
    labels
        Shape (cells,): class of each cell.
    dim
        Directions to keep; fewer are returned where there are fewer classes or inputs.
    shrinkage
        Share of the within-class covariance that is replaced by its mean variance, in [0, 1].
    """
    # Whoever embeds a clip fits nothing: they need not wait for SciPy.
    from scipy.linalg import LinAlgError, eigh

    centre = inputs.mean(axis=0)
    class_means, numbers, counts = _class_means(inputs - centre, labels)
    residual = inputs - centre - class_means[numbers].astype(np.float32)
    within = (residual.T @ residual).astype(np.float64) / len(inputs)
    between = (class_means * counts[:, None]).T @ class_means / len(inputs)
    size = len(within)
    within = (1 - shrinkage) * within + shrinkage * np.trace(within) / size * np.eye(size)
    kept = min(dim, len(counts) - 1, size)
    if kept < 1:
        raise IntervoxError("LDA needs at least two classes: give a factor that varies in the corpus")
    try:
        ratios, directions = eigh(between, within, subset_by_index=(size - kept, size - 1))
    except LinAlgError:
        raise IntervoxError(
            "LDA can't invert the within-class covariance: raise the subspace's shrinkage"
        ) from None
    weight = directions[:, ::-1].T
    signal = np.maximum(ratios[::-1] - 1 / counts.mean(), 1e-3)
    return LinearMap(
        weight.astype(np.float32),
        (-weight @ centre).astype(np.float32),
        (signal / (1 + signal)).astype(np.float32),
    )


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
    differences = inputs
    if blocks is not None:
        block_means, numbers, _ = _class_means(inputs, blocks)
        differences = np.asarray(inputs - block_means[numbers], np.float32)
    found = []
    for labels in factors:
        known = labels != UNLABELLED
        found.append(fit_lda(differences[known], labels[known], directions, shrinkage).weight)
    read = np.concatenate(found).T.astype(np.float64)
    scores = differences @ read
    write = np.linalg.pinv(scores.T @ scores, hermitian=True) @ (scores.T @ differences)
    return Erasure(read.astype(np.float32), write.astype(np.float32))


def _class_means(
    inputs: NDArray[np.float32], labels: Labels
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """Return the mean of each class, the class of each row, and how many rows a class has."""
    _, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), inputs.shape[1]), np.float64)
    np.add.at(sums, numbers, inputs)
    return sums / counts[:, None], numbers, counts
