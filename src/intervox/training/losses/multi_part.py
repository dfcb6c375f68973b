"""The multi-part loss as training uses it: the sum of its parts, with what they keep between steps."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import torch
from torch import Tensor, nn

from intervox.errors import IntervoxError
from intervox.recipe.training import LossSettings, SubspaceSettings
from intervox.training.losses.adversary import Adversary
from intervox.training.losses.invariance import invariance
from intervox.training.losses.memory import Queue
from intervox.training.losses.multi_positive import multi_positive_loss
from intervox.training.losses.orthogonality import coupling, orthogonality
from intervox.training.losses.uniformity import uniformity
from intervox.training.losses.variance import variance

CONDITION = "condition"


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
    wanted = {s.factor for s in subspaces.values()}
    if settings.within is not None:
        wanted.add(settings.within)
    if settings.invariance:
        wanted.add(CONDITION)
    return wanted


class MultiPart(nn.Module):
    """One multi-positive contrastive loss a space, and parts that keep the spaces apart and full.

    ``L = sum_a weight_a L_a + sum_p weight_p L_p`` (Cox & Barker 2026 have the contrastive losses and
    an orthogonality part, whose form is ours). In a fully crossed block every positive of one space is
    a hard negative of another: two cells of one speaker and two texts attract in the speaker space and
    repel in the content space. Neither factor can serve as a shortcut to the other.

    A part of weight 0 is not computed. A part of pairs of spaces, or of single spaces, is the mean
    over them. Adversaries' heads are parameters, to be trained with the model's, and the queue is
    buffers, so a ``state_dict`` holds all that a resumed run needs.

    Parameters
    ----------
    subspaces
        Name to its settings.
    settings
        The parts' weights and all else that subspaces share.

    Raises
    ------
    IntervoxError
        A part has a weight and too few subspaces to act on.

    Examples
    --------
    >>> from torch.nn.functional import normalize
    >>> subspaces = {name: SubspaceSettings(factor=name, dim=8) for name in ("speaker", "content")}
    >>> loss = MultiPart(subspaces, LossSettings())
    >>> vectors = {name: normalize(torch.randn(6, 8), dim=1) for name in subspaces}
    >>> labels = {"speaker": torch.tensor([0, 0, 0, 1, 1, 1]), "content": torch.tensor([0, 1, 2, 0, 1, 2])}
    >>> sorted(loss(vectors, labels, {"speaker": 0.2, "content": 0.2}, {}).parts)
    ['content', 'cross_covariance', 'speaker']
    """

    def __init__(self, subspaces: Mapping[str, SubspaceSettings], settings: LossSettings) -> None:
        super().__init__()
        self._subspaces, self._settings = dict(subspaces), settings
        _refuse_idle(subspaces, settings)
        self._columns = columns(subspaces, settings)
        self.adversary = (
            Adversary(subspaces, settings.denominator, settings.chunk) if settings.adversary else None
        )
        self.queue = (
            Queue({n: s.dim for n, s in subspaces.items()}, self._columns, settings.queue)
            if settings.queue
            else None
        )

    def forward(
        self,
        vectors: Mapping[str, Tensor],
        labels: Mapping[str, Tensor],
        temperatures: Mapping[str, Tensor | float],
        maps: Mapping[str, Tensor],
    ) -> MultiPartLoss:
        """Compute the loss of a batch, in fp32 under mixed precision (fp64 for fp64 vectors).

        While training, the batch joins the queue afterwards.

        Parameters
        ----------
        vectors
            Space name to unit vectors of shape (cells, dim); dims may differ.
        labels
            Column to integers of shape (cells,), ``UNLABELLED`` where the value is unknown; all of
            ``columns``.
        temperatures
            Space name to a number or a scalar tensor, which gets its gradient.
        maps
            Space name to its linear map of shape (dim, inputs), where it has one.
        """
        device = next(iter(vectors.values())).device.type
        with torch.autocast(device, enabled=False):
            precise = {n: v if v.dtype == torch.float64 else v.float() for n, v in vectors.items()}
            contrasts = self._contrasts(precise, labels, temperatures)
            parts = {name: loss for name, (loss, _) in contrasts.items()}
            weights = {name: self._subspaces[name].weight for name in parts}
            for name, part in self._further(precise, labels, maps).items():
                parts[name], weights[name] = part, getattr(self._settings, name)
            total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
        if self.queue is not None and self.training:
            self.queue.add(precise, labels)
        return MultiPartLoss(total, parts, {name: dropped for name, (_, dropped) in contrasts.items()})

    def _contrasts(
        self,
        vectors: Mapping[str, Tensor],
        labels: Mapping[str, Tensor],
        temperatures: Mapping[str, Tensor | float],
    ) -> dict[str, tuple[Tensor, int]]:
        """Return each weighed space's contrastive loss and count of dropped anchors."""
        shared = self._settings
        factors = {s.factor for s in self._subspaces.values()}
        if self.queue is not None:
            labels = {c: torch.cat([labels[c], self.queue.labels(c)]) for c in self._columns}
        return {
            name: multi_positive_loss(
                vectors[name],
                labels[own.factor],
                temperatures[name],
                shared.denominator,
                margin=own.margin,
                others=[labels[other] for other in sorted(factors - {own.factor})],
                hard_negatives=shared.hard_negatives,
                within=None if shared.within is None else labels[shared.within],
                memory=None if self.queue is None else self.queue.vectors(name).to(vectors[name]),
                chunk=shared.chunk,
            )
            for name, own in self._subspaces.items()
            if own.weight
        }

    def _further(
        self, vectors: Mapping[str, Tensor], labels: Mapping[str, Tensor], maps: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the other parts that the settings weigh; a new one is one line and one setting."""
        spaces, chunk = list(vectors.values()), self._settings.chunk
        parts: dict[str, Callable[[], Tensor]] = {
            "cross_covariance": lambda: _mean(coupling(a, b) for a, b in combinations(spaces, 2)),
            "orthogonality": lambda: _mean(orthogonality(a, b) for a, b in combinations(maps.values(), 2)),
            "uniformity": lambda: _mean(uniformity(space, chunk) for space in spaces),
            "variance": lambda: _mean(variance(space) for space in spaces),
            "invariance": lambda: self._invariance(vectors, labels),
        }
        if self.adversary is not None:
            parts["adversary"] = partial(self.adversary, vectors, labels)
        if len(spaces) < 2:
            del parts["cross_covariance"]
        return {name: part() for name, part in parts.items() if getattr(self._settings, name)}

    def _invariance(self, vectors: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> Tensor:
        held = {name: s.factor for name, s in self._subspaces.items() if s.factor != CONDITION}
        factors = [labels[factor] for factor in sorted(set(held.values()))]
        return _mean(invariance(vectors[name], labels[CONDITION], factors) for name in held)


def _mean(values: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean()


def _refuse_idle(subspaces: Mapping[str, SubspaceSettings], settings: LossSettings) -> None:
    """Refuse settings that could do nothing; the cross-covariance, on by default, just stays out."""
    factors = {s.factor for s in subspaces.values()}
    if not any(s.weight for s in subspaces.values()):
        raise IntervoxError("every subspace has weight 0: give at least one a weight above 0")
    if settings.orthogonality and sum(s.map != "mlp" for s in subspaces.values()) < 2:
        raise IntervoxError(
            "loss.orthogonality needs two subspaces whose map is not mlp: set it to 0 or change a map"
        )
    if settings.adversary and len(factors) < 2:
        raise IntervoxError("loss.adversary needs subspaces of two factors: set it to 0 or add one")
    if settings.invariance and factors == {CONDITION}:
        raise IntervoxError(
            "loss.invariance needs a subspace of another factor than condition: set it to 0 or add one"
        )
