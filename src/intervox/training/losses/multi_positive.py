"""The contrastive loss of one space: an anchor's positives against its negatives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from intervox.clips.labels import UNLABELLED
from intervox.training.losses.chunked import chunked

Denominator = Literal["all", "negatives"]


def multi_positive_loss(
    vectors: Tensor,
    labels: Tensor,
    temperature: Tensor | float,
    denominator: Denominator = "negatives",
    *,
    margin: float = 0.0,
    others: Sequence[Tensor] = (),
    hard_negatives: float = 0.0,
    within: Tensor | None = None,
    memory: Tensor | None = None,
    chunk: int = 2048,
) -> tuple[Tensor, int]:
    """Contrast every anchor's positives with the other cells.

    With the logits ``p = (cosine - margin) / temperature`` of positives P and
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
        Integers, shape (cells + more,), those of ``memory`` behind. ``UNLABELLED`` cells are neither
        anchors, positives nor negatives.
    temperature
        Divides the cosine; > 0. A tensor gets its gradient.
    denominator
        ``all`` or ``negatives``.
    margin
        Additive margin on the cosine of a positive (AM-softmax, Wang et al. 2018): positives
        must be nearer than negatives by this much. In [0, 1).
    others
        Labels of the other factors, each of shape (cells + more,).
    hard_negatives
        Added to the logit of a negative that has the anchor's label in any of ``others``. Such a
        negative (another speaker's rendition of the same sentence) is what the space must not take
        for a positive; ``hard_negatives`` says it as exp(hard_negatives) of them would. As in the
        re-weighting of Robinson et al. 2021, but hard by design, not by nearness.
    within
        Labels of shape (cells + more,); negatives are then only cells with the anchor's label here,
        and an anchor that is ``UNLABELLED`` here has none. With ``engine``, telling two engines apart
        earns nothing.
    memory
        Unit vectors of earlier cells, shape (more, dim): positives and negatives without a gradient
        (cross-batch memory, Wang et al. 2020).
    chunk
        Anchors at a time; bounds memory and changes nothing else.

    Returns
    -------
    loss, dropped
        Scalar, the mean over anchors with positives: zero with a zero gradient where there is none;
        and the count of labelled anchors without a positive.
    """
    known = labels != UNLABELLED
    cells = vectors[known[: len(vectors)]]
    memory = None if memory is None else memory[known[len(vectors) :]]
    labels = labels[known]
    _, label_numbers, sizes = torch.unique(labels, return_inverse=True, return_counts=True)
    positives = sizes[label_numbers] - 1
    anchors = torch.nonzero(positives[: len(cells)]).squeeze(1)
    contrast = _Contrast(
        labels,
        positives,
        denominator,
        [other[known] for other in others] if hard_negatives else [],
        hard_negatives,
        None if within is None else within[known],
    )
    scale = 1 / torch.as_tensor(temperature, dtype=cells.dtype, device=cells.device)
    total = chunked(contrast, cells, anchors, scale, margin * scale, chunk, memory)
    return total / max(1, len(anchors)), len(cells) - len(anchors)


@dataclass(frozen=True)
class _Contrast:
    """The loss of a chunk of anchors; a ``chunked.Rows``. All fields are of the keys."""

    labels: Tensor
    positives: Tensor
    denominator: Denominator
    others: Sequence[Tensor]
    hard_negatives: float
    within: Tensor | None

    def __call__(self, logits: Tensor, anchors: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        positive, negative = self._masks(anchors)
        # Positives are few: from here on they are one list.
        flat = logits.view(-1)
        place = torch.nonzero(positive.view(-1)).squeeze(1)
        row = place // logits.shape[1]
        wanted = flat[place] - offset
        share = 1 / self.positives[anchors][row].to(logits.dtype)
        if self.others:
            hard = self._shares_another(anchors)
            logits.add_(hard.to(logits.dtype), alpha=self.hard_negatives)
        if self.denominator == "all":
            flat[place] = wanted
            negative |= positive
        logits.masked_fill_(~negative, float("-inf"))
        # An anchor that has nothing to be compared with gets log D = -inf, and zeros from there on.
        highest = logits.amax(dim=1, keepdim=True).clamp_min(torch.finfo(logits.dtype).min)
        sums = logits.sub_(highest).exp_().sum(dim=1, keepdim=True)
        excess = (highest + sums.log()).squeeze(1)[row] - wanted
        if self.denominator == "all":
            loss, pull = excess, share
        else:
            loss, pull = softplus(excess), torch.sigmoid(excess) * share
        # The derivative: the pull of an anchor's positives, and as much push shared by softmax.
        push = torch.zeros_like(sums).index_add_(0, row, pull[:, None])
        logits.mul_(push / sums.clamp_min(torch.finfo(logits.dtype).tiny))
        flat.index_add_(0, place, -pull)
        return torch.sum(loss * share), -flat[place].sum()

    def _masks(self, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """Mark the positives and the negatives of the anchors, each (anchors, keys)."""
        positive = self.labels[anchors, None] == self.labels
        negative = ~positive
        positive[torch.arange(len(anchors), device=anchors.device), anchors] = False
        if self.within is not None:
            own = self.within[anchors, None]
            negative &= (own == self.within) & (own != UNLABELLED)
        return positive, negative

    def _shares_another(self, anchors: Tensor) -> Tensor:
        """Mark the keys that share any other factor with the anchors, (anchors, keys)."""
        shared = torch.zeros(len(anchors), len(self.labels), dtype=torch.bool, device=anchors.device)
        for other in self.others:
            own = other[anchors, None]
            shared |= (own == other) & (own != UNLABELLED)
        return shared
