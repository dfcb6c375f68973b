"""Clips of a visitor: read within limits, and refused in a sentence that names no place on the machine."""

import io
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from intervox.audio import SAMPLE_RATE, Waveform, load_audio, stream_audio
from intervox.errors import IntervoxError


@dataclass(frozen=True)
class Limits:
    """What a visitor may give: the size of a file, the length of a clip."""

    megabytes: float = 25.0
    minutes: float = 10.0

    @property
    def bytes(self) -> int:
        """The size in bytes; a megabyte has 2^20, as the browser counts."""
        return round(self.megabytes * 2**20)


def read_clip(path: str | None, name: str, limits: Limits) -> Waveform:
    """Read an uploaded clip: mono at 16 kHz.

    Parameters
    ----------
    path
        Where the page's server put it; None where the visitor gave nothing.
    name
        What to call it in messages, such as ``the first clip``.

    Raises
    ------
    IntervoxError
        The clip is missing, too large, too long, undecodable, empty, silent or not finite.
    """
    if path is None:
        raise IntervoxError(f"{name} is missing: upload or record it")
    try:
        clip = io.BytesIO(Path(path).read_bytes())
    except OSError:
        raise IntervoxError(f"{name} is no longer here: give it again") from None
    if clip.getbuffer().nbytes > limits.bytes:
        raise IntervoxError(f"{name} is larger than {limits.megabytes:g} MB: give a smaller file")
    clip.name = name
    most = round(60 * limits.minutes * SAMPLE_RATE)
    # A few megabytes may decode to days: count first, and stop counting at the limit.
    if any(length > most for length in accumulate(map(len, stream_audio(clip)))):
        minutes = limits.minutes
        length = f"{minutes:g} minutes" if minutes > 1 else f"{60 * minutes:g} seconds"
        raise IntervoxError(f"{name} is longer than {length}: give a shorter piece")
    clip.seek(0)
    return load_audio(clip)
