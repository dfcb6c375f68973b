"""Sound that comes through a pipe while it is going on."""

import sys
from collections.abc import Iterator

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE
from intervox.errors import IntervoxError

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
