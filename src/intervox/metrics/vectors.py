"""Vectors of clips, whose inner product is a cosine."""

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Shape (clips, dim); rows of unit length, so that an inner product is a cosine."""

PAIRS_AT_ONCE = 4_096
"""Two such chunks of vectors stay in a core's cache."""


def unit(vectors: NDArray[np.floating]) -> Vectors:
    """Scale rows to length one; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-9), np.float32)


def cosine(vectors: Vectors, pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    """Score pairs (trials, 2) of unit vectors in bounded memory: shape (trials,), in [-1, 1]."""
    scores = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        part = pairs[start : start + PAIRS_AT_ONCE]
        scores[start : start + PAIRS_AT_ONCE] = np.einsum(
            "td,td->t", vectors[part[:, 0]], vectors[part[:, 1]]
        )
    return scores
