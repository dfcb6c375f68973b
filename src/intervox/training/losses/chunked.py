"""Functions of all pairs of cells, with their exact gradient, in the memory of a few rows of pairs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Rows = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""A loss of some anchors' pairs: ``rows(logits, anchors, offset)`` with logits (anchors, keys).

It returns the sum of their losses and that sum's derivative by ``offset``, and overwrites ``logits``
with its derivative by each of them.
"""


def chunked(
    rows: Rows,
    vectors: Tensor,
    anchors: Tensor,
    scale: Tensor,
    offset: Tensor,
    chunk: int,
    memory: Tensor | None = None,
) -> Tensor:
    """Sum a loss over anchors, ``chunk`` of them at a time.

    The logits of a chunk, ``scale * vectors[anchors] @ keys.T``, are made, turned into their own
    derivative in place and folded into the gradient before the next chunk's are: nothing of the size
    (cells, cells) ever exists, and one buffer of (chunk, keys) serves them all. The result and its
    gradient do not depend on ``chunk``. (The same end as GradCache, Gao et al. 2021, which bounds the
    memory of the encoder; here it is the pairs that are many, and the derivative has a closed form.)

    Parameters
    ----------
    rows
        The loss of a chunk; see ``Rows``.
    vectors
        Shape (cells, dim).
    anchors
        Shape (anchors,): indices into ``vectors``, without repetition.
    scale, offset
        Scalars of the dtype of ``vectors``; may need a gradient.
    chunk
        Anchors at a time; at least 1.
    memory
        Shape (more, dim): keys behind ``vectors`` that get no gradient.

    Returns
    -------
    Tensor
        Scalar; differentiable once, by ``vectors``, ``scale`` and ``offset``.
    """
    total: Tensor = _Chunked.apply(vectors, scale, offset, anchors, memory, rows, chunk)  # type: ignore[no-untyped-call]
    return total


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        vectors: Tensor,
        scale: Tensor,
        offset: Tensor,
        anchors: Tensor,
        memory: Tensor | None,
        rows: Rows,
        chunk: int,
    ) -> Tensor:
        keys = vectors if memory is None else torch.cat([vectors, memory])
        buffer = vectors.new_empty(min(chunk, len(anchors)), len(keys))
        total, by_scale, by_offset = (vectors.new_zeros(()) for _ in range(3))
        by_vectors = torch.zeros_like(vectors)
        for first in range(0, len(anchors), chunk):
            some = anchors[first : first + chunk]
            chosen = vectors[some]
            logits = torch.mm(chosen * scale, keys.T, out=buffer[: len(some)])
            loss, loss_by_offset = rows(logits, some, offset)
            slopes = logits
            total += loss
            by_offset += loss_by_offset
            pull = slopes @ keys
            # A logit is scale times a cosine, so its share of d/d scale is slope times cosine.
            by_scale += torch.sum(pull * chosen)
            by_vectors.index_add_(0, some, pull)
            by_vectors.addmm_(slopes[:, : len(vectors)].T, chosen)
        ctx.save_for_backward(by_vectors.mul_(scale), by_scale, by_offset)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return *(gradient * saved for saved in ctx.saved_tensors), None, None, None, None
