"""Closed-form baselines: ways from a ``Task`` to a map of at most ``dim`` directions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from intervox.clips.labels import UNLABELLED
from intervox.errors import missing_extra
from intervox.model.closed_form import fit_lda
from intervox.seeds import rng

Inputs = NDArray[np.float32]
Matrix = NDArray[np.float32]
"""Shape (width, width)."""

_COLLAPSED_VARIANCE = 0.95
"""Share of the variance between class means whose directions are taken away (Liu et al. 2023)."""

_CHUNK = 4096


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


class Baseline(NamedTuple):
    """One clause that says what a baseline does, and its way from a task to a map."""

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


def random_projection(task: Task) -> Affine:
    """Project on seeded Gaussian directions, which keep distances (Johnson & Lindenstrauss 1984)."""
    width = task.inputs.shape[1]
    random = rng(task.seed, "baseline.random")
    weight = random.normal(size=(min(task.dim, width), width)).astype(np.float32) / np.sqrt(task.dim)
    return Affine(weight, -weight @ task.inputs.mean(axis=0))


def pca(task: Task) -> Affine:
    """Project on the directions of most variance."""
    return principal_components(task.inputs, task.dim)


def whitening(task: Task) -> Affine:
    """Scale those directions to unit variance, so that a cosine counts them alike."""
    return principal_components(task.inputs, task.dim, whiten=True)


def lda(task: Task) -> Affine:
    """Fit plain LDA; training starts from the same map, shrunk by reliability."""
    known = task.labels != UNLABELLED
    linear = fit_lda(task.inputs[known], task.labels[known], task.dim, task.shrinkage)
    return Affine(linear.weight, linear.bias)


def leace(task: Task) -> Affine:
    """Erase the other factors so that no linear classifier finds them in the training cells.

    LEACE (Belrose et al. 2023, theorem 4.3): ``x - W⁺ P W (x - mean)`` with the whitening W and the
    projection P on the whitened cross-covariance with the classes; the least change in squared
    error that makes the cross-covariance zero. From the package of its authors, with its defaults.

    Raises
    ------
    IntervoxError
        The extra ``baselines`` is not installed.
    """
    return _without_others(task, _leace_projection)


def collapse(task: Task) -> Affine:
    """Project out the directions in which the means of the other factors' classes vary.

    Subspace collapse (Liu, Tang & Goldwater 2023): ``x - V Vᵀ (x - mean)`` with V the principal
    directions of the class means that hold 95 % of their variance.
    """
    return _without_others(task, _collapse_projection)


def _without_others(task: Task, fit: Callable[[Inputs, NDArray[np.int64]], Matrix]) -> Affine:
    """Remove one factor after the other; what has no mean left in a factor gets none by a later map.

    Fitted on differences within blocks: a text is said by the speakers of its block alone, so its
    class mean over all cells carries theirs, and removing it would remove them.
    """
    width = task.inputs.shape[1]
    kept = np.eye(width, dtype=np.float32)
    differences = within(task.inputs, numbered(task.blocks))
    for labels in task.others:
        known = labels != UNLABELLED
        kept = fit(differences[known] @ kept.T, numbered(labels[known])) @ kept
    mean = task.inputs.mean(axis=0)
    removed = Affine(kept, mean - kept @ mean)
    return removed.then(principal_components(removed(task.inputs), task.dim))


def _leace_projection(inputs: Inputs, numbers: NDArray[np.int64]) -> Matrix:
    try:
        from concept_erasure import LeaceFitter
    except ImportError:
        raise missing_extra("concept-erasure", "baselines", "the baseline leace") from None
    one_hot = torch.eye(int(numbers.max()) + 1)
    fitter = LeaceFitter(inputs.shape[1], len(one_hot), dtype=torch.float64)
    for start in range(0, len(inputs), _CHUNK):
        part = slice(start, start + _CHUNK)
        fitter.update(torch.from_numpy(inputs[part]), one_hot[numbers[part]])
    return np.asarray(fitter.eraser.P.numpy(), np.float32)


def _collapse_projection(inputs: Inputs, numbers: NDArray[np.int64]) -> Matrix:
    means = group_means(inputs, numbers)
    directions = PCA(_COLLAPSED_VARIANCE, svd_solver="full").fit(means).components_
    return np.asarray(np.eye(inputs.shape[1]) - directions.T @ directions, np.float32)


def svd(task: Task) -> Affine:
    """Regress on the codes that a truncated SVD of the crossed blocks shares over the other factor.

    LinearVC (Kamper et al. 2025) stacks parallel speech as contents × (speakers · dims) and keeps
    the left singular vectors: content codes, which each speaker's own map turns into features.
    Three things are adapted. A clip's mean stands for its frames. A speaker's own map is reduced to
    an offset: each block's cells are freed of the mean of those that share the other factors, and
    averaged over them. And as nobody has a map for an unknown speaker, one ridge regression leads
    from features to codes for all, the step of Universal Speech Content Factorization (2026). For
    the speaker space the two factors change places.
    """
    known = task.labels != UNLABELLED
    inputs, block = task.inputs[known], numbered(task.blocks[known])
    shared = numbered(block, *(labels[known] for labels in task.others))
    row = numbered(block, task.labels[known])
    left, singular, _ = np.linalg.svd(group_means(within(inputs, shared), row), full_matrices=False)
    rank = min(task.dim, int((singular > 1e-6 * singular[0]).sum()))
    codes = (left[:, :rank] * singular[:rank])[row]
    # Codes are differences within a block, so they are read off differences within a block.
    differences = within(inputs, block)
    covariance = differences.T @ differences / len(inputs)
    size = len(covariance)
    ridge = task.shrinkage * np.trace(covariance) / size
    regularised = (1 - task.shrinkage) * covariance + ridge * np.eye(size)
    weight = np.linalg.solve(regularised, differences.T @ codes / len(inputs)).T
    return Affine(weight, -weight @ inputs.mean(axis=0))
