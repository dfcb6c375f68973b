"""Small pictures of clips: log-mel spectrograms as PNG, all on one scale of time, pitch and level."""

import io
from functools import cache

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from intervox.audio import SAMPLE_RATE, Waveform

BANDS = 48
FRAMES_PER_SECOND = 50
FLOOR_DB, CEILING_DB = -70.0, 20.0
"""Of the mel power of a clip whose samples lie in [-1, 1]; fixed, so that levels can be compared."""

_FRAME = 512
_LEVELS = 48


def spectrogram_png(wave: Waveform) -> bytes:
    """Draw a clip: one column of pixels every 20 ms, one row a mel band, the lowest at the bottom."""
    window, filters = _analysis()
    power = spectrogram(
        wave,
        window,
        frame_length=_FRAME,
        hop_length=SAMPLE_RATE // FRAMES_PER_SECOND,
        power=2.0,
        mel_filters=filters,
        log_mel="dB",
        min_value=1e-10,
    )
    scaled = (power[::-1] - FLOOR_DB) / (CEILING_DB - FLOOR_DB)
    picture = Image.fromarray((scaled.clip(0, 1) * (_LEVELS - 1)).round().astype(np.uint8))
    picture.putpalette(_palette())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


@cache
def _analysis() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    filters = mel_filter_bank(_FRAME // 2 + 1, BANDS, 0.0, SAMPLE_RATE / 2, SAMPLE_RATE)
    return window_function(_FRAME, "hann"), filters


@cache
def _palette() -> bytes:
    colours = matplotlib.colormaps["magma"](np.linspace(0, 1, _LEVELS), bytes=True)
    return bytes(np.asarray(colours)[:, :3].tobytes())
