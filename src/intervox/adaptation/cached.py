"""The exact gradient of a large batch in the memory of a small one."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Vectors = dict[str, Tensor]
"""Subspace to unit vectors, shape (clips, dim)."""


def cached_step(
    encode: Callable[[Sequence[int]], Vectors],
    batches: Sequence[Sequence[int]],
    loss: Callable[[Vectors], Tensor],
) -> Tensor:
    """Evaluate a loss that couples all clips and add its gradients to every parameter's ``grad``.

    A contrastive loss compares each clip with every other, so the losses of micro-batches are not
    parts of it. GradCache (Gao et al. 2021, "Scaling deep contrastive learning batch size under memory
    limited setup"): the vectors of all clips without a graph; the loss and its gradient with regard to
    them; then each micro-batch once more with a graph, through which its vectors' gradient flows back.
    The graph in memory is never larger than a micro-batch's.

    Parameters
    ----------
    encode
        From numbers of clips to their vectors, differentiable; the same each time, dropout included.
    batches
        The micro-batches, which hold each number from 0 on once, in any order.
    loss
        From the vectors of all clips, in the order of their numbers, to a scalar; called once.

    Returns
    -------
    Tensor
        The loss, without a graph.
    """
    with torch.no_grad():
        parts = [encode(batch) for batch in batches]
    vectors = {space: torch.cat([part[space] for part in parts]) for space in parts[0]}
    for whole in vectors.values():
        whole.requires_grad_()
        whole.grad = torch.zeros_like(whole)
    order = torch.argsort(torch.tensor([number for batch in batches for number in batch]))
    value = loss({space: whole[order.to(whole.device)] for space, whole in vectors.items()})
    torch.autograd.backward(value)
    sizes = [len(batch) for batch in batches]
    gradients = {space: torch.split(_gradient(whole), sizes) for space, whole in vectors.items()}
    for index, batch in enumerate(batches):
        again = encode(batch)
        torch.autograd.backward(
            [again[space] for space in gradients], [gradient[index] for gradient in gradients.values()]
        )
    return value.detach()


def _gradient(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None
    return leaf.grad
