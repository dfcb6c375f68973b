"""Sound while it is going on, in chunks for ``KeywordSpotter.stream``: a pipe, or a microphone."""

import sys
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE
from intervox.errors import IntervoxError, missing_extra

CHUNK_SECONDS = 0.1
_RAW = {"samplerate": SAMPLE_RATE, "channels": 1, "format": "RAW", "subtype": "PCM_16", "endian": "LITTLE"}

Chunks = Iterator[NDArray[np.float32]]
"""Arrays (samples, channels) of a tenth of a second, in [-1, 1]."""


def piped_chunks(raw: bool) -> tuple[Chunks, int]:
    """Open standard input while it is being written: chunks, and their rate in Hz.

    Parameters
    ----------
    raw
        Whether it is 16 kHz mono s16le without a header, instead of a WAV file.

    Raises
    ------
    IntervoxError
        It is no sound that can be read from a pipe.
    """
    try:
        # libsndfile itself reads the descriptor: a WAV header of unknown length is no end to it.
        sound = sf.SoundFile(sys.stdin.fileno(), closefd=False, **(_RAW if raw else {}))
    except (sf.SoundFileError, TypeError) as error:
        reason = str(error).split(": ")[-1].rstrip(".")
        raise IntervoxError(
            f"standard input can't be read as audio ({reason}): pipe WAV, or 16 kHz mono s16le with --raw"
        ) from None

    def chunks() -> Chunks:
        with sound:
            while len(chunk := sound.read(size, dtype="float32", always_2d=True)):
                yield chunk

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
