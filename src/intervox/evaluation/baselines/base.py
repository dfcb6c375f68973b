"""What every closed-form baseline takes and gives."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

Inputs = NDArray[np.float32]


@dataclass(frozen=True)
class Affine:
    """``x @ weight.T + bias``; shapes (out, width) and (out,)."""

    weight: NDArray[np.floating]
    bias: NDArray[np.floating]

    def __call__(self, inputs: Inputs) -> Inputs:
        """Map (cells, width) to (cells, out)."""
        return inputs @ self.weight.T.astype(np.float32) + self.bias.astype(np.float32)

    def then(self, after: "Affine") -> "Affine":
        """Return this map and then the other, as one."""
        return Affine(after.weight @ self.weight, after.weight @ self.bias + after.bias)


@dataclass(frozen=True)
class Task:
    """What the trained subspace beside a baseline gets, and nothing else.

    Attributes
    ----------
    inputs
        Shape (cells, width): standardised means of the subspace's layers, combined as its map sees
        them before training.
    blocks
        Shape (cells,).
    labels
        Shape (cells,): the subspace's own factor, ``UNLABELLED`` where it is unknown.
    others
        One array like ``labels`` for each factor of the other subspaces.
    dim
        Of the subspace.
    shrinkage
        Of the subspace: the share of a covariance that is replaced by its mean variance.
    seed
        Of the recipe.
    """

    inputs: Inputs
    blocks: NDArray[np.int64]
    labels: NDArray[np.int64]
    others: tuple[NDArray[np.int64], ...]
    dim: int
    shrinkage: float
    seed: int


@dataclass(frozen=True)
class Baseline:
    """A closed-form way from a task to a map.

    Attributes
    ----------
    about
        One clause: what it does.
    fit
        Gives at most ``task.dim`` directions, fewer where the data has not more.
    """

    about: str
    fit: Callable[[Task], Affine]


def principal_components(inputs: Inputs, dim: int, whiten: bool = False) -> Affine:
    """Fit PCA; with ``whiten`` every direction gets unit variance over the inputs."""
    pca = PCA(min(dim, *inputs.shape), svd_solver="covariance_eigh").fit(inputs)
    scale = 1 / np.sqrt(np.maximum(pca.explained_variance_, 1e-12)) if whiten else 1.0
    weight = (pca.components_.T * scale).T
    return Affine(weight, -weight @ pca.mean_)


def numbered(*labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the combinations of values from 0; shape (cells,)."""
    return np.asarray(np.unique(np.stack(labels, axis=1), axis=0, return_inverse=True)[1], np.int64)


def group_means(inputs: NDArray[np.floating], groups: NDArray[np.int64]) -> Inputs:
    """Average the rows of each of the groups, numbered from 0: shape (groups, width)."""
    sums = np.zeros((groups.max() + 1, inputs.shape[1]), np.float64)
    np.add.at(sums, groups, inputs)
    return np.asarray(sums / np.bincount(groups)[:, None], np.float32)


def within(inputs: Inputs, groups: NDArray[np.int64]) -> Inputs:
    """Take each group's mean off its rows."""
    return np.asarray(inputs - group_means(inputs, groups)[groups])
