"""Which of many vectors are of one voice, where nobody is enrolled: agglomerative clustering."""

import numpy as np
from numpy.typing import NDArray

from intervox.metrics.vectors import Vectors, unit

MOST = 1500
"""Vectors that are clustered as they are; of more, neighbours are averaged first."""

_NEVER = -2.0
"""Below every cosine."""


def cluster(vectors: Vectors, least: float, large: int, number: int | None = None) -> NDArray[np.int64]:
    """Merge vectors by the mean cosine between their clusters (average linkage).

    Parameters
    ----------
    vectors
        Unit vectors, shape (vectors, dim), in the order of time.
    least
        Minimum mean cosine for two clusters to be one voice.
    large
        Vectors that a cluster must have to count as a voice.
    number
        How many voices there are, instead of ``least``.

    Returns
    -------
    ndarray
        Shape (vectors,): the cluster of each, from 0; -1 for those in none that counts. Where no cluster is
        large enough, the largest counts.
    """
    size = -(-len(vectors) // MOST)
    starts = np.arange(0, len(vectors), size)
    together = unit(np.add.reduceat(vectors, starts, axis=0))
    labels = np.repeat(_merged(together, least, max(1, large // size), number), size)[: len(vectors)]
    values, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:number]
    voices = values[order][counts[order] >= min(large, counts.max())].tolist()
    return np.array([voices.index(label) if label in voices else -1 for label in labels.tolist()])


def _merged(vectors: Vectors, least: float, large: int, number: int | None) -> NDArray[np.int64]:
    """Return the cluster of each vector: at a cosine, or at the last step with so many large clusters."""
    sums, counts = vectors.astype(np.float64), np.ones(len(vectors))
    labels = np.arange(len(vectors))
    cosines = (vectors @ vectors.T).astype(np.float32)
    np.fill_diagonal(cosines, _NEVER)
    found, most = labels.copy(), 1
    for _ in range(len(vectors) - 1):
        first, second = sorted(divmod(int(cosines.argmax()), len(vectors)))
        if number is None and cosines[first, second] < least:
            break
        labels[labels == second] = first
        sums[first] += sums[second]
        counts[first] += counts[second]
        counts[second] = 0
        # Of unit vectors the mean cosine between two clusters is the product of their means.
        means = sums @ sums[first] / np.maximum(counts * counts[first], 1)
        means[(counts == 0) | (np.arange(len(counts)) == first)] = _NEVER
        cosines[first], cosines[:, first] = means, means
        cosines[second], cosines[:, second] = _NEVER, _NEVER
        if number is None:
            found = labels.copy()
        elif (voices := min(number, int((counts >= large).sum()))) >= most:
            most, found = voices, labels.copy()
    return found
