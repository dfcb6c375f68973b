"""What is compared, as one interface: our subspaces, the raw layers, and whatever else embeds a clip."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from intervox.evaluation.test_sets import TestSet, View
from intervox.evaluation.vectors import Means, Vectors, unit
from intervox.subspaces.model import SubspaceModel

BACKBONE = "backbone"
"""The encoder whose layers our subspaces, the raw layers and the baselines read."""

_CHUNK = 4096
"""Clips whose features are in memory at a time."""


@dataclass(frozen=True)
class Representation:
    """A way from features to unit vectors.

    Attributes
    ----------
    name
        ``<space>`` for a subspace, ``<system>.<space>`` for others, such as ``raw.3`` or
        ``lda.speaker``.
    embed
        Maps features (clips, layers, dim) to vectors (clips, any dim).
    encoder
        Whose features it reads.
    centred
        Whether the mean of the evaluated clips is taken away, for what has no training data to
        take it from. It flatters.
    """

    name: str
    embed: Callable[[Means], Vectors]
    encoder: str = BACKBONE
    centred: bool = False

    @property
    def system(self) -> str:
        """What the space is one of; empty for our own."""
        return self.name.rpartition(".")[0]

    @property
    def space(self) -> str:
        """The name within its system."""
        return self.name.rpartition(".")[2]

    def vectors(self, test_set: TestSet, condition: str) -> Vectors:
        """Embed a test set's clips under a condition: unit vectors, shape (view, dim).

        Features are read a few thousand clips at a time.
        """
        return self.joint([test_set.views[condition]])[0]

    def joint(self, views: Sequence[View]) -> list[Vectors]:
        """Embed several views in one space, with one centre: unit vectors (view, dim) of each."""
        parts = [self._chunked(view) for view in views]
        if self.centred:
            centre = np.concatenate(parts).mean(axis=0)
            parts = [part - centre for part in parts]
        return [unit(part) for part in parts]

    def _chunked(self, view: View) -> Vectors:
        table = view.features[self.encoder]
        starts = range(0, len(view.stored), _CHUNK)
        return np.concatenate([self.embed(table.rows(view.stored[i : i + _CHUNK])) for i in starts])


def subspace_representations(model: SubspaceModel) -> list[Representation]:
    """Each trained subspace."""
    return [Representation(name, _projector(model, name)) for name in model.subspaces]


def raw_representations(layers: int) -> list[Representation]:
    """Each layer, and the mean over layers."""
    every = [Representation(f"raw.{layer}", _layer(layer), centred=True) for layer in range(layers)]
    return [*every, Representation("raw.mean", lambda means: np.asarray(means.mean(axis=1)), centred=True)]


def _projector(model: SubspaceModel, name: str) -> Callable[[Means], Vectors]:
    return lambda means: model.project(means)[name]


def _layer(layer: int) -> Callable[[Means], Vectors]:
    return lambda means: np.asarray(means[:, layer])
