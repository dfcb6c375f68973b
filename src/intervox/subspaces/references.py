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

    def impostor_scores(self, space: str, factor: str) -> NDArray[np.float32]:
        """Return the cosines of all pairs that differ in a factor, shape (pairs,)."""
        labels = np.asarray(self.labels[factor])
        vectors = self.vectors[space]
        first, second = np.triu_indices(len(vectors), 1)
        scores = (vectors @ vectors.T)[first, second]
        return np.asarray(scores[labels[first] != labels[second]])
