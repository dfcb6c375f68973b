"""Baselines without labels: what the layers and the number of dimensions give alone."""

import numpy as np

from intervox.evaluation.baselines.base import Affine, Task, principal_components


def random_projection(task: Task) -> Affine:
    """Project on seeded Gaussian directions, which keep distances (Johnson & Lindenstrauss 1984)."""
    width = task.inputs.shape[1]
    random = np.random.default_rng([task.seed, 10])
    weight = random.normal(size=(min(task.dim, width), width)).astype(np.float32) / np.sqrt(task.dim)
    return Affine(weight, -weight @ task.inputs.mean(axis=0))


def pca(task: Task) -> Affine:
    """Project on the directions of most variance."""
    return principal_components(task.inputs, task.dim)


def whitening(task: Task) -> Affine:
    """Scale those directions to unit variance, so that a cosine counts them alike."""
    return principal_components(task.inputs, task.dim, whiten=True)
