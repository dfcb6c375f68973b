"""Spread over the sphere."""

import torch
from torch import Tensor

from intervox.training.losses.chunked import chunked

SHARPNESS = 2.0


def uniformity(vectors: Tensor, chunk: int = 2048) -> Tensor:
    """Measure how unevenly a space fills its sphere.

    ``log mean exp(-2 ||z_i - z_j||²)`` over pairs of cells (Wang & Isola 2020, L_uniform with their t = 2):
    zero where all cells are one point, about -4 where a wide sphere is filled evenly. Unlike the
    contrastive loss it needs no label: it spreads cells that no factor's label tells apart.

    Parameters
    ----------
    vectors
        Unit vectors, shape (cells, dim).
    chunk
        Cells that are compared with all others at a time.

    Returns
    -------
    Tensor
        Scalar in [-8, 0]; zero for fewer than two cells.
    """
    count = len(vectors)
    if count < 2:
        return vectors.sum() * 0.0
    # ||z_i - z_j||² is 2 - 2 cosines.
    scale = vectors.new_tensor(2 * SHARPNESS)
    everyone = torch.arange(count, device=vectors.device)
    pairs = chunked(_closeness, vectors, everyone, scale, scale, chunk)
    return torch.log(pairs / (count * (count - 1)))


def _closeness(logits: Tensor, anchors: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Sum the exponentials, which are their own derivatives; a ``chunked.Rows``."""
    logits.sub_(offset).exp_()
    logits[torch.arange(len(anchors), device=anchors.device), anchors] = 0
    return logits.sum(), -logits.sum()
