"""The multi-part loss as training uses it: a contrast a space, and the parts that the recipe weighs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from intervox.errors import IntervoxError
from intervox.recipe.training import LossSettings, SubspaceSettings
from intervox.training.losses.adversary import Adversary
from intervox.training.losses.coupling import CrossCovariance
from intervox.training.losses.multi_positive import multi_positive_loss
from intervox.training.losses.orthogonality import Orthogonality

PARTS: dict[str, Callable[[Mapping[str, SubspaceSettings], LossSettings], nn.Module]] = {
    "adversary": Adversary,
    "cross_covariance": CrossCovariance,
    "orthogonality": Orthogonality,
}
"""The parts beside the contrasts, by the field of ``LossSettings`` that weighs them.

A part is a module that is made of the subspaces and the settings. Its ``forward`` takes
``vectors`` (space name to unit vectors) and ``labels`` (factor to integers), and gives a scalar.
"""


@dataclass(frozen=True)
class MultiPartLoss:
    """The loss and what it is made of.

    Attributes
    ----------
    total
        Scalar, differentiable: what training minimises.
    parts
        Space name to its contrastive loss, and beside them each further part that the settings weigh,
        by the name of its setting; all unweighted.
    dropped
        Space name to the count of labelled anchors that had no positive.
    """

    total: Tensor
    parts: dict[str, Tensor]
    dropped: dict[str, int]


def columns(subspaces: Mapping[str, SubspaceSettings], settings: LossSettings) -> set[str]:
    """Name the plan's columns whose labels ``MultiPart`` needs."""
    factors = {s.factor for s in subspaces.values()}
    return factors if settings.within is None else factors | {settings.within}


class MultiPart(nn.Module):
    """One multi-positive contrastive loss a space, and parts that keep the spaces apart.

    ``L = sum_a weight_a L_a + sum_p weight_p L_p`` (Cox & Barker 2026 have the contrastive losses with
    ``denominator: all`` and the part ``orthogonality``, all of weight 1). In a fully crossed block every
    positive of one space is a hard negative of another: two cells of one speaker and two texts attract in
    the speaker space and repel in the content space. Neither factor can serve as a shortcut to the other.

    A part of weight 0 is not computed. What a part learns, such as an adversary's heads, is among the
    parameters, to be trained with the model's.

    Parameters
    ----------
    subspaces
        Name to its settings.
    settings
        The parts' weights and all else that subspaces share.

    Raises
    ------
    IntervoxError
        No subspace has a weight, or a part has one and too few subspaces to act on.

    Examples
    --------
    >>> from torch.nn.functional import normalize
    >>> subspaces = {name: SubspaceSettings(factor=name, dim=8) for name in ("speaker", "content")}
    >>> loss = MultiPart(subspaces, LossSettings())
    >>> vectors = {name: normalize(torch.randn(6, 8), dim=1) for name in subspaces}
    >>> labels = {"speaker": torch.tensor([0, 0, 0, 1, 1, 1]), "content": torch.tensor([0, 1, 2, 0, 1, 2])}
    >>> sorted(loss(vectors, labels).parts)
    ['content', 'cross_covariance', 'speaker']
    """

    def __init__(self, subspaces: Mapping[str, SubspaceSettings], settings: LossSettings) -> None:
        super().__init__()
        self._subspaces, self._settings = dict(subspaces), settings
        if not any(s.weight for s in subspaces.values()):
            raise IntervoxError("every subspace has weight 0: give at least one a weight above 0")
        weighed = [name for name in PARTS if getattr(settings, name)]
        if len(subspaces) == 1 and "cross_covariance" in weighed:
            # It is on by default, so one space without another to covary with is no mistake.
            weighed.remove("cross_covariance")
        self.parts = nn.ModuleDict({name: PARTS[name](subspaces, settings) for name in weighed})

    def forward(self, vectors: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> MultiPartLoss:
        """Compute the loss of a batch.

        Parameters
        ----------
        vectors
            Space name to unit vectors of shape (cells, dim), fp32 or fp64; dims may differ.
        labels
            Column to integers of shape (cells,), ``UNLABELLED`` where the value is unknown; all of
            ``columns``.
        """
        parts, dropped, weights = {}, {}, {}
        for name, own in self._subspaces.items():
            if own.weight:
                parts[name], dropped[name] = self._contrast(own, vectors[name], labels)
                weights[name] = own.weight
        for name, part in self.parts.items():
            parts[name], weights[name] = part(vectors, labels), getattr(self._settings, name)
        total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        return MultiPartLoss(total, parts, dropped)

    def _contrast(
        self, own: SubspaceSettings, vectors: Tensor, labels: Mapping[str, Tensor]
    ) -> tuple[Tensor, int]:
        shared = self._settings
        return multi_positive_loss(
            vectors,
            labels[own.factor],
            own.temperature,
            shared.denominator,
            others=[labels[s.factor] for s in self._subspaces.values() if s.factor != own.factor],
            hard_negatives=shared.hard_negatives,
            within=None if shared.within is None else labels[shared.within],
            chunk=shared.chunk,
        )
