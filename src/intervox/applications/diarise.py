"""Who spoke when? Turns of a recording, by the people enrolled or by voices that are told apart in it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intervox.applications.clustering import cluster
from intervox.applications.enrolled import UNKNOWN
from intervox.applications.vad import Part, speech_parts
from intervox.applications.verifier import SpeakerVerifier
from intervox.audio import SAMPLE_RATE, AudioSource, Waveform, stream_audio
from intervox.errors import IntervoxError
from intervox.metrics.vectors import Vectors, unit
from intervox.model.embedder import Embedder
from intervox.model.files import DEFAULT

WINDOW_SECONDS = 1.5
"""Half of it is as close as two changes can be told apart; what is shorter says too little of a voice."""

HOP_SECONDS = 0.5
SWITCH = 3.0
"""What a change of speaker costs, in log odds: a window of another voice alone is no turn."""

LEAST_SECONDS = 3.0
"""Speech that a voice must have in a recording to be told apart from the others."""

_JOIN_SECONDS = 1.0
"""A shorter pause of one speaker is part of the turn."""

_AT_ONCE = 100
"""Windows that are embedded together."""


@dataclass(frozen=True)
class Turn:
    """A stretch of a recording in which one person speaks.

    Attributes
    ----------
    start, end
        In seconds.
    speaker
        One of the people enrolled or ``unknown``; without people, ``speaker 1`` and so on, in the order in
        which they are first heard.
    probability
        That it is this one, of all who are enrolled and nobody; without people, of the voices found.
    """

    start: float
    end: float
    speaker: str
    probability: float


class Span(NamedTuple):
    """What one window stands for: it is heard in full, and speaks for the time that is nearest to it."""

    start: float
    end: float
    seconds: float


def who(
    source: AudioSource,
    people: SpeakerVerifier | None = None,
    model: Embedder | str | Path = DEFAULT,
    speakers: int | None = None,
) -> list[Turn]:
    """Say who spoke when in a recording of any length; needs the extra ``vad``.

    Each moment has one speaker: overlapping speech is not told apart. The sound is read once and not
    kept; an hour of speech takes 3 MB of vectors.

    Parameters
    ----------
    people
        Who may speak, or nobody of them: at even odds or, where a threshold is set, by that. Without
        people, voices are told apart by clustering, and have numbers.
    model
        What voices are told apart by; with people it is theirs.
    speakers
        How many there are, if that is known; without people only.

    Raises
    ------
    IntervoxError
        Nobody is enrolled, the number makes no sense, the extra is not installed, or the recording can't
        be read.
    """
    if people is not None and speakers is not None:
        raise IntervoxError("people and a number of speakers are given: choose one")
    if speakers is not None and speakers < 1:
        raise IntervoxError(f"the number of speakers is {speakers}: give 1 or more")
    known = SpeakerVerifier(model) if people is None else people
    if people is not None:
        assert len(people.prototypes_)  # or it raises that nobody is enrolled
    spans, vectors = listen(stream_audio(source), known)
    if not spans:
        return []
    if people is not None:
        return named_turns(spans, vectors, people)
    return numbered_turns(spans, vectors, known, speakers)


def listen(sound: Iterable[Waveform], known: SpeakerVerifier) -> tuple[list[Span], Vectors]:
    """Embed the speech of a recording, window by window: what each stands for, and vectors (windows, dim)."""
    spans: list[Span] = []
    vectors = [np.zeros((0, known.model_.dims[known.space]), np.float32)]
    waiting: list[Waveform] = []
    for part in speech_parts(sound):
        for span, wave in _windows(part):
            spans.append(span)
            waiting.append(wave)
        if len(waiting) >= _AT_ONCE:
            vectors.append(known.model_.encode(waiting)[known.space])
            waiting = []
    if waiting:
        vectors.append(known.model_.encode(waiting)[known.space])
    return spans, np.concatenate(vectors)


def _windows(part: Part) -> Iterator[tuple[Span, Waveform]]:
    """Cut a stretch of speech into windows that overlap; the last one ends with it."""
    window, hop = (round(SAMPLE_RATE * seconds) for seconds in (WINDOW_SECONDS, HOP_SECONDS))
    last = max(0, len(part.wave) - window)
    starts = np.unique([*range(0, last, hop), last])
    middles = starts + min(window, len(part.wave)) / 2
    edges = np.array([0, *(middles[1:] + middles[:-1]) / 2, len(part.wave)]) + part.start
    for start, begin, end in zip(starts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        wave = part.wave[start : start + window]
        yield Span(begin / SAMPLE_RATE, end / SAMPLE_RATE, len(wave) / SAMPLE_RATE), wave


def named_turns(spans: list[Span], vectors: Vectors, people: SpeakerVerifier) -> list[Turn]:
    """Name the turns of a recording by the people enrolled, or nobody."""
    nobody = np.zeros((len(spans), 1))
    states = viterbi(np.hstack([nobody, _evidence(spans, vectors, people)]), SWITCH)
    names = [UNKNOWN, *people.classes_.tolist()]
    turns = []
    for rows, start, end in _stretches(spans, states):
        shares, state = _shares(spans, vectors, rows, people), int(states[rows[0]])
        turns.append(Turn(start, end, names[state], float(shares[state])))
    return turns


def numbered_turns(
    spans: list[Span], vectors: Vectors, known: SpeakerVerifier, speakers: int | None
) -> list[Turn]:
    """Number the voices of a recording, in the order in which they are heard; nobody ``known`` counts."""
    voices = SpeakerVerifier(known.model_, known.space)
    labels = cluster(vectors, same_voice(known), round(LEAST_SECONDS / HOP_SECONDS), speakers)
    lengths = np.array([span.end - span.start for span in spans])
    for label in range(labels.max() + 1):
        voices.add(f"{label:06d}", vectors[labels == label], lengths[labels == label])
    states = viterbi(_evidence(spans, vectors, voices), SWITCH)
    order = list(dict.fromkeys(states.tolist()))
    turns = []
    for rows, start, end in _stretches(spans, states):
        shares, state = _shares(spans, vectors, rows, voices)[1:], int(states[rows[0]])
        turns.append(
            Turn(start, end, f"speaker {order.index(state) + 1}", float(shares[state] / shares.sum()))
        )
    return turns


def same_voice(known: SpeakerVerifier) -> float:
    """Return the mean cosine of windows from which on two clusters are one voice.

    Half way, in log odds, from even odds to the operating point. Chosen on recordings composed of
    LibriSpeech train-clean-100, with ``SWITCH``.
    """
    calibration = known.model_.calibration_of(known.space)
    return float(calibration.score_at(calibration.accept_at / 2))


def _shares(
    spans: list[Span], vectors: Vectors, rows: NDArray[np.int64], known: SpeakerVerifier
) -> NDArray[np.float64]:
    """Say how probable nobody and each name is, by all windows of a turn: shape (1 + names,)."""
    seconds = max(sum(spans[row].end - spans[row].start for row in rows), spans[rows[0]].seconds)
    vector = unit(vectors[rows].sum(axis=0))
    return known.posterior(known.scores(vector[None])[0], seconds)


def _evidence(spans: list[Span], vectors: Vectors, known: SpeakerVerifier) -> NDArray[np.float64]:
    """Weigh each window by the share of it that it stands for, as windows overlap."""
    seconds = np.array([span.seconds for span in spans])
    shares = np.array([span.end - span.start for span in spans]) / seconds
    return np.asarray(known.evidence(vectors, seconds) * np.minimum(shares, 1)[:, None])


def viterbi(evidence: NDArray[np.float64], switch: float) -> NDArray[np.int64]:
    """Find the most likely path through states.

    Parameters
    ----------
    evidence
        Shape (steps, states), in log odds.
    switch
        What a change of state costs.

    Returns
    -------
    ndarray
        Shape (steps,): the state at each step.
    """
    steps, count = evidence.shape
    best = np.zeros(count)
    before = np.zeros((steps, count), np.int64)
    for step, gain in enumerate(evidence):
        highest = int(best.argmax())
        changes = best[highest] - switch > best
        before[step] = np.where(changes, highest, np.arange(count))
        best = np.where(changes, best[highest] - switch, best) + gain
    path = np.zeros(steps, np.int64)
    state = int(best.argmax())
    for step in range(steps - 1, -1, -1):
        path[step] = state
        state = int(before[step, state])
    return path


def _stretches(
    spans: list[Span], states: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], float, float]]:
    """Yield the windows of each stretch in one state, and its start and end; a long pause ends it as well."""
    pauses = np.array([after.start - span.end for span, after in pairwise(spans)])
    changes = np.flatnonzero((states[1:] != states[:-1]) | (pauses >= _JOIN_SECONDS)) + 1
    for rows in np.split(np.arange(len(spans)), changes):
        yield rows, spans[rows[0]].start, spans[rows[-1]].end
