"""What the subspaces hold, to look at: t-SNE maps of some clips, and shaded separation matrices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from intervox.clips.labels import Clips, Labels
from intervox.evaluation.findings import ProbedFactor
from intervox.evaluation.results import Metrics
from intervox.metrics.vectors import Vectors
from intervox.seeds import rng

MAP_CLIPS = 400
MAP_CLASSES = 10
MAP_SIZE = 300
"""Width and height of a map in units of its SVG."""

Role = Literal["own", "leak", "plain"]

SHADES = 20
"""Of a matrix, from chance to perfect."""


@dataclass(frozen=True)
class Dot:
    """A clip on a map: where, which colour, and what its title says."""

    x: float
    y: float
    colour: int
    title: str


@dataclass(frozen=True)
class Map:
    """One subspace, coloured by one factor."""

    space: str
    factor: str
    dots: list[Dot]


def subspace_maps(clips: Clips, vectors: Mapping[str, Vectors], factors: list[str]) -> list[Map]:
    """Draw t-SNE maps of every subspace, coloured by every factor.

    Parameters
    ----------
    clips
        What was said by whom.
    vectors
        Subspace to unit vectors, shape (clips, dim).
    factors
        Keys of ``clips.labels``; the clips are those of their most frequent values.

    Returns
    -------
    list of Map
        Subspace by subspace; none where fewer than five clips are left.
    """
    chosen = _choose({factor: clips.labels[factor] for factor in factors})
    if len(chosen) < 5:
        return []
    here = clips.take(chosen)
    titles = [f"{who}: {what}" for who, what in zip(here.speakers, here.contents, strict=True)]
    with threadpool_limits(1):
        places = Parallel(n_jobs=2, prefer="threads")(
            delayed(_places)(points[chosen]) for points in vectors.values()
        )
    maps = []
    for space, at in zip(vectors, places, strict=True):
        for factor in factors:
            colours = np.unique(here.labels[factor], return_inverse=True)[1]
            dots = [
                Dot(round(float(x), 1), round(float(y), 1), int(colour), title)
                for (x, y), colour, title in zip(at, colours, titles, strict=True)
            ]
            maps.append(Map(space, factor, dots))
    return maps


def _places(points: Vectors) -> NDArray[np.float64]:
    """Place points by t-SNE, shape (points, 2), within the map."""
    perplexity = min(30.0, (len(points) - 1) / 3)
    flat = TSNE(2, metric="cosine", init="random", random_state=0, perplexity=perplexity, max_iter=500)
    places = flat.fit_transform(points)
    low, high = places.min(axis=0), places.max(axis=0)
    return np.asarray(8 + (places - low) / np.maximum(high - low, 1e-9) * (MAP_SIZE - 16), np.float64)


def _choose(labels: Mapping[str, Labels]) -> NDArray[np.int64]:
    """Clips of the most frequent classes of every label, few enough to draw."""
    kept = np.ones(len(next(iter(labels.values()))), bool)
    for values in labels.values():
        names, counts = np.unique(values[kept], return_counts=True)
        kept &= np.isin(values, names[np.argsort(-counts, kind="stable")[:MAP_CLASSES]])
    clips = np.flatnonzero(kept)
    return np.sort(rng(0, "maps").permutation(clips)[:MAP_CLIPS])


@dataclass(frozen=True)
class Cell:
    """What probes read of a factor from a space.

    Attributes
    ----------
    best
        Accuracy of the better probe.
    shade
        0 to ``SHADES``: the way from chance to perfect that it goes.
    role
        Whether the space was trained for this factor, so that much is good, or for another; raw layers
        were for none.
    """

    found: ProbedFactor
    best: float
    shade: int
    role: Role


@dataclass(frozen=True)
class Matrix:
    """The separation matrices of all protocols, one below the other.

    Attributes
    ----------
    rows
        Protocol to factor, chance, and a cell a space; None where it was not probed.
    """

    spaces: list[str]
    rows: dict[str, list[tuple[str, float, list[Cell | None]]]]


def separation_matrix(metrics: Metrics) -> Matrix:
    """Arrange the matrices, own subspaces first; without rows where nothing was probed."""
    probed = {protocol: found.matrix for protocol, found in metrics.separation.items() if found.matrix}
    there = dict.fromkeys(space for matrix in probed.values() for found in matrix.values() for space in found)
    spaces = list(dict.fromkeys([*(space for space in metrics.spaces if space in there), *there]))
    rows = {
        protocol: [
            (factor, next(iter(found.values())).chance, [_cell(found, s, factor, metrics) for s in spaces])
            for factor, found in matrix.items()
        ]
        for protocol, matrix in probed.items()
    }
    return Matrix(spaces, rows)


def _cell(by_space: Mapping[str, ProbedFactor], space: str, factor: str, metrics: Metrics) -> Cell | None:
    found = by_space.get(space)
    if found is None:
        return None
    best = max(found.linear.accuracy, found.mlp.accuracy)
    shade = round(SHADES * max(0.0, best - found.chance) / max(1 - found.chance, 1e-9))
    made_for = metrics.spaces.get(space)
    role: Role = "plain" if not made_for else "own" if made_for == factor else "leak"
    return Cell(found, best, shade, role)
