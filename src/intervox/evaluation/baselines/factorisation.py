"""A factorisation of the crossed blocks into codes of one factor and what the other adds."""

import numpy as np

from intervox.evaluation.baselines.base import Affine, Task, group_means, numbered, within
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
