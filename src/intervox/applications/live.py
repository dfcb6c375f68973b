"""Sound as it comes: chunks from a pipe or a microphone, windows over any stream, peaks of their scores."""

import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from queue import SimpleQueue
from typing import Any

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.audio.files import open_file
from intervox.errors import IntervoxError, missing_extra
from intervox.metrics.events import pick_peaks

CHUNK_SECONDS = 0.1

NOTHING = -np.inf
"""Score of a window in which there is nothing to be found."""

_AT_ONCE = 120
"""Windows that are handed on together: enough to fill batches, few enough to be forgotten."""

_BEFORE = 4
"""Distances that are remembered: peaks that hide each other in turn are seldom more."""

_RAW = {"samplerate": SAMPLE_RATE, "channels": 1, "format": "RAW", "subtype": "PCM_16", "endian": "LITTLE"}

Chunks = Iterator[NDArray[np.float32]]
"""Arrays (samples, channels) of a tenth of a second, in [-1, 1]."""


def piped_chunks(raw: bool) -> tuple[Chunks, int]:
    """Open standard input, a file or a pipe that is still being written: chunks, and their rate in Hz.

    Parameters
    ----------
    raw
        Whether it is 16 kHz mono s16le without a header, instead of a WAV file.

    Raises
    ------
    IntervoxError
        It can't be read from a pipe as sound.
    """
    if not raw and sys.stdin.seekable():
        recording = open_file(sys.stdin.buffer, "standard input")
        return recording.blocks(CHUNK_SECONDS), recording.rate
    try:
        # libsndfile itself reads the descriptor: a WAV header of unknown length is no end to it.
        sound = sf.SoundFile(sys.stdin.fileno(), closefd=False, **(_RAW if raw else {}))
        if sound.frames == 0 and sound.format == "WAV":  # a size of 0, as some write it to a pipe
            kept = {"samplerate": sound.samplerate, "channels": sound.channels, "subtype": sound.subtype}
            sound = sf.SoundFile(sys.stdin.fileno(), closefd=False, **(_RAW | kept))
    except (sf.SoundFileError, TypeError) as error:
        reason = str(error).split(": ")[-1].rstrip(".")
        raise IntervoxError(
            f"standard input can't be read as audio ({reason}): pipe WAV, or 16 kHz mono s16le with --raw"
        ) from None

    def chunks() -> Chunks:
        came = False
        with sound:
            while len(chunk := sound.read(size, dtype="float32", always_2d=True)):
                came = True
                yield chunk
        if not came:
            raise IntervoxError("standard input is empty: pipe a recording")

    size = round(CHUNK_SECONDS * sound.samplerate)
    return chunks(), sound.samplerate


def microphone_chunks(
    rate: int = SAMPLE_RATE, seconds: float = CHUNK_SECONDS, device: int | str | None = None
) -> Chunks:
    """Open a microphone, and yield what it hears, from one channel, until the iterator is closed.

    Nothing is lost while the consumer is busy: chunks wait for it.

    Parameters
    ----------
    rate
        In Hz; the system converts from that of the microphone.
    seconds
        Length of a chunk.
    device
        Number or part of a name, as ``python -m sounddevice`` lists them; the system's default
        otherwise.

    Raises
    ------
    IntervoxError
        The extra ``microphone`` or the PortAudio library is not installed, there is no such
        microphone, or it stops.
    """
    try:
        import sounddevice  # type: ignore[import-not-found, import-untyped]
    except ImportError:
        raise missing_extra("sounddevice", "microphone", "a microphone") from None
    except OSError:
        raise IntervoxError(
            "a microphone needs the PortAudio library: install it, on Debian as libportaudio2"
        ) from None
    heard: SimpleQueue[NDArray[np.float32] | None] = SimpleQueue()

    def hear(chunk: NDArray[np.float32], *_: Any) -> None:
        heard.put(chunk.copy())

    try:
        stream = sounddevice.InputStream(
            samplerate=rate,
            blocksize=round(rate * seconds),
            device=device,
            channels=1,
            dtype="float32",
            callback=hear,
            finished_callback=lambda: heard.put(None),
        )
    # ValueError: no device has this name, or several do.
    except (sounddevice.PortAudioError, ValueError) as error:
        raise IntervoxError(
            f"the microphone can't be opened ({error}): connect one, or choose another device or rate"
        ) from None

    def chunks() -> Chunks:
        with stream:
            while (chunk := heard.get()) is not None:
                yield chunk
        raise IntervoxError("the microphone has stopped: connect it again")

    return chunks()


class Clock:
    """Passes live sound on, and knows how long ago each moment of it was heard.

    Sound comes at its own pace: what arrives earliest for its place in the stream says when the stream
    began, so that chunks that wait for a busy consumer count as late.

    Parameters
    ----------
    chunks
        Arrays (samples,) or (samples, channels), as they come.
    rate
        Of the chunks, in Hz.
    """

    def __init__(self, chunks: Iterable[NDArray[np.float32]], rate: int = SAMPLE_RATE) -> None:
        self._chunks, self._rate = chunks, rate
        self._began = np.inf

    def __iter__(self) -> Chunks:
        heard = 0
        for chunk in self._chunks:
            heard += len(chunk)
            self._began = min(self._began, time.perf_counter() - heard / self._rate)
            yield chunk

    def milliseconds_since(self, second: float) -> float:
        """Return how long ago a moment of the stream, in seconds from its beginning, was heard."""
        return 1000 * (time.perf_counter() - self._began - second)


@dataclass(frozen=True)
class Window:
    """A stretch of sound, and what is most like it.

    Attributes
    ----------
    start, end
        In seconds.
    column
        Which of the names.
    score
        How alike they are; ``NOTHING`` of silence.
    voice
        Its vector in the speaker subspace, shape (dim,), where somebody asks who speaks.
    heard
        Whether it is loud and long enough to be compared at all.
    """

    start: float
    end: float
    column: int = 0
    score: float = NOTHING
    voice: NDArray[np.float32] | None = None
    heard: bool = False


def sliding_windows(
    chunks: Iterable[Waveform], window: int, hop: int
) -> Iterator[tuple[NDArray[np.int64], list[Waveform]]]:
    """Cut sound into overlapping windows as it arrives; the same ones however it is chunked.

    The windows are all those whose middle lies within the sound, from its very beginning on. Where
    the sound begins or ends within a window, the window is what there is of it.

    Parameters
    ----------
    chunks
        Of any lengths.
    window, hop
        Length of a window and from one start to the next, in samples.

    Yields
    ------
    starts, waves
        Shape (windows,), in samples, the first ones negative; and the windows. They come as soon as
        their last sample is there.
    """
    kept, offset, start = np.zeros(0, np.float32), 0, -(window // 2)
    for chunk in chunks:
        kept = np.concatenate([kept, chunk])
        whole = np.arange(start, offset + len(kept) - window + 1, hop)
        yield from _cut(kept, offset, whole, window)
        start += hop * len(whole)
        gone = max(0, min(start - offset, len(kept)))
        kept, offset = kept[gone:], offset + gone
    end = offset + len(kept)
    if end:
        yield from _cut(kept, offset, np.arange(start, end - window // 2 + 1, hop), window)


def _cut(
    kept: Waveform, offset: int, starts: NDArray[np.int64], window: int
) -> Iterator[tuple[NDArray[np.int64], list[Waveform]]]:
    for first in range(0, len(starts), _AT_ONCE):
        part = starts[first : first + _AT_ONCE]
        yield part, [kept[max(0, begin) : begin + window] for begin in (part - offset).tolist()]


def confirmed_peaks(windows: Iterable[Window], threshold: float, distance: int) -> Iterator[Window]:
    """Yield the windows at which the score peaks, from the threshold on, ``distance`` windows later.

    A window is decided as soon as ``distance`` more are known: what comes later is too far away to
    hide it. The result is that of ``pick_peaks`` on the whole, except where peaks that are closer than
    ``distance`` rise one after another: there the first is dropped, though the last hides the second.
    """
    silence = Window(0, 0)
    before = _BEFORE * distance
    recent = deque([silence] * (before + 1 + distance), before + 1 + distance)
    for window in chain(windows, repeat(silence, distance)):
        recent.append(window)
        middle = recent[before].score
        if middle > NOTHING and middle >= threshold:
            scores = np.array([near.score if near.score >= threshold else NOTHING for near in recent])
            if before in pick_peaks(scores, distance):
                yield recent[before]
