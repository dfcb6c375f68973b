"""Answers as HTML, everything that a visitor gave escaped."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from intervox.audio import Waveform
from intervox.demo.spotting import Timeline
from intervox.model.decision import CONDITION, TEXT, References
from intervox.model.model import SubspaceModel

_QUESTIONS = {
    "speaker": ("Same voice?", "the same voice", "different voices"),
    "content": ("Same words?", "the same words", "different words"),
}


@dataclass(frozen=True)
class Verdict:
    """The answer of one subspace.

    Attributes
    ----------
    vectors
        Unit vectors of the two clips, shape (2, dim).
    score
        Their cosine.
    probability
        That they share the factor, at even odds; None where the subspace was never calibrated.
    threshold
        Score of an even probability; None likewise.
    """

    space: str
    factor: str
    vectors: NDArray[np.float32]
    score: float
    probability: float | None
    threshold: float | None

    @property
    def question(self) -> str:
        """What the subspace was asked."""
        return _QUESTIONS.get(self.factor, (f"Same {self.factor}?",))[0]

    @property
    def words(self) -> str:
        """The answer in plain words."""
        if self.probability is None:
            return "Not calibrated: only the score is known"
        same, different = self.alternatives
        sure = "Very likely" if abs(self.probability - 0.5) >= 0.4 else "Probably"
        return f"{sure} {same if self.probability >= 0.5 else different}"

    @property
    def alternatives(self) -> tuple[str, str]:
        """How to call a pair that shares the factor, and one that does not."""
        _, *alternatives = _QUESTIONS.get(
            self.factor, ("", f"the same {self.factor}", f"a different {self.factor}")
        )
        return alternatives[0], alternatives[1]


def compare(model: SubspaceModel, first: Waveform, second: Waveform) -> list[Verdict]:
    """Compare two clips in every subspace, the speaker's first."""
    vectors = model.encode([first, second])
    spaces = sorted(model.factors, key=lambda space: model.factors[space] != "speaker")
    return [_verdict(model, space, vectors[space]) for space in spaces]


def _verdict(model: SubspaceModel, space: str, vectors: NDArray[np.float32]) -> Verdict:
    score = float(model.similarity_pairwise(vectors[:1], vectors[1:])[0])
    probability = threshold = None
    if space in model.calibration:
        slope, offset = model.calibration[space]
        probability = float(model.probability(np.array([score]), space)[0])
        threshold = -offset / slope
    return Verdict(space, model.factors[space], vectors, score, probability, threshold)


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


def comparison(verdicts: Sequence[Verdict], drawings: dict[str, MapDrawing]) -> str:
    """Show verdicts, each with the map of its subspace where there is one."""
    return _render("comparison", verdicts=verdicts, drawings=drawings, marks=MARKS, size=MAP_SIZE)


def spotting(found: Timeline) -> str:
    """Show detections as a timeline and a table."""
    return _render("spotting", found=found, percent_of=lambda time: round(100 * time / found.seconds, 2))


def problem(sentence: str) -> str:
    """Show what a visitor can mend."""
    return _render("problem", sentence=f"{sentence[0].upper()}{sentence[1:]}.")


def percent(probability: float) -> str:
    """Write a probability without claiming certainty."""
    if probability < 0.01:
        return "below 1\u00a0%"
    return "above 99\u00a0%" if probability > 0.99 else f"{100 * probability:.0f}\u00a0%"


def clock(seconds: float) -> str:
    """Write a time as minutes and seconds, to a tenth."""
    minutes, tenths = divmod(round(10 * seconds), 600)
    return f"{minutes}:{tenths // 10:02d}.{tenths % 10}"


def _render(template: str, **values: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("intervox.demo", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(f"{template}.html.jinja").render(percent=percent, clock=clock, **values)
