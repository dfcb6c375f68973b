"""Arrays that measures pass around: features of clips, and vectors of unit length."""

import numpy as np
import torch
from numpy.typing import NDArray

from intervox.model.model import SubspaceModel

Means = NDArray[np.float32]
"""Features of clips, shape (clips, layers, dim)."""

Vectors = NDArray[np.float32]
"""Shape (clips, dim); rows of unit length, so that an inner product is a cosine."""


def unit(vectors: NDArray[np.floating]) -> Vectors:
    """Scale rows to length one; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-9), np.float32)


def standardised(model: SubspaceModel, means: Means) -> Means:
    """Standardise layer means (clips, layers, dim) as the model does, in NumPy."""
    with torch.inference_mode():
        return np.asarray(model.standardise(torch.from_numpy(means)).numpy())
