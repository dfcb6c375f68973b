"""What is compared, as one interface: our subspaces, the raw layers, and whatever else embeds a clip."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import orth, subspace_angles
from sklearn.decomposition import PCA

from intervox.errors import IntervoxError
from intervox.evaluation.findings import PrincipalAngles
from intervox.evaluation.test_sets import FeatureTable, Means, TestSet, View
from intervox.features.store import Features, Frames
from intervox.metrics.vectors import Vectors, unit
from intervox.model.model import SubspaceModel
from intervox.seeds import rng

BACKBONE = "backbone"
"""The encoder whose layers our subspaces read: the model's own."""

FROZEN = "frozen"
"""The foundation model, whose layers the raw rows and the baselines read; it may be the same one."""

MAX_DIM = 256
MAX_CELLS = 4_000
"""Cells that the principal components are fitted on."""

Embed = Callable[[Means], Vectors]

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

    def embed(name: str, *features: Any) -> Vectors:
        return model.project(*features)[name]

    frames = {name: model.subspace(name).map.reads_frames for name in model.subspaces}
    return [Representation(name, partial(embed, name), frames=frames[name]) for name in model.subspaces]


def embed_rows(model: SubspaceModel, features: Features, rows: NDArray[np.integer]) -> dict[str, Vectors]:
    """Embed some clips of features in every subspace, in bounded memory: unit vectors (rows, dim).

    Raises
    ------
    IntervoxError
        A map reads frames, and the features were kept without.
    """
    parts, places = [], []
    for place, given in _read(features, rows, model.reads_frames):
        places.append(place)
        parts.append(model.project(*given))
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

    def at(layer: int, means: Means) -> Vectors:
        return np.asarray(means[:, layer])

    every = [Representation(f"raw.{layer}", partial(at, layer), FROZEN, True) for layer in range(layers)]
    return [*every, Representation("raw.mean", lambda means: np.asarray(means.mean(axis=1)), FROZEN, True)]


def linear_spaces(model: SubspaceModel) -> list[str]:
    """Name the subspaces whose map is linear, with or without a matrix of its own."""
    return [name for name in model.subspaces if model.subspace(name).map.is_linear]


def subspace_basis(model: SubspaceModel, *names: str) -> NDArray[np.float64]:
    """Return an orthonormal basis of what linear subspaces read, in all standardised layers.

    Parameters
    ----------
    names
        One subspace, or several for their span.

    Returns
    -------
    ndarray
        Shape (layers · dim, rank). A subspace is blind to whatever is orthogonal to it.

    Raises
    ------
    IntervoxError
        A map is not linear.
    """
    return np.asarray(orth(np.concatenate([_reading(model, name) for name in names]).T))


def raw_space(model: SubspaceModel, training: Means) -> Embed:
    """All standardised layers, reduced to ``MAX_DIM`` principal components of the training cells.

    Parameters
    ----------
    training
        Layer means (cells, layers, dim) of training cells; ``MAX_CELLS`` of them are used.
    """
    return _reduced(model, training, np.zeros((model.mean.numel(), 0)))


def rejected(model: SubspaceModel, names: Sequence[str], training: Means) -> Embed:
    """All standardised layers with the named subspaces projected out, reduced like ``raw_space``.

    With every subspace named this is the residual. A factor can still be read from it where other
    directions are correlated with those that were taken out.
    """
    return _reduced(model, training, subspace_basis(model, *names))


def projected(model: SubspaceModel, name: str) -> Embed:
    """All standardised layers projected onto one subspace: what it reads, unweighted."""
    basis = subspace_basis(model, name).astype(np.float32)
    return lambda means: unit(_flat(model, means) @ basis)


def _reading(model: SubspaceModel, name: str) -> NDArray[np.float64]:
    """Weight (subspace dim, layers · dim) of a linear subspace on all standardised layers."""
    transform = model.subspace(name).map
    if not transform.is_linear:
        raise IntervoxError(
            f"subspace {name!r} has an {transform.title} map: only a linear one can be projected out"
        )
    return np.asarray(model.maps()[name].detach().double().numpy())


def standardised(model: SubspaceModel, means: Means) -> Means:
    """Standardise layer means (clips, layers, dim) as the model does, in NumPy."""
    with torch.inference_mode():
        return np.asarray(model.standardise(torch.from_numpy(means)).numpy())


def _flat(model: SubspaceModel, means: Means) -> Vectors:
    return standardised(model, means).reshape(len(means), -1)


def _reduced(model: SubspaceModel, training: Means, removed: NDArray[np.float64]) -> Embed:
    basis = removed.astype(np.float32)

    def rest(means: Means) -> Vectors:
        inputs = _flat(model, means)
        return np.asarray(inputs - (inputs @ basis) @ basis.T)

    kept = np.linspace(0, len(training) - 1, min(MAX_CELLS, len(training))).astype(int)
    cells = rest(training[kept])
    components = min(MAX_DIM, *cells.shape)
    fitted = PCA(components, svd_solver="randomized", iterated_power=4, random_state=0).fit(cells)
    return lambda means: unit(fitted.transform(rest(means)))


def frame_embeddings(model: SubspaceModel, frames: Sequence[Frames]) -> dict[str, list[Vectors]]:
    """Embed every frame in every subspace.

    For a linear map the mean of the frames' embeddings, before they are scaled to unit length, is
    the embedding of the clip. A map that pools frames gets each as a clip of its own.

    Parameters
    ----------
    frames
        One array (frames, layers, dim) per clip, from ``extract_frames``, of the model's own backbone.

    Returns
    -------
    dict
        Subspace to one array of unit vectors (frames, dim) per clip.
    """
    by_clip = [model.project(clip.astype(np.float32)) for clip in frames]
    return {space: [found[space] for found in by_clip] for space in model.subspaces}


def raw_frame_embeddings(
    model: SubspaceModel, frames: Sequence[Frames]
) -> Iterator[tuple[str, list[Vectors]]]:
    """Scale every frame of every layer as a model of that backbone standardises it, to unit length.

    Yields
    ------
    str, list
        ``raw.<layer>``, and one array of unit vectors (frames, dim) per clip; a layer at a time, because
        all of them are many times the subspaces.
    """
    for layer in range(frames[0].shape[1]):
        clips = (standardised(model, clip.astype(np.float32))[:, layer] for clip in frames)
        yield f"raw.{layer}", [unit(clip) for clip in clips]


def principal_angles(model: SubspaceModel, seed: int) -> dict[str, PrincipalAngles]:
    """Measure the angles between what every two linear subspaces read.

    In the coordinates of all standardised layers (Björck & Golub 1973). Subspaces that read
    different layers are at right angles by construction; and since the data are correlated, right
    angles are no independence.

    Parameters
    ----------
    seed
        Of the random subspaces of the same ranks that the angles are compared with.

    Returns
    -------
    dict
        ``<first>-<second>`` to angles, without the subspaces whose map is not linear.
    """
    random = rng(seed, "geometry.halves")
    result = {}
    for first, second in combinations(linear_spaces(model), 2):
        bases = [subspace_basis(model, name) for name in (first, second)]
        angles = np.rad2deg(subspace_angles(*bases))
        by_chance = np.rad2deg(subspace_angles(*(random.normal(size=basis.shape) for basis in bases)))
        result[f"{first}-{second}"] = PrincipalAngles(
            mean=round(float(angles.mean()), 3),
            min=round(float(angles.min()), 3),
            random_mean=round(float(by_chance.mean()), 3),
            random_min=round(float(by_chance.min()), 3),
        )
    return result
