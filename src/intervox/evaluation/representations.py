"""What is compared, as one interface: our subspaces, the raw layers; baselines and peers give the same."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from intervox.subspaces.model import SubspaceModel

Means = NDArray[np.float32]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Representation:
    """A way from layer means to unit vectors.

    Attributes
    ----------
    name
        ``speaker``, ``content``, ``raw.<layer>``, ``raw.mean``, ``<baseline>.<subspace>`` or
        ``<peer>.speaker``.
    embed
        Maps (clips, layers, dim) to unit vectors (clips, any dim).
    """

    name: str
    embed: Callable[[Means], Vectors]


def subspace_representations(model: SubspaceModel) -> list[Representation]:
    """Each trained subspace."""
    return [Representation(name, _projector(model, name)) for name in model.subspaces]


def raw_representations(layers: int) -> list[Representation]:
    """Each layer and the mean over layers, centred on the evaluated clips themselves.

    Centring on the test clips flatters the raw layers, which have no training data to centre on.
    """
    every = [Representation(f"raw.{layer}", _layer(layer)) for layer in range(layers)]
    return [*every, Representation("raw.mean", lambda means: _centred(means.mean(axis=1)))]


def unit(vectors: NDArray[np.floating]) -> Vectors:
    """Scale rows to length one; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-9), np.float32)


def standardised(model: SubspaceModel, means: Means) -> Means:
    """Standardise layer means (clips, layers, dim) as the model does, in NumPy."""
    with torch.inference_mode():
        return np.asarray(model.standardise(torch.from_numpy(means)).numpy())


def _projector(model: SubspaceModel, name: str) -> Callable[[Means], Vectors]:
    def embed(means: Means) -> Vectors:
        return model.project(means)[name]

    return embed


def _layer(layer: int) -> Callable[[Means], Vectors]:
    return lambda means: _centred(means[:, layer])


def _centred(vectors: NDArray[np.floating]) -> Vectors:
    return unit(np.asarray(vectors - vectors.mean(axis=0)))
