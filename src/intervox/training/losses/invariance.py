"""The same voice and words through another channel."""

from collections.abc import Sequence

import torch
from torch import Tensor

from intervox.clips.labels import UNLABELLED


def invariance(vectors: Tensor, condition: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """Measure how far do(condition) moves a cell.

    The mean of ``||z_i - z_j||²`` over all pairs of cells that are alike in every one of ``factors``
    and differ in their condition. L_align of Wang & Isola 2020 with their alpha = 2, whose positive pairs are
    made here by an intervention, which is stricter than a positive of the contrastive loss: nothing
    but the channel differs. Computed from sums over groups of cells, so linear in the cells.

    Parameters
    ----------
    vectors
        Unit vectors, shape (cells, dim), of a space that is not the condition's.
    condition
        Labels of shape (cells,).
    factors
        Labels of every other factor, each of shape (cells,). Cells with any label ``UNLABELLED`` take
        no part.

    Returns
    -------
    Tensor
        Scalar in [0, 4]; zero with a zero gradient where there is no such pair.
    """
    labels = torch.stack([*factors, condition], dim=1)
    known = (labels != UNLABELLED).all(dim=1)
    vectors, labels = vectors[known], labels[known]
    alike, alike_pairs = _within_groups(vectors, labels[:, :-1])
    same, same_pairs = _within_groups(vectors, labels)
    # Unit vectors: ||z_i - z_j||² is 2 - 2 cosines.
    return 2 * (alike_pairs - same_pairs - (alike - same)) / (alike_pairs - same_pairs).clamp_min(1)


def _within_groups(vectors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Sum the cosines of all ordered pairs of cells with one row of labels, and count them."""
    _, group, sizes = torch.unique(labels, dim=0, return_inverse=True, return_counts=True)
    sums = vectors.new_zeros(len(sizes), vectors.shape[1]).index_add(0, group, vectors)
    return sums.square().sum(), sizes.square().sum()
