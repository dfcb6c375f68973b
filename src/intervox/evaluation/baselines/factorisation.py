"""A factorisation of the crossed blocks into codes of one factor and what the other adds."""

import numpy as np

from intervox.evaluation.baselines.base import Affine, Task
from intervox.subspaces.losses import UNLABELLED


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
    inputs, blocks = task.inputs[known], task.blocks[known]
    others = [labels[known] for labels in task.others]
    offsets = _numbers(blocks, *others)
    rows = _numbers(blocks, task.labels[known])
    means = _means(inputs - _means(inputs, offsets)[offsets], rows)
    left, singular, _ = np.linalg.svd(means, full_matrices=False)
    rank = min(task.dim, int((singular > 1e-6 * singular[0]).sum()))
    codes = (left[:, :rank] * singular[:rank])[rows]
    # Codes are differences within a block, so they are read off differences within a block.
    within = inputs - _means(inputs, block := _numbers(blocks))[block]
    covariance = within.T @ within / len(within)
    size = len(covariance)
    ridge = task.shrinkage * np.trace(covariance) / size
    regularised = (1 - task.shrinkage) * covariance + ridge * np.eye(size)
    weight = np.linalg.solve(regularised, within.T @ codes / len(within)).T
    return Affine(weight, -weight @ inputs.mean(axis=0))


def _numbers(*labels: np.ndarray) -> np.ndarray:
    return np.unique(np.stack(labels, axis=1), axis=0, return_inverse=True)[1]


def _means(inputs: np.ndarray, groups: np.ndarray) -> np.ndarray:
    sums = np.zeros((groups.max() + 1, inputs.shape[1]), np.float32)
    np.add.at(sums, groups, inputs)
    return sums / np.bincount(groups)[:, None].astype(np.float32)
