"""Embeddings of held-out synthetic speech that a model carries: what "near" and "far" look like in it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONDITION = "condition"
TEXT = "text"


@dataclass(frozen=True)
class References:
    """Some hundred cells that training never saw, clean and degraded, in every subspace.

    Attributes
    ----------
    vectors
        Subspace to unit vectors, shape (cells, dim).
    labels
        Factor to one value a cell; also ``text``, what is said, and ``condition``, clean or degraded.
    """

    vectors: dict[str, NDArray[np.float32]]
    labels: dict[str, list[str]]

    def impostor_scores(self, space: str, factor: str, examples: int = 1) -> NDArray[np.float32]:
        """Score every cell against those who differ from it in a factor.

        Parameters
        ----------
        factor
            What "different" means; a key of ``labels``.
        examples
            Cells that are averaged to one enrolment: averages are closer to everyone.

        Returns
        -------
        ndarray
            Shape (trials,): cosines; empty where nobody has so many cells.
        """
        labels, vectors = np.asarray(self.labels[factor]), self.vectors[space]
        scores = [np.zeros(0, np.float32)]
        for label in np.unique(labels):
            own = np.flatnonzero(labels == label)
            whole = len(own) // examples * examples
            sums = vectors[own[:whole]].reshape(-1, examples, vectors.shape[1]).sum(axis=1)
            enrolled = sums / np.linalg.norm(sums, axis=1, keepdims=True)
            scores.append((enrolled @ vectors[labels != label].T).ravel())
        return np.concatenate(scores)
