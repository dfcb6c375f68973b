"""Linear discriminant analysis as a closed-form subspace: the start of training, and the baseline."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intervox.errors import IntervoxError


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


def fit_lda(
    inputs: NDArray[np.float32], labels: NDArray[np.integer], dim: int, shrinkage: float
) -> LinearMap:
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

    _, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    centre = inputs.mean(axis=0)
    sums = np.zeros((len(counts), inputs.shape[1]), np.float64)
    np.add.at(sums, numbers, inputs - centre)
    class_means = sums / counts[:, None]
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
