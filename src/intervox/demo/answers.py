"""Answers as HTML, everything that a visitor gave escaped: verdicts with their maps, and timelines."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from intervox.applications.detections import Detection
from intervox.applications.spotter import KeywordSpotter
from intervox.audio import SAMPLE_RATE, Waveform
from intervox.errors import IntervoxError
from intervox.metrics.events import HOP_SECONDS
from intervox.model.decision import CONDITION, TEXT, Decision, References, in_percent
from intervox.model.embedder import Embedder
from intervox.model.matching import Match

_QUESTIONS = {
    "speaker": ("Same voice?", "the same voice", "different voices"),
    "content": ("Same words?", "the same words", "different words"),
}
_BARS = 240
"""Of the outline of a recording."""

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
class Verdict:
    """The answer of one subspace.

    Attributes
    ----------
    vectors
        Unit vectors of the two clips, shape (2, dim).
    score
        Their cosine.
    decision
        What it means; None where the subspace was never calibrated, and for words.
    match
        Whether the clips say the same; for the subspace of content, where the model can match.
    """

    space: str
    factor: str
    vectors: NDArray[np.float32]
    score: float
    decision: Decision | None
    match: Match | None = None

    @property
    def phrases(self) -> tuple[str, str, str]:
        """What the subspace was asked; how to call a pair that shares the factor, and one that does not."""
        usual = (f"Same {self.factor}?", f"the same {self.factor}", f"a different {self.factor}")
        return _QUESTIONS.get(self.factor, usual)

    @property
    def words(self) -> str:
        """The answer in plain words."""
        if self.match is not None:
            return _matched(self.match)
        if self.decision is None:
            return "Not calibrated: only the score is known"
        probability = self.decision.probability
        likely = probability if self.decision.accepted else 1 - probability
        if likely < 0.5:
            return f"Not sure: {self.phrases[1]} is likelier, but not enough to accept it"
        sure = "Very likely" if likely >= 0.9 else "Probably"
        return f"{sure} {self.phrases[1 if self.decision.accepted else 2]}"


def _matched(match: Match) -> str:
    if match.answer == "unclear":
        return f"Can\u2019t be compared: {match.reason}"
    if match.answer == "partly":
        return f"Partly the same words: {100 * match.share:.0f}\u00a0% of the speech"
    sure = "Very likely" if match.probability >= 0.9 else "Probably"
    return f"{sure} {'the same' if match.answer == 'same' else 'different'} words"


def compare(model: Embedder, first: Waveform, second: Waveform) -> list[Verdict]:
    """Compare two clips in every subspace, the speaker's first."""
    vectors = model.encode([first, second])
    seconds = len(first) / SAMPLE_RATE, len(second) / SAMPLE_RATE
    verdicts = []
    for space in sorted(model.factors, key=lambda space: model.factors[space] != "speaker"):
        score = float(vectors[space][0] @ vectors[space][1])
        match = model.match(first, second) if space == model.content_space and model.matching else None
        calibrated = space in model.calibration and model.factors[space] != "content"
        decision = model.decide(score, space, seconds) if calibrated else None
        verdicts.append(Verdict(space, model.factors[space], vectors[space], score, decision, match))
    return verdicts


@dataclass(frozen=True)
class Timeline:
    """A recording and what was found in it.

    Attributes
    ----------
    seconds
        Length of the recording.
    outline
        SVG path of the recording's loudness, 240 wide and -1 to 1 high.
    usual_seconds
        Once in so many seconds a keyword is expected: what the probabilities assume.
    """

    keyword: str
    detections: list[Detection]
    seconds: float
    outline: str
    usual_seconds: float


def spot(
    model: Embedder,
    keyword: str,
    examples: Sequence[Waveform],
    recording: Waveform,
    usual_seconds: float,
) -> Timeline:
    """Find a keyword that is known by examples and expected once in ``usual_seconds``."""
    space = next((space for space, factor in model.factors.items() if factor == "content"), None)
    if space is None:
        raise IntervoxError("this model has no subspace of content: no keyword can be found with it")
    spotter = KeywordSpotter(model, space, hop_seconds=HOP_SECONDS, prior=HOP_SECONDS / usual_seconds)
    spotter.fit(examples, [keyword] * len(examples))
    found = sorted(spotter.scan(recording), key=lambda detection: detection.start)
    # The peaks of pieces of equal length, scaled to the loudest.
    edges = np.linspace(0, len(recording), _BARS + 1).astype(int)[:-1]
    peaks = np.maximum.reduceat(np.abs(recording), edges)
    outline = "".join(f"M{n} {-height:.2f}V{height:.2f}" for n, height in enumerate(peaks / peaks.max()))
    return Timeline(keyword, found, len(recording) / SAMPLE_RATE, outline, usual_seconds)


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
    nearest, score
        What the reference nearest to it is called, and their cosine in the whole subspace.
    """

    x: float
    y: float
    label_x: float
    label_y: float
    nearest: str
    score: float


@dataclass(frozen=True)
class MapDrawing:
    """One subspace of ``dim`` dimensions with two clips in it.

    Attributes
    ----------
    names, others
        The values that have a shape, in their order; how many have none.
    kept
        Share of the references' variance that the plane shows.
    """

    marks: list[Mark]
    names: list[str]
    others: int
    clips: list[MappedClip]
    kept: float
    dim: int


def space_maps(model: Embedder) -> dict[str, "SpaceMap"]:
    """Return the map of every subspace whose references are labelled with its factor."""
    known = model.references
    return {
        space: SpaceMap(known, space, factor)
        for space, factor in model.factors.items()
        if known is not None and factor in known.labels
    }


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
        values = references.labels[factor]
        none = [""] * len(values)
        voices, texts, conditions = (
            references.labels.get(name, none) for name in ("speaker", TEXT, CONDITION)
        )
        rows = zip(voices, texts, conditions, strict=True)
        self._titles = [" · ".join(filter(None, row)) for row in rows]
        # What is said, or a voice without its settings.
        self._called = [
            f"“{text or value}”" if factor == "content" else value.split("/")[0]
            for value, text in zip(values, texts, strict=True)
        ]
        counts = Counter(values).most_common()
        kinds = {value: kind for kind, (value, _) in enumerate(counts[: len(MARKS)])}
        self._kinds = [kinds.get(value) for value in values]
        self._names = [self._called[values.index(value)] for value in kinds]
        self._others = len(counts) - len(kinds)

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


def comparison(verdicts: Sequence[Verdict], drawings: dict[str, MapDrawing]) -> str:
    """Show verdicts, each with the map of its subspace where there is one."""
    return render("comparison", verdicts=verdicts, drawings=drawings, marks=MARKS, size=MAP_SIZE)


def spotting(found: Timeline) -> str:
    """Show detections as a timeline and a table."""
    return render("spotting", found=found, percent_of=lambda time: round(100 * time / found.seconds, 2))


def problem(sentence: str) -> str:
    """Show what a visitor can fix."""
    return render("problem", sentence=f"{sentence[0].upper()}{sentence[1:]}.")


def clock(seconds: float) -> str:
    """Write a time as minutes and seconds, to a tenth."""
    minutes, tenths = divmod(round(10 * seconds), 600)
    return f"{minutes}:{tenths // 10:02d}.{tenths % 10}"


def render(template: str, **values: Any) -> str:
    """Fill in one of the page's templates; all values are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("intervox.demo", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(f"{template}.html.jinja").render(
        percent=in_percent, clock=clock, **values
    )
