"""How stable a keyword's example is: copies of it that are slightly disturbed."""

import numpy as np

from intervox.audio import MIN_SAMPLES, SAMPLE_RATE, SILENCE, Waveform

WEAK_STABILITY = 0.88
"""Below this, an example is weak: see ``KeywordSpotter.stability``. Chosen by Speech Commands' figures."""

_MARGIN = SAMPLE_RATE // 8
"""Samples of silence on either side of an example that is slightly disturbed."""


def disturbed(wave: Waveform) -> list[Waveform]:
    """Cut, surround and blur an example slightly.

    One copy lacks a tenth of its length at either end, one a seventh at the start, one a seventh at the
    end; one has silence around it, one white noise 15 dB below it.
    """
    tenth, seventh = len(wave) // 10, len(wave) // 7
    noise = np.random.default_rng(0).normal(size=len(wave)) * np.sqrt(np.mean(wave**2)) * 10 ** (-15 / 20)
    return [
        wave[tenth : len(wave) - tenth],
        wave[seventh:],
        wave[: len(wave) - seventh],
        np.pad(wave, _MARGIN),
        np.asarray(wave + noise, np.float32),
    ]


def may_hold_speech(wave: Waveform) -> bool:
    """Say whether a stretch of sound is long and loud enough to be embedded."""
    return len(wave) >= MIN_SAMPLES and bool(np.abs(wave).max() >= SILENCE)
