"""Bounds of what is taken for sound, the same for files, arrays and live chunks."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intervox.errors import IntervoxError

SAMPLE_RATE = 16_000
MIN_SAMPLES = 400
"""25 ms: one analysis window of every supported backbone."""

MIN_RATE = 1_000
"""In Hz. Below it a rate was given in kHz, or is no rate; no speech survives it either."""

MAX_RATE = 768_000
"""In Hz. The fastest converters; above it a header is damaged."""

MAX_HOURS = 3
"""Of one clip: its waveform, 0.7 GB, is kept in memory. Streams may be of any length."""

SILENCE = 1e-5
"""A clip whose peak stays below this (-100 dBFS) carries no speech."""

MAX_PEAK = 8.0
"""Floats that clip reach 1 or somewhat more, integers written as floats without scaling far more."""

_DAMAGED_PEAK = 2.0**32
"""Above it lies the range of no integers either."""

Waveform = NDArray[np.float32]
"""Shape (samples,), mono, 16 kHz, nominally within [-1, 1]."""


def whole_rate(rate: Any, name: str) -> int:
    """Check a sample rate, which may be a whole number as a float."""
    number = isinstance(rate, int | float | np.integer | np.floating) and not isinstance(rate, bool)
    if not number or not MIN_RATE <= rate <= MAX_RATE or rate != int(rate):
        raise IntervoxError(
            f"{name} has sample rate {rate!r}: give it in Hz, as a whole number from {MIN_RATE:,} "
            f"to {MAX_RATE:,}"
        )
    return int(rate)


def check_samples(samples: NDArray[np.float32], name: str) -> None:
    """Refuse what isn't finite, or so loud that it has another scale or is damaged."""
    peak = float(np.abs(samples).max(initial=0.0))
    if not np.isfinite(peak):
        raise IntervoxError(f"{name} holds NaN or infinite samples: write the file again")
    if peak > _DAMAGED_PEAK:
        raise IntervoxError(f"{name} is damaged, with samples up to {peak:.3g}: write the file again")
    if peak > MAX_PEAK:
        raise IntervoxError(
            f"{name} holds samples up to {peak:,.5g} instead of 1: divide floats by their scale, 32,768 "
            "for 16 bits, or write a damaged file again"
        )
