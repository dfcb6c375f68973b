"""Do two clips say the same? Frames of the content subspace, aligned in time.

A mean over time does not say what a sentence says. So anything longer than a word is compared step by
step along the best alignment (dynamic time warping, Sakoe & Chiba 1978), with a metric that was learnt
where voices differ and words do not: on aligned steps of one text in many synthetic voices.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intervox.audio import Waveform

Floats = NDArray[np.float32]

Answer = Literal["different", "partly", "same", "unclear"]
ANSWERS: tuple[Answer, ...] = ("different", "partly", "same")

HOP_FRAMES = 4
"""Frames that are averaged to a step: 80 ms for backbones of 50 frames a second."""

WORD_SECONDS = 1.0
"""Up to so much speech in both clips they are taken as words, which are wholly the same or not."""

_RATIO = 3.0
"""Nobody says a text so many times as slowly as somebody else."""

_LEAST_SECONDS = 0.1
WINDOW, _WIDE_WINDOW = 6, 10
"""Steps in which a local difference is looked for: a syllable or two, a word or two."""

_STEADY_DB, _STEADY_STEPS = 2.0, 6
"""A sound of so many steps whose level hardly changes, such as a tone or noise, is not speech."""

_QUIET_DB = 30.0
_FLOOR = 0.02
"""Weight of a step without speech."""


class Spoken(NamedTuple):
    """What is known of a clip's content.

    Attributes
    ----------
    vector
        Of the whole clip, shape (dim,), of unit length.
    steps
        Shape (steps, dim): unit vectors.
    activity
        Shape (steps,): how far each is speech, 0 to 1.
    seconds
        Length of the clip.
    """

    vector: Floats
    steps: Floats
    activity: Floats
    seconds: float

    @property
    def speech_seconds(self) -> float:
        """How much of the clip is speech."""
        return float(self.activity.mean()) * self.seconds


@dataclass(frozen=True)
class Difference:
    """A stretch in which two clips do not say the same: start and end in seconds, in either clip."""

    first: tuple[float, float]
    second: tuple[float, float]


@dataclass(frozen=True)
class Match:
    """Whether two clips say the same.

    Attributes
    ----------
    answer
        ``same``, ``partly`` or ``different``; ``unclear`` where they cannot be compared.
    probability
        Of the answer, where all three are equally likely before anything is heard.
    share
        How much of the speech is the same, 0 to 1.
    differences
        Where it is not, for ``partly``.
    reason
        Why it is ``unclear``.
    """

    answer: Answer
    probability: float
    share: float
    differences: tuple[Difference, ...] = ()
    reason: str = ""


class Aligned(NamedTuple):
    """Two clips along their best alignment.

    Attributes
    ----------
    path
        Shape (length, 2): steps of the first and of the second clip.
    scores
        Shape (length,): cosines of these steps under the metric.
    weights
        Shape (length,): how far there is speech.
    """

    path: NDArray[np.int64]
    scores: Floats
    weights: Floats

    @property
    def score(self) -> float:
        """The mean cosine over speech."""
        return float(np.average(self.scores, weights=self.weights))

    def local(self, window: int) -> Floats:
        """Average the cosine around each point over a window; without speech nothing differs: 1."""
        if len(self.scores) <= window:
            return np.full(len(self.scores), self.score, np.float32)
        ones = np.ones(window)
        weights = np.convolve(self.weights, ones, "same")
        means = np.convolve(self.scores * self.weights, ones, "same") / np.maximum(weights, 1e-6)
        return np.where(weights > 0.4 * window, means, 1.0).astype(np.float32)

    def lowest_quarter(self) -> float:
        """Average the cosine over the quarter of the speech that fits least."""
        order = np.argsort(self.scores)
        total = np.cumsum(self.weights[order])
        lowest = order[total <= max(total[-1] / 4, total[0])]
        return float(np.average(self.scores[lowest], weights=self.weights[lowest]))


class Matching(NamedTuple):
    """What turns two clips into an answer; fitted on held-out synthetic cells.

    Attributes
    ----------
    centre, metric
        Shapes (dim,) and (dim, dim): steps are compared as ``(step - centre) @ metric``.
    words
        Log odds of "the same word": weights of the clips' cosine and of the alignment's, and an offset;
        empty where no words were at hand.
    sentences
        For each of ``ANSWERS`` the weights of ``features`` and an offset; empty where no sentences
        were at hand.
    local
        Slope and offset from a local cosine to the log odds that the same is said there.
    """

    centre: Floats
    metric: Floats
    words: tuple[float, ...]
    sentences: tuple[tuple[float, ...], ...]
    local: tuple[float, float]

    @classmethod
    def of(cls, numbers: Mapping[str, Any], centre: Floats, metric: Floats) -> "Matching":
        """Take what a model's configuration holds of it, and the two arrays of its weights."""
        sentences = tuple(map(tuple, numbers["sentences"]))
        return cls(centre, metric, tuple(numbers["words"]), sentences, tuple(numbers["local"]))

    def align(self, first: Spoken, second: Spoken) -> Aligned:
        """Find the best alignment of two clips."""
        steps = [mapped_steps(clip.steps, self.centre, self.metric) for clip in (first, second)]
        similarity = steps[0] @ steps[1].T
        path = best_path(similarity)
        rows, columns = path.T
        weights = (first.activity[rows] + second.activity[columns]) / 2
        return Aligned(path, similarity[rows, columns], np.maximum(weights, _FLOOR).astype(np.float32))

    def match(self, first: Spoken, second: Spoken) -> Match:
        """Say whether two clips say the same."""
        seconds = first.speech_seconds, second.speech_seconds
        if min(seconds) < _LEAST_SECONDS:
            return _unclear("there is hardly any speech in one of the clips")
        if max(seconds) < WORD_SECONDS:
            return self._match_words(first, second)
        if max(seconds) > _RATIO * min(seconds):
            return _unclear(
                f"one clip has {max(seconds):.1f} s of speech, the other {min(seconds):.1f} s: look for the "
                "short one in the long one with `intervox spot`"
            )
        if not self.sentences:
            return _unclear("this model was calibrated on single words alone")
        aligned = self.align(first, second)
        logits = np.array(self.sentences) @ [*features(aligned, seconds), 1.0]
        shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        best = int(shares.argmax())
        same_here = self.local[0] * aligned.local(WINDOW) + self.local[1] > 0
        share = float(np.average(same_here, weights=aligned.weights))
        if ANSWERS[best] != "partly":
            return Match(ANSWERS[best], float(shares[best]), float(best == ANSWERS.index("same")))
        differences = tuple(_differences(aligned, ~same_here, first, second))
        return Match("partly", float(shares[best]), share, differences)

    def _match_words(self, first: Spoken, second: Spoken) -> Match:
        if not self.words:
            return _unclear("this model was calibrated on sentences alone")
        similar = [float(first.vector @ second.vector), self.align(first, second).score, 1.0]
        same = float(1 / (1 + np.exp(-np.dot(self.words, similar))))
        return Match("same" if same >= 0.5 else "different", max(same, 1 - same), float(same >= 0.5))


def _unclear(reason: str) -> Match:
    return Match("unclear", 0.0, 0.0, reason=reason)


def features(aligned: Aligned, seconds: tuple[float, float]) -> list[float]:
    """Describe an alignment: its mean, its worst places in three widths, and how much speech there is."""
    amount = float(np.log(max(seconds[0], _LEAST_SECONDS) * max(seconds[1], _LEAST_SECONDS)) / 2)
    mean = aligned.score
    worst = [float(aligned.local(window).min()) for window in (WINDOW, _WIDE_WINDOW)]
    return [mean, *worst, aligned.lowest_quarter(), amount, mean * amount]


def mapped_steps(steps: Floats, centre: Floats, metric: Floats) -> Floats:
    """Apply the metric to steps (steps, dim): unit vectors of the same shape."""
    mapped = (steps - centre) @ metric
    return np.asarray(mapped / np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), 1e-9), np.float32)


def best_path(similarity: Floats) -> NDArray[np.int64]:
    """Find the monotonic path of the least distance through a table of similarities.

    Dynamic time warping with the symmetric steps of Sakoe & Chiba 1978 (a diagonal step counts twice),
    an antidiagonal at a time: 10 s against 10 s take a few milliseconds.

    Parameters
    ----------
    similarity
        Shape (n, m), at most 1.

    Returns
    -------
    ndarray
        Shape (length, 2), from (0, 0) to (n - 1, m - 1).
    """
    n, m = similarity.shape
    distance = 1 - similarity.astype(np.float64)
    costs = np.full((n + 1) * (m + 1), np.inf)
    costs[0] = 0
    moves = np.zeros((n, m), np.int8)
    width = m + 1
    for diagonal in range(n + m - 1):
        row = np.arange(max(0, diagonal - m + 1), min(n, diagonal + 1))
        here, own = (row + 1) * width + diagonal - row + 1, distance[row, diagonal - row]
        options = np.stack(
            [costs[here - width - 1] + 2 * own, costs[here - width] + own, costs[here - 1] + own]
        )
        best = options.argmin(axis=0)
        costs[here] = options[best, np.arange(len(row))]
        moves[row, diagonal - row] = best
    path = [(n - 1, m - 1)]
    while path[-1] != (0, 0):
        down, right = ((1, 1), (1, 0), (0, 1))[moves[path[-1]]]
        path.append((path[-1][0] - down, path[-1][1] - right))
    return np.array(path[::-1])


def speech_activity(wave: Waveform, steps: int) -> Floats:
    """Say how far each of some equal pieces of a clip is speech rather than silence or noise.

    Parameters
    ----------
    wave
        Shape (samples,).
    steps
        How many pieces.

    Returns
    -------
    ndarray
        Shape (steps,), 0 to 1, by the level against the clip's loud pieces and its quietest.
    """
    power = np.array([np.mean(piece**2) if len(piece) else 0.0 for piece in np.array_split(wave, steps)])
    level = 10 * np.log10(power + 1e-12)
    loud, quiet = np.quantile(level, [0.9, 0.05])
    if loud - quiet < _STEADY_DB and steps >= _STEADY_STEPS:
        return np.zeros(steps, np.float32)
    if loud - quiet < 6:
        return np.ones(steps, np.float32)
    threshold = max(loud - _QUIET_DB, quiet + 0.3 * (loud - quiet))
    return np.asarray(1 / (1 + np.exp(-(level - threshold) / 2)), np.float32)


def pooled_steps(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average ``HOP_FRAMES`` frames at a time: (frames, ...) to (steps, ...), one step at least."""
    return np.stack([part.mean(axis=0) for part in np.array_split(frames, max(1, len(frames) // HOP_FRAMES))])


def _differences(
    aligned: Aligned, differs: NDArray[np.bool_], first: Spoken, second: Spoken
) -> Iterator[Difference]:
    """Yield the stretches of an alignment where clips differ; the worst place where none is that sure."""
    if not differs.any():
        differs = np.zeros(len(differs), bool)
        differs[aligned.local(WINDOW).argmin()] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[0], differs.astype(np.int8), [0]])))
    lengths = [clip.seconds / len(clip.steps) for clip in (first, second)]

    def stretch(path: Sequence[int] | NDArray[np.int64], length: float) -> tuple[float, float]:
        return round(float(path[0]) * length, 2), round(float(path[-1] + 1) * length, 2)

    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        rows, columns = aligned.path[begin:end].T
        yield Difference(stretch(rows, lengths[0]), stretch(columns, lengths[1]))
