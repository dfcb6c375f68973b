"""The baseline that counts: the closed form on the same synthetic labels."""

from intervox.evaluation.baselines.base import Affine, Task
from intervox.subspaces.lda import fit_lda
from intervox.subspaces.losses import UNLABELLED


def lda(task: Task) -> Affine:
    """Fit plain LDA; training starts from the same map, shrunk by reliability."""
    known = task.labels != UNLABELLED
    linear = fit_lda(task.inputs[known], task.labels[known], task.dim, task.shrinkage)
    return Affine(linear.weight, linear.bias)
