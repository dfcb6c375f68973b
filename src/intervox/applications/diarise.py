"""Who spoke when? Turns of a recording, by the people enrolled or by voices that are told apart in it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intervox.applications.clustering import cluster
from intervox.applications.enrolled import UNKNOWN
from intervox.applications.turns import Heard, Span, Turns
from intervox.applications.vad import speech_windows
from intervox.applications.verifier import SpeakerVerifier
from intervox.audio import SAMPLE_RATE, AudioSource, Waveform, resample_chunks, stream_audio
from intervox.errors import IntervoxError
from intervox.metrics.vectors import Vectors
from intervox.model.embedder import Embedder
from intervox.model.files import DEFAULT

WINDOW_SECONDS = 1.5
"""Half of it is as close as two changes can be told apart; what is shorter says too little of a voice."""

HOP_SECONDS = 0.5
LEAST_SECONDS = 3.0
"""Speech that a voice must have in a recording to be told apart from the others."""

LIVE_SECONDS = 5.0
"""A longer turn is handed on in parts while it is heard."""


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
        return list(named_turns(stream_audio(source), people))
    spans, vectors = listen(stream_audio(source), known)
    return numbered_turns(spans, vectors, known, speakers) if spans else []


def stream(
    chunks: Iterable[NDArray[Any]], people: SpeakerVerifier, rate: int = SAMPLE_RATE
) -> Iterator[Turn]:
    """Say who speaks in sound as it comes: the turns that ``who`` finds in the whole.

    A turn comes when it is over: as soon as another voice is certain, or after a pause of a second. One that
    is longer than ``LIVE_SECONDS`` comes in parts of about as much, which adjoin.

    Parameters
    ----------
    chunks
        Arrays of any lengths, (samples,) or (samples, channels), as a microphone gives them; see
        ``intervox.applications.live``. Where they end, what is pending is yielded.
    people
        Who may speak. Voices of nobody enrolled can be told apart in the whole only: see ``who``.
    rate
        Of the chunks, in Hz.

    Raises
    ------
    IntervoxError
        As ``who``; a chunk is not an array of numbers, or not finite.
    """
    assert len(people.prototypes_)  # or it raises that nobody is enrolled
    return named_turns(resample_chunks(chunks, rate), people, LIVE_SECONDS)


def named_turns(
    sound: Iterable[Waveform], people: SpeakerVerifier, longest: float = np.inf
) -> Iterator[Turn]:
    """Name turns as they are heard, by the people enrolled or nobody; ``longest`` as for ``Turns``."""
    names = [UNKNOWN, *people.classes_.tolist()]
    turns = Turns(people, nobody=True, longest=longest)
    for heard in hear(sound, people):
        for found in turns.push(heard):
            yield Turn(found.start, found.end, names[found.state], float(found.shares[found.state]))
    for found in turns.settle():
        yield Turn(found.start, found.end, names[found.state], float(found.shares[found.state]))


def hear(sound: Iterable[Waveform], known: SpeakerVerifier) -> Iterator[Heard]:
    """Embed speech window by window, as it comes."""
    begin = middle = seconds = 0.0
    held = np.zeros(0, np.float32)
    for windows, certain in speech_windows(sound, WINDOW_SECONDS, HOP_SECONDS):
        vectors = known.model_.encode([window.wave for window in windows])[known.space]
        spans, rows = [], []
        for window, vector in zip(windows, vectors, strict=True):
            start, before = window.start / SAMPLE_RATE, middle
            length = len(window.wave) / SAMPLE_RATE
            middle = start + length / 2
            if not window.first:  # where it begins to speak, the one before ends
                start = (before + middle) / 2
                spans.append(Span(begin, start, seconds))
                rows.append(held)
            begin, seconds, held = start, length, vector
            if window.last:
                spans.append(Span(begin, window.start / SAMPLE_RATE + length, length))
                rows.append(vector)
        yield Heard(spans, np.array(rows, np.float32).reshape(-1, vectors.shape[1]), certain)


def listen(sound: Iterable[Waveform], known: SpeakerVerifier) -> tuple[list[Span], Vectors]:
    """Embed all speech of a recording: what each window stands for, and vectors (windows, dim)."""
    heard = list(hear(sound, known))
    return [span for some in heard for span in some.spans], np.concatenate([some.vectors for some in heard])


def numbered_turns(
    spans: list[Span], vectors: Vectors, known: SpeakerVerifier, speakers: int | None
) -> list[Turn]:
    """Number the voices of a recording, in the order in which they are heard; nobody ``known`` counts."""
    voices = SpeakerVerifier(known.model_, known.space)
    labels = cluster(vectors, same_voice(known), round(LEAST_SECONDS / HOP_SECONDS), speakers)
    lengths = np.array([span.end - span.start for span in spans])
    for label in range(labels.max() + 1):
        voices.add(f"{label:06d}", vectors[labels == label], lengths[labels == label])
    turns = Turns(voices, nobody=False)
    found = [*turns.push(Heard(spans, vectors, 0)), *turns.settle()]
    order = list(dict.fromkeys(stretch.state for stretch in found))
    return [
        Turn(start, end, f"speaker {order.index(state) + 1}", float(shares[1 + state] / shares[1:].sum()))
        for state, start, end, shares in found
    ]


def same_voice(known: SpeakerVerifier) -> float:
    """Return the minimum mean cosine of windows for two clusters to be one voice.

    Half way, in log odds, from even odds to the operating point. Chosen on recordings composed of
    LibriSpeech train-clean-100, with ``SWITCH``.
    """
    calibration = known.model_.calibration_of(known.space)
    return float(calibration.score_at(calibration.accept_at / 2))
