"""The contrastive loss of one space: an anchor's positives against its negatives."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.utils.checkpoint import checkpoint

from intervox.clips.labels import UNLABELLED

Denominator = Literal["all", "negatives"]


def multi_positive_loss(
    vectors: Tensor,
    labels: Tensor,
    temperature: float,
    denominator: Denominator = "negatives",
    *,
    others: Sequence[Tensor] = (),
    hard_negatives: float = 0.0,
    within: Tensor | None = None,
    chunk: int = 2048,
) -> tuple[Tensor, int]:
    """Contrast every anchor's positives with the other cells.

    With the logits ``p = cosine / temperature`` of positives P and
    ``n = cosine / temperature (+ hard_negatives)`` of negatives N, an anchor's loss is the mean over
    its positives of ``log D_p - p``:

    - ``all``: D = sum of exp over P and N. SupCon's L_out (Khosla et al. 2020, eq. 2): positives also
      repel each other.
    - ``negatives``: D_p = exp(p) + sum of exp over N. SINCERE (Feeney & Hughes 2023): the
      denominator of a positive holds that positive and the negatives alone.

    Parameters
    ----------
    vectors
        Unit vectors, shape (cells, dim), fp32 or fp64; all is computed in their dtype.
    labels
        Integers, shape (cells,). ``UNLABELLED`` cells are neither anchors, positives nor negatives.
    temperature
        Divides the cosine; > 0.
    denominator
        ``all`` or ``negatives``.
    others
        Labels of the other factors, each of shape (cells,).
    hard_negatives
        Added to the logit of a negative that has the anchor's label in any of ``others``. Such a
        negative (another speaker's rendition of the same sentence) is what the space must not take
        for a positive; it then counts as exp(hard_negatives) of them. As in the re-weighting of
        Robinson et al. 2021, but hard by design, not by nearness.
    within
        Labels of shape (cells,); negatives are then only cells with the anchor's label here, and an
        anchor that is ``UNLABELLED`` here has none. With ``engine``, telling two engines apart earns
        nothing.
    chunk
        Anchors at a time. More cells than this are compared in chunks that are computed again for
        their gradient, which bounds memory and changes nothing else.

    Returns
    -------
    loss, dropped
        Scalar, the mean over anchors with positives: zero with a zero gradient where there is none;
        and the count of labelled anchors without a positive.
    """
    known = labels != UNLABELLED
    vectors, labels = vectors[known], labels[known]
    others = [other[known] for other in others] if hard_negatives else []
    within = None if within is None else within[known]
    _, number, sizes = torch.unique(labels, return_inverse=True, return_counts=True)
    anchors = torch.nonzero(sizes[number] > 1).squeeze(1)

    def losses_of(some: Tensor, vectors: Tensor) -> Tensor:
        """Sum the losses of some anchors."""
        logits = vectors[some] @ vectors.T / temperature
        positive, negative = _pairs(some, labels, within)
        if others:
            hard = _shared(some, others) & ~positive
            logits = logits + hard_negatives * hard.to(logits.dtype)
        # Positives are few: from here on they are one list.
        anchor, _ = positives = torch.nonzero(positive, as_tuple=True)
        wanted = logits[positives]
        compared = negative | positive if denominator == "all" else negative
        # -inf where an anchor has no negatives: exp(p) is then all of its denominator.
        total = torch.logsumexp(logits.masked_fill(~compared, float("-inf")), dim=1)[anchor]
        losses = total - wanted if denominator == "all" else softplus(total - wanted)
        return (losses / positive.sum(dim=1)[anchor]).sum()

    if len(anchors) <= chunk:
        total = losses_of(anchors, vectors)
    else:
        parts = [
            checkpoint(losses_of, some, vectors, use_reentrant=False) for some in torch.split(anchors, chunk)
        ]
        total = torch.stack(parts).sum()
    return total / max(1, len(anchors)), len(vectors) - len(anchors)


def _pairs(some: Tensor, labels: Tensor, within: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mark the positives and the negatives of some anchors, each (anchors, cells)."""
    positive = labels[some, None] == labels
    negative = ~positive
    positive[torch.arange(len(some), device=some.device), some] = False
    if within is not None:
        own = within[some, None]
        negative &= (own == within) & (own != UNLABELLED)
    return positive, negative


def _shared(some: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Mark the cells that share any other factor with some anchors, (anchors, cells)."""
    owns = [other[some, None] for other in others]
    shared = [(own == other) & (own != UNLABELLED) for own, other in zip(owns, others, strict=True)]
    return torch.stack(shared).any(dim=0)
