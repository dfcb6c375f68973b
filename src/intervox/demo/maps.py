"""Where clips fall among a model's reference clips: the plane of their largest variance."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from intervox.subspaces.references import CONDITION, TEXT, References

MAP_SIZE = 300
"""Width and height of a map in units of its SVG."""

MARKS = (
    "M-4-4H4V4H-4Z",
    "M0-5 5 4H-5Z",
    "M0-5.5 5.5 0 0 5.5-5.5 0Z",
    "M0 5-5-4H5Z",
    "M-1.5-5h3v3.5h3.500v3h-3.500v3.500h-3v-3.500h-3.500v-3h3.500Z",
    "M-5-3-3-5 0-2 3-5 5-3 2 0 5 3 3 5 0 2-3 5-5 3-2 0Z",
    "M0-6 1.500-1.500 6 0 1.500 1.500 0 6-1.500 1.500-6 0-1.500-1.500Z",
    "M-5-2.500H5V2.500H-5Z",
)
"""Outlines around the origin, one a value: no two share a shape, so that colour is not needed."""

_MARGIN = 14


@dataclass(frozen=True)
class Mark:
    """A reference clip on a map; ``kind`` is the index of its shape and colour, None where it has none."""

    x: float
    y: float
    kind: int | None
    title: str


@dataclass(frozen=True)
class MappedClip:
    """A visitor's clip on a map.

    Attributes
    ----------
    label_x, label_y
        Where its letter stands, beside its place, so that two letters never cover each other.
    nearest
        What the reference nearest to it is called.
    score
        Their cosine in the whole subspace.
    """

    x: float
    y: float
    label_x: float
    label_y: float
    nearest: str
    score: float


@dataclass(frozen=True)
class MapDrawing:
    """One subspace with two clips in it.

    Attributes
    ----------
    names
        The values that have a shape, in their order.
    others
        How many values have none.
    kept
        Share of the references' variance that the plane shows.
    dim
        Of the subspace.
    """

    marks: list[Mark]
    names: list[str]
    others: int
    clips: list[MappedClip]
    kept: float
    dim: int


class SpaceMap:
    """The map of one subspace, fitted once.

    Parameters
    ----------
    factor
        What the subspace is about: a key of ``references.labels``.
    """

    def __init__(self, references: References, space: str, factor: str) -> None:
        self._vectors = references.vectors[space]
        self._plane = PCA(2, svd_solver="full").fit(self._vectors)
        self._places = self._plane.transform(self._vectors)
        labels = references.labels[factor]
        counts = Counter(labels).most_common()
        kinds = {value: kind for kind, (value, _) in enumerate(counts[: len(MARKS)])}
        texts = references.labels.get(TEXT, [""] * len(labels))
        said = dict(zip(labels, texts, strict=True))
        self._kinds = [kinds.get(value) for value in labels]
        self._called = [_called(value, said[value], factor) for value in labels]
        self._names = [_called(value, said[value], factor) for value in kinds]
        self._others = len(counts) - len(kinds)
        self._titles = _titles(references)

    def draw(self, vectors: NDArray[np.float32]) -> MapDrawing:
        """Put two clips, unit vectors of shape (2, dim), among the references."""
        everything = np.concatenate([self._places, self._plane.transform(vectors)])
        centre = (everything.min(axis=0) + everything.max(axis=0)) / 2
        # One scale for both directions: distances on the map are comparable.
        scale = (MAP_SIZE - 2 * _MARGIN) / np.ptp(everything, axis=0).max()
        spots = (everything - centre) * [scale, -scale] + MAP_SIZE / 2
        cells = zip(spots, self._kinds, self._titles, strict=False)
        marks = [Mark(*_rounded(spot), kind, title) for spot, kind, title in cells]
        marks.sort(key=lambda mark: mark.kind is not None)
        scores = vectors @ self._vectors.T
        clips = [
            MappedClip(*_rounded(spot), *_rounded(label), self._called[row.argmax()], float(row.max()))
            for spot, label, row in zip(spots[-2:], _labels(spots[-2:]), scores, strict=True)
        ]
        kept = float(self._plane.explained_variance_ratio_.sum())
        return MapDrawing(marks, self._names, self._others, clips, kept, self._vectors.shape[1])


def _labels(spots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move the letters of two clips apart, along the line between them."""
    away = spots[0] - spots[1]
    distance = np.hypot(*away)
    away = away / distance if distance > 0 else np.array([-1.0, 0.0])
    return np.asarray(np.clip(spots + 11 * np.stack([away, -away]), 10, MAP_SIZE - 10))


def _rounded(spot: NDArray[np.float64]) -> tuple[float, float]:
    return round(float(spot[0]), 1), round(float(spot[1]), 1)


def _called(value: str, text: str, factor: str) -> str:
    """Name a value for people: what is said, or a voice without its settings."""
    if factor == "content":
        return f"“{text or value}”"
    return value.split("/")[0]


def _titles(references: References) -> list[str]:
    """Say of every reference who speaks, what is said, and under which condition."""
    count = len(next(iter(references.labels.values())))
    columns = [references.labels.get(name, [""] * count) for name in ("speaker", TEXT, CONDITION)]
    return [" · ".join(filter(None, row)) for row in zip(*columns, strict=True)]
