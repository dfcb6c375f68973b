"""Sound that is still going on: a pipe, a microphone."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE
from intervox.errors import IntervoxError, missing_extra

_CHUNK_SECONDS = 0.1
_RAW = {"samplerate": SAMPLE_RATE, "channels": 1, "format": "RAW", "subtype": "PCM_16", "endian": "LITTLE"}

Chunks = Iterator[NDArray[np.float32]]
"""Arrays (samples, channels), a tenth of a second each."""


def piped_sound(raw: bool) -> tuple[Chunks, int]:
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

    size = round(_CHUNK_SECONDS * sound.samplerate)
    return chunks(), sound.samplerate


def microphone_sound() -> Chunks:
    """Yield what the default microphone hears at 16 kHz, without end.

    Raises
    ------
    IntervoxError
        sounddevice, the PortAudio library behind it or a microphone is missing.
    """
    sounddevice = _sounddevice()
    try:
        stream = sounddevice.InputStream(samplerate=SAMPLE_RATE, channels=1, dtype="float32")
    except sounddevice.PortAudioError as error:
        raise IntervoxError(
            f"the microphone can't be opened ({error}): connect one, or pipe sound to -"
        ) from None
    with stream:
        while True:
            yield stream.read(round(_CHUNK_SECONDS * SAMPLE_RATE))[0]


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError:
        raise missing_extra("sounddevice", "microphone", "the microphone") from None
    except OSError:
        raise IntervoxError(
            "the microphone needs the PortAudio library: install it, on Debian as libportaudio2"
        ) from None
    return sounddevice
