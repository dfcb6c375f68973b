"""The multi-part, multi-positive contrastive loss.

In a fully crossed block every positive of one space is a hard negative of another: two cells of one
speaker and two texts attract in the speaker space and repel in the content space. Neither factor can
serve as a shortcut to the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor

UNLABELLED = -1
"""Label of a cell whose value of a factor is unknown; it takes no part in that factor's loss."""


@dataclass(frozen=True)
class MultiPartLoss:
    """The loss and what it is made of.

    Attributes
    ----------
    total
        Scalar, differentiable: what training minimises.
    parts
        Space name to its contrastive loss, unweighted; ``"cross_covariance"`` beside them.
    dropped
        Space name to the count of labelled anchors that had no positive.
    """

    total: Tensor
    parts: dict[str, Tensor]
    dropped: dict[str, int]


def multi_part_loss(
    spaces: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    temperatures: Mapping[str, float],
    weights: Mapping[str, float],
    cross_covariance: float = 1.0,
    denominator: Literal["all", "negatives"] = "negatives",
) -> MultiPartLoss:
    """Sum one multi-positive contrastive loss a space and the coupling between spaces.

    ``L = sum_a weight_a L_a + cross_covariance * L_orth`` (Cox & Barker 2026; the coupling's form is
    ours). A pure function: no state, no randomness.

    Parameters
    ----------
    spaces
        Name to unit vectors of shape (cells, dim); dims may differ.
    labels
        Name to integers of shape (cells,): the value of the space's factor, ``UNLABELLED`` where it
        is unknown.
    temperatures, weights
        One number a space.
    cross_covariance
        Weight of ``coupling``, averaged over pairs of spaces.
    denominator
        See ``multi_positive_loss``.

    Returns
    -------
    MultiPartLoss
    """
    parts: dict[str, Tensor] = {}
    dropped: dict[str, int] = {}
    total = next(iter(spaces.values())).new_zeros((), dtype=torch.float32)
    for name, vectors in spaces.items():
        parts[name], dropped[name] = multi_positive_loss(
            vectors, labels[name], temperatures[name], denominator
        )
        total = total + weights[name] * parts[name]
    pairs = list(combinations(spaces.values(), 2))
    if pairs and cross_covariance:
        parts["cross_covariance"] = torch.stack([coupling(a, b) for a, b in pairs]).mean()
        total = total + cross_covariance * parts["cross_covariance"]
    return MultiPartLoss(total, parts, dropped)


def multi_positive_loss(
    vectors: Tensor,
    labels: Tensor,
    temperature: float,
    denominator: Literal["all", "negatives"] = "negatives",
) -> tuple[Tensor, int]:
    """Contrast every anchor's positives with the rest of the batch.

    ``all`` is SupCon's L_out (Khosla et al. 2020, eq. 2): the denominator holds every other cell, so
    positives also repel each other. ``negatives`` is SINCERE (Feeney & Hughes 2023): the
    denominator of a positive holds that positive and the negatives alone.

    Parameters
    ----------
    vectors
        Unit vectors, shape (cells, dim).
    labels
        Integers, shape (cells,); ``UNLABELLED`` cells are neither anchors, positives nor negatives.
    temperature
        Divides the cosine; > 0.
    denominator
        ``all`` or ``negatives``.

    Returns
    -------
    loss, dropped
        Scalar in fp32 (fp64 for fp64 input), zero with a zero gradient where no anchor has a
        positive; and the count of labelled anchors without one.
    """
    known = labels != UNLABELLED
    labels, vectors = labels[known], vectors[known]
    precise = vectors if vectors.dtype == torch.float64 else vectors.float()
    with torch.autocast(vectors.device.type, enabled=False):
        logits = precise @ precise.T / temperature
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    alike = labels[:, None] == labels[None, :]
    positive = alike & ~itself
    if denominator == "all":
        log_total = torch.logsumexp(logits.masked_fill(itself, float("-inf")), dim=1, keepdim=True)
    else:
        log_negatives = torch.logsumexp(logits.masked_fill(alike, float("-inf")), 1, keepdim=True)
        log_total = torch.logaddexp(logits, log_negatives)
    counts = positive.sum(dim=1)
    anchors = counts > 0
    # Selecting before dividing keeps -inf rows (an anchor alone in the batch) out of the graph.
    terms = torch.where(positive, log_total - logits, logits.new_zeros(()))
    losses = terms.sum(dim=1)[anchors] / counts[anchors]
    dropped = int((~anchors).sum())
    return (losses.mean() if len(losses) else precise.sum() * 0.0), dropped


def coupling(first: Tensor, second: Tensor) -> Tensor:
    """Measure the linear dependence of two spaces over a batch, in [0, 1].

    ``||C_ab||² / (||C_aa|| ||C_bb||)`` with Frobenius norms of the (cross-)covariances: the RV
    coefficient (Escoufier 1973), the cross-covariance penalty made independent of scale and of both
    dims. Zero means uncorrelated, which is less than independent.

    Parameters
    ----------
    first, second
        Shapes (cells, d1) and (cells, d2).
    """
    a = first if first.dtype == torch.float64 else first.float()
    b = second.to(a.dtype)
    a, b = a - a.mean(dim=0), b - b.mean(dim=0)
    cross = (a.T @ b).square().sum()
    scale = (a.T @ a).square().sum().sqrt() * (b.T @ b).square().sum().sqrt()
    return cross / scale.clamp_min(torch.finfo(a.dtype).tiny)
