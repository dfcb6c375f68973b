"""Running speech with known keywords in it, composed of recordings of people who enrol nothing.

Isolated clips of a keyword corpus, keywords and other words, follow one another with gaps; where
recordings of read speech are at hand, their utterances stand between them.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE, Waveform, load_audio
from intervox.clips.corpus import Clip, ClipSource
from intervox.clips.labels import Clips, Labels
from intervox.evaluation.keywords import Rows
from intervox.metrics.events import HOP_SECONDS, WINDOW_SECONDS, Event
from intervox.seeds import rng

EXAMPLES = 5
STREAMS = 20
SECONDS = 600.0
GAP_SECONDS = (0.5, 1.0)
FADE_SECONDS = 0.01
FLOOR = 1e-3
"""Noise under everything, RMS (-60 dBFS): no recording has digital silence between words."""

WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


@dataclass(frozen=True)
class Stream:
    """Some seconds of speech, the keywords in it, and which half of the speakers, 0 or 1, is heard."""

    wave: Waveform
    events: list[Event]
    half: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.wave) / SAMPLE_RATE


@dataclass(frozen=True)
class StreamSet:
    """What is to be detected, where, and by whose examples.

    Attributes
    ----------
    streams
        No two share a speaker of the keyword corpus.
    keywords
        Sorted; the corpus's other contents occur in the streams too, as words to be ignored.
    examples
        For each half of the speakers, its clips of the keywords: five or more of each. They enrol
        for the streams of the other half.
    checked
        Whether no utterance between the clips holds a keyword. Where transcripts are unknown one
        may, and its detection counts as a false alarm.
    """

    streams: list[Stream]
    keywords: Labels
    examples: tuple[Rows, Rows]
    checked: bool


class StreamWindows(ClipSource):
    """Equal windows of streams as clips, in the order of streams and time; a stream is a shard."""

    def __init__(
        self,
        streams: list[Stream],
        window_seconds: float = WINDOW_SECONDS,
        hop_seconds: float = HOP_SECONDS,
    ) -> None:
        self.window_seconds = window_seconds
        self.hop_seconds = hop_seconds
        self._streams = streams
        self._window, self._hop = round(window_seconds * SAMPLE_RATE), round(hop_seconds * SAMPLE_RATE)
        counts = [max(0, 1 + (len(stream.wave) - self._window) // self._hop) for stream in streams]
        self._bounds = np.cumsum([0, *counts])

    @property
    def shard_count(self) -> int:
        return len(self._streams)

    @property
    def clip_count(self) -> int:
        return int(self._bounds[-1])

    @property
    def key(self) -> Any:
        digest = hashlib.sha256()
        for stream in self._streams:
            digest.update(stream.wave.tobytes())
        return [digest.hexdigest(), [len(stream.wave) for stream in self._streams], self._window, self._hop]

    def load_shard(self, index: int) -> list[Clip]:
        wave = self._streams[index].wave
        starts = self._hop * np.arange(self._bounds[index + 1] - self._bounds[index])
        return [
            Clip(int(self._bounds[index]) + number, wave[start : start + self._window])
            for number, start in enumerate(starts.tolist())
        ]

    def rows(self, index: int) -> slice:
        """Which clips are a stream's."""
        return slice(int(self._bounds[index]), int(self._bounds[index + 1]))

    def centres(self, index: int) -> NDArray[np.float64]:
        """Return the middle of each of a stream's windows, in seconds."""
        count = self._bounds[index + 1] - self._bounds[index]
        return np.asarray((self._hop * np.arange(count) + self._window / 2) / SAMPLE_RATE)


def compose_streams(
    clips: Clips,
    seed: int,
    speech: Clips | None = None,
    seconds: float = SECONDS,
    load: Callable[[str], Waveform] = load_audio,
) -> StreamSet:
    """Compose streams of a keyword corpus, each of speakers of one half: the other half enrols.

    Two thirds of the contents that either half says five times or more are keywords. The speakers of a
    half are dealt to ten streams (one each where there are fewer), and a stream is filled with their
    clips, keywords and others as they come, each once. Utterances of ``speech`` take up about half of
    the time.

    Parameters
    ----------
    clips
        The keyword corpus. A label ``text`` gives the words where ``content`` is another name.
    seed
        Decides everything.
    speech
        Recordings of running speech. Those whose label ``text`` holds a keyword are left out.
    seconds
        Of all streams together; less where the clips don't suffice.
    load
        Reads one of ``paths``.
    """
    random = rng(seed, "streams")
    halves = np.array_split(random.permutation(np.unique(clips.speakers)), 2)
    said = [np.isin(clips.speakers, half) for half in halves]
    common, also = (_frequent(clips.contents[rows]) for rows in said)
    contents = random.permutation(common[np.isin(common, also)])
    keywords = np.sort(contents[len(contents) // 3 :])
    utterances, checked = _free_of(keywords, clips, speech)
    utterances = random.permutation(utterances)
    groups = [
        (half, who)
        for half, speakers in enumerate(halves)
        for who in np.array_split(speakers, min(STREAMS // 2, len(speakers)))
    ]
    streams = []
    for index, (half, speakers) in enumerate(groups):
        isolated = random.permutation(np.flatnonzero(np.isin(clips.speakers, speakers)))
        words = [(clips.paths[row], clips.contents[row]) for row in isolated]
        # An utterance has no content that could be taken for an event.
        between = [(path, "") for path in utterances[index :: len(groups)]]
        wave, events = _compose(words, between, set(keywords), seconds / len(groups), load, random)
        streams.append(Stream(wave, events, half))
    first, second = (np.flatnonzero(rows & np.isin(clips.contents, keywords)) for rows in said)
    return StreamSet(streams, keywords, (first, second), checked)


def _frequent(contents: Labels) -> Labels:
    values, counts = np.unique(contents, return_counts=True)
    return values[counts >= EXAMPLES]


def _free_of(keywords: Labels, clips: Clips, speech: Clips | None) -> tuple[Labels, bool]:
    """Paths of the utterances that are not known to hold a keyword, and whether all are known."""
    if speech is None:
        return np.empty(0, str), True
    texts = clips.labels.get("text", clips.contents)
    said = np.where(texts == "", clips.contents, texts)[np.isin(clips.contents, keywords)]
    phrases = {_spelt(phrase) for phrase in np.unique(said)}
    spoken = [_spelt(text) for text in speech.labels.get("text", np.full(len(speech), ""))]
    free = [not any(phrase in text for phrase in phrases) for text in spoken]
    return speech.paths[np.asarray(free, bool)], all(text.strip() for text in spoken)


def _spelt(text: str) -> str:
    """Words between single spaces, so that a phrase is found as whole words."""
    return f" {' '.join(WORD.findall(text.casefold()))} "


def _compose(
    words: list[tuple[str, str]],
    between: list[tuple[str, str]],
    keywords: set[str],
    seconds: float,
    load: Callable[[str], Waveform],
    random: np.random.Generator,
) -> tuple[Waveform, list[Event]]:
    """Line up recordings until the time is filled: whichever kind has had less of it comes next."""
    events: list[Event] = []
    parts = [_silence(random)]
    length, taken = len(parts[0]), {"words": 0, "between": 0}
    while words and length < seconds * SAMPLE_RATE:
        kind = "between" if between and taken["between"] < taken["words"] else "words"
        path, content = (between if kind == "between" else words).pop()
        wave, gap = _faded(load(path)), _silence(random)
        if content in keywords:
            events.append((length / SAMPLE_RATE, (length + len(wave)) / SAMPLE_RATE, str(content)))
        parts += [wave, gap]
        taken[kind] += len(wave) + len(gap)
        length += len(wave) + len(gap)
    floor = FLOOR * random.standard_normal(length, dtype=np.float32)
    return np.concatenate(parts) + floor, events


def _silence(random: np.random.Generator) -> Waveform:
    return np.zeros(round(random.uniform(*GAP_SECONDS) * SAMPLE_RATE), np.float32)


def _faded(wave: Waveform) -> Waveform:
    """Spare a clip the clicks of its edges."""
    count = min(round(FADE_SECONDS * SAMPLE_RATE), len(wave) // 2)
    ramp = np.linspace(0, 1, count, dtype=np.float32)
    result = wave.copy()
    result[:count] *= ramp
    result[len(wave) - count :] *= ramp[::-1]
    return result
