"""The raw space with subspaces taken out of it, or nothing but them: linear maps only.

All standardised layers side by side, (layers · dim) coordinates, are the space in which every
linear subspace lies, whatever its layers are and however it combines them. An MLP or an attentive
map has no such subspace, so nothing here exists for it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import orth
from sklearn.decomposition import PCA

from intervox.errors import IntervoxError
from intervox.evaluation.vectors import Means, Vectors, unit
from intervox.subspaces.model import SubspaceModel

MAX_DIM = 256
MAX_CELLS = 4_000
"""Cells that the principal components are fitted on."""

Embed = Callable[[Means], Vectors]


def linear_spaces(model: SubspaceModel) -> list[str]:
    """Name the subspaces whose map is linear, with or without a matrix of its own."""
    return [name for name in model.subspaces if model.subspace(name).map.is_linear]


def subspace_basis(model: SubspaceModel, *names: str) -> NDArray[np.float64]:
    """Return an orthonormal basis of what linear subspaces read, in all standardised layers.

    Parameters
    ----------
    names
        One subspace, or several for their span.

    Returns
    -------
    ndarray
        Shape (layers · dim, rank). A subspace is blind to whatever is orthogonal to it.

    Raises
    ------
    IntervoxError
        A map is not linear.
    """
    return np.asarray(orth(np.concatenate([_reading(model, name) for name in names]).T))


def raw_space(model: SubspaceModel, training: Means) -> Embed:
    """All standardised layers, reduced to ``MAX_DIM`` principal components of the training cells.

    Parameters
    ----------
    training
        Layer means (cells, layers, dim) of training cells; ``MAX_CELLS`` of them are used.
    """
    return _reduced(model, training, np.zeros((model.mean.numel(), 0)))


def rejected(model: SubspaceModel, names: Sequence[str], training: Means) -> Embed:
    """All standardised layers with the named subspaces projected out, reduced like ``raw_space``.

    With every subspace named this is the residual. A factor can still be read from it where other
    directions are correlated with those that were taken out.
    """
    return _reduced(model, training, subspace_basis(model, *names))


def projected(model: SubspaceModel, name: str) -> Embed:
    """All standardised layers projected onto one subspace: what it reads, unweighted."""
    basis = subspace_basis(model, name).astype(np.float32)
    return lambda means: unit(_flat(model, means) @ basis)


def _reading(model: SubspaceModel, name: str) -> NDArray[np.float64]:
    """Weight (subspace dim, layers · dim) of a linear subspace on all standardised layers."""
    transform = model.subspace(name).map
    if not transform.is_linear:
        raise IntervoxError(
            f"subspace {name!r} has an {transform.title} map: only a linear one can be projected out"
        )
    return np.asarray(model.maps()[name].detach().double().numpy())


def _flat(model: SubspaceModel, means: Means) -> Vectors:
    with torch.inference_mode():
        return np.asarray(model.standardise(torch.from_numpy(means)).flatten(1).numpy())


def _reduced(model: SubspaceModel, training: Means, removed: NDArray[np.float64]) -> Embed:
    basis = removed.astype(np.float32)

    def rest(means: Means) -> Vectors:
        inputs = _flat(model, means)
        return np.asarray(inputs - (inputs @ basis) @ basis.T)

    kept = np.linspace(0, len(training) - 1, min(MAX_CELLS, len(training))).astype(int)
    cells = rest(training[kept])
    components = min(MAX_DIM, *cells.shape)
    fitted = PCA(components, svd_solver="randomized", iterated_power=4, random_state=0).fit(cells)
    return lambda means: unit(fitted.transform(rest(means)))
