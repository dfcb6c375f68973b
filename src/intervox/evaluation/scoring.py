"""How two vectors become a score: the cosine, and what is fitted on top of it.

Cohorts, means and models come from training cells, never from the clips that are evaluated.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intervox.evaluation.trials import Pairs
from intervox.evaluation.vectors import Vectors, unit
from intervox.subspaces.lda import LinearMap, fit_lda

CHUNK = 4_096
"""Trials scored at once: two chunks of vectors stay in a core's cache."""

TOP = 200
PLDA_SHRINKAGE = 1e-3

Scorer = Callable[[Vectors, Pairs], NDArray[np.float32]]
"""Maps unit vectors (clips, dim) and pairs (trials, 2) to scores (trials,), higher for one speaker."""


def cosine(vectors: Vectors, pairs: Pairs) -> NDArray[np.float32]:
    """Score pairs of unit vectors in bounded memory: shape (trials,), in [-1, 1]."""
    scores = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), CHUNK):
        part = pairs[start : start + CHUNK]
        scores[start : start + CHUNK] = np.einsum("td,td->t", vectors[part[:, 0]], vectors[part[:, 1]])
    return scores


def centred(mean: NDArray[np.floating]) -> Scorer:
    """Return the cosine of vectors less a mean, shape (dim,), that they have in common."""
    return lambda vectors, pairs: cosine(unit(vectors - mean), pairs)


@dataclass(frozen=True)
class AsNorm:
    """Adaptive symmetric score normalisation of the cosine.

    Matějka et al. 2017, *Analysis of Score Normalization in Multilingual Speaker Recognition*,
    AS-norm1: a score is standardised by the scores of each of its two clips against the ``top``
    cohort entries nearest to that clip, and the two results are averaged.

    Attributes
    ----------
    cohort
        Unit vectors, shape (entries, dim); two at least.
    top
        Entries to keep for each clip, all where there are fewer.
    """

    cohort: Vectors
    top: int = TOP

    @classmethod
    def fit(cls, vectors: Vectors, speakers: NDArray[np.str_], top: int = TOP) -> "AsNorm":
        """Take the mean vector of every training speaker as an entry.

        Parameters
        ----------
        vectors, speakers
            Shapes (cells, dim) and (cells,).
        """
        numbers = np.unique(speakers, return_inverse=True)[1]
        sums = np.zeros((numbers.max() + 1, vectors.shape[1]))
        np.add.at(sums, numbers, vectors)
        return cls(unit(sums), top)

    def __call__(self, vectors: Vectors, pairs: Pairs) -> NDArray[np.float32]:
        clips, numbers = np.unique(pairs, return_inverse=True)
        mean, deviation = self._nearest(vectors[clips])
        scores = cosine(vectors, pairs)
        either = ((scores - mean[side]) / deviation[side] for side in numbers.reshape(-1, 2).T)
        return np.asarray(sum(either) / 2, np.float32)

    def _nearest(self, vectors: Vectors) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation of each clip's highest cohort scores, shape (clips,) each."""
        top = min(self.top, len(self.cohort))
        moments = np.empty((2, len(vectors)), np.float32)
        for start in range(0, len(vectors), CHUNK):
            scores = vectors[start : start + CHUNK] @ self.cohort.T
            best = np.partition(scores, -top, axis=1)[:, -top:]
            moments[:, start : start + CHUNK] = best.mean(axis=1), best.std(axis=1)
        return moments[0], np.maximum(moments[1], 1e-6)


@dataclass(frozen=True)
class Plda:
    """Probabilistic LDA: the log-likelihood ratio of one speaker against two.

    The two-covariance model (Brümmer & de Villiers 2010): a speaker is a Gaussian draw, a clip
    another around it. In the directions that whiten the latter and diagonalise the former (Ioffe
    2006) the ratio is a sum over directions, and its only term of both clips an inner product.

    Attributes
    ----------
    directions
        LDA of the training cells; unit variance within speakers.
    """

    directions: LinearMap

    @classmethod
    def fit(cls, vectors: Vectors, speakers: NDArray[np.str_]) -> "Plda":
        """Estimate both covariances from training cells.

        Parameters
        ----------
        vectors, speakers
            Shapes (cells, dim) and (cells,): two speakers at least, several cells each.

        Raises
        ------
        IntervoxError
            There is one speaker only.
        """
        labels = np.unique(speakers, return_inverse=True)[1]
        return cls(fit_lda(vectors, labels, vectors.shape[1], PLDA_SHRINKAGE))

    def __call__(self, vectors: Vectors, pairs: Pairs) -> NDArray[np.float32]:
        # Variance between the speakers, where that within them is 1.
        between = self.directions.reliability / (1 - self.directions.reliability)
        points = vectors @ self.directions.weight.T + self.directions.bias
        joint = 2 * between + 1
        own = -0.5 * points**2 @ (between**2 / ((between + 1) * joint))
        common = np.sum(np.log(between + 1) - 0.5 * np.log(joint))
        products = cosine(np.asarray(points * np.sqrt(between / joint), np.float32), pairs)
        return np.asarray(products + own[pairs].sum(axis=1) + common, np.float32)
