"""Baselines that take the other factors away, and then keep the directions of most variance.

They differ from ``pca`` by what they remove alone: the own factor's labels are never used.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from intervox.errors import missing_extra
from intervox.evaluation.baselines.base import Affine, Inputs, Task, principal_components
from intervox.subspaces.losses import UNLABELLED

_COLLAPSED_VARIANCE = 0.95
"""Share of the variance between class means whose directions are taken away (Liu et al. 2023)."""

_CHUNK = 4096


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
    return _without_others(task, _leace_eraser)


def collapse(task: Task) -> Affine:
    """Project out the directions in which the means of the other factors' classes vary.

    Subspace collapse (Liu, Tang & Goldwater 2023): ``x - V Vᵀ (x - mean)`` with V the principal
    directions of the class means that hold 95 % of their variance.
    """
    return _without_others(task, _collapser)


def _without_others(task: Task, fit: Callable[[Inputs, NDArray[np.int64]], Affine]) -> Affine:
    """Remove one factor after the other: what is uncorrelated with a factor stays so under later maps."""
    width = task.inputs.shape[1]
    removed = Affine(np.eye(width, dtype=np.float32), np.zeros(width, np.float32))
    for labels in task.others:
        known = labels != UNLABELLED
        removed = removed.then(fit(removed(task.inputs[known]), labels[known]))
    return removed.then(principal_components(removed(task.inputs), task.dim))


def _leace_eraser(inputs: Inputs, labels: NDArray[np.int64]) -> Affine:
    try:
        from concept_erasure import LeaceFitter
    except ImportError:
        raise missing_extra("concept-erasure", "baselines", "the baseline leace") from None
    classes, numbers = np.unique(labels, return_inverse=True)
    fitter = LeaceFitter(inputs.shape[1], len(classes), dtype=torch.float64)
    one_hot = torch.eye(len(classes))
    for start in range(0, len(inputs), _CHUNK):
        part = slice(start, start + _CHUNK)
        fitter.update(torch.from_numpy(inputs[part]), one_hot[numbers[part]])
    eraser = fitter.eraser
    kept = eraser.P.numpy()
    mean = eraser.bias.numpy()
    return Affine(kept, mean - kept @ mean)


def _collapser(inputs: Inputs, labels: NDArray[np.int64]) -> Affine:
    numbers = np.unique(labels, return_inverse=True)[1]
    sums = np.zeros((numbers.max() + 1, inputs.shape[1]), np.float64)
    np.add.at(sums, numbers, inputs)
    means = sums / np.bincount(numbers)[:, None]
    directions = PCA(_COLLAPSED_VARIANCE, svd_solver="full").fit(means).components_
    centre = inputs.mean(axis=0)
    return Affine(np.eye(len(centre)) - directions.T @ directions, directions.T @ (directions @ centre))
