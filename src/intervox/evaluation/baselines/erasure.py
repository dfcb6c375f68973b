"""Baselines that take the other factors away, and then keep the directions of most variance.

They differ from ``pca`` by what they remove alone: the own factor's labels are never used.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from intervox.errors import missing_extra
from intervox.evaluation.baselines.base import (
    Affine,
    Inputs,
    Task,
    group_means,
    numbered,
    principal_components,
    within,
)
from intervox.subspaces.losses import UNLABELLED

Matrix = NDArray[np.float32]
"""Shape (width, width)."""

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
