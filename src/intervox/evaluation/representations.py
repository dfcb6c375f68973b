"""What is compared, as one interface: our subspaces, the raw layers, and whatever else embeds a clip."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intervox.evaluation.test_sets import FeatureTable, TestSet, View
from intervox.evaluation.vectors import Means, Vectors, unit
from intervox.features.store import Features
from intervox.subspaces.model import SubspaceModel

BACKBONE = "backbone"
"""The encoder whose layers our subspaces, the raw layers and the baselines read."""

_CHUNK = 4096
"""Clips whose means are in memory at a time."""


@dataclass(frozen=True)
class Representation:
    """A way from features to unit vectors.

    Attributes
    ----------
    name
        ``<space>`` for a subspace, ``<system>.<space>`` for others, such as ``raw.3`` or
        ``lda.speaker``.
    embed
        Maps means (clips, layers, dim), or frames (clips, time, layers, dim) and their mask (clips,
        time), to vectors (clips, any dim).
    encoder
        Whose features it reads.
    centred
        Whether the mean of the evaluated clips is taken away, for what has no training data to
        take it from. It flatters.
    frames
        Whether ``embed`` takes frames.
    """

    name: str
    embed: Callable[..., Vectors]
    encoder: str = BACKBONE
    centred: bool = False
    frames: bool = False

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
        parts, places = [], []
        for place, features in _read(view.features[self.encoder], view.stored, self.frames):
            places.append(place)
            parts.append(self.embed(*features))
        return _put_back(parts, places)


def subspace_representations(model: SubspaceModel) -> list[Representation]:
    """Each trained subspace."""
    return [_subspace(model, name) for name in model.subspaces]


def embed_rows(model: SubspaceModel, features: Features, rows: NDArray[np.integer]) -> dict[str, Vectors]:
    """Embed some clips of features in every subspace, in bounded memory: unit vectors (rows, dim).

    Raises
    ------
    IntervoxError
        A map reads frames, and the features were kept without.
    """
    project = model.project_frames if model.reads_frames else model.project
    parts, places = [], []
    for place, given in _read(features, rows, model.reads_frames):
        places.append(place)
        parts.append(project(*given))
    return {name: _put_back([part[name] for part in parts], places) for name in model.subspaces}


def _read(
    table: FeatureTable, rows: NDArray[np.integer], frames: bool
) -> Iterator[tuple[NDArray[np.int64], tuple[NDArray[Any], ...]]]:
    """Yield which of the rows come, and their means, or their frames and mask."""
    if frames:
        assert isinstance(table, Features), "only features in a folder have frames"
        for place in table.batches(rows):
            yield place, table.states(rows[place])
    else:
        for start in range(0, len(rows), _CHUNK):
            place = np.arange(start, min(start + _CHUNK, len(rows)))
            yield place, (table.rows(rows[place]),)


def _put_back(parts: Sequence[Vectors], places: Sequence[NDArray[np.int64]]) -> Vectors:
    """Join parts that came in another order."""
    return np.concatenate(parts)[np.argsort(np.concatenate(places))]


def raw_representations(layers: int) -> list[Representation]:
    """Each layer, and the mean over layers."""
    every = [Representation(f"raw.{layer}", _layer(layer), centred=True) for layer in range(layers)]
    return [*every, Representation("raw.mean", lambda means: np.asarray(means.mean(axis=1)), centred=True)]


def _subspace(model: SubspaceModel, name: str) -> Representation:
    if model.subspace(name).map.reads_frames:
        return Representation(
            name, lambda states, mask: model.project_frames(states, mask)[name], frames=True
        )
    return Representation(name, lambda means: model.project(means)[name])


def _layer(layer: int) -> Callable[[Means], Vectors]:
    return lambda means: np.asarray(means[:, layer])
