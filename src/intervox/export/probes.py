"""Clips to check a graph on where none are given: made by a formula, the same on every machine."""

import numpy as np
from scipy.signal import lfilter

from intervox.audio import SAMPLE_RATE, Waveform

_FORMANTS = ((300, 900), (900, 2300), (2400, 3200))
"""Ranges of the vocal tract's first three resonances in Hz."""


def probe(seconds: float, seed: int) -> Waveform:
    """Make something like speech: a voice of its own, a new sound every 50 to 200 ms.

    Glottal pulses or noise through three resonances (Fant 1960), pauses between them, and a noise
    floor 55 dB below: what a quantised graph gets wrong is quiet sounds, which steady tones lack.
    """
    random = np.random.default_rng(seed)
    size = round(seconds * SAMPLE_RATE)
    pitch, tract = random.uniform(85, 240), random.uniform(0.85, 1.2)
    phase = np.cumsum(
        pitch * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * np.arange(size) / SAMPLE_RATE)) / SAMPLE_RATE
    )
    pulses = np.diff(np.floor(phase), prepend=0)
    wave = np.zeros(size)
    start = 0
    while start < size:
        end = start + int(random.uniform(0.05, 0.2) * SAMPLE_RATE)
        kind = random.choice(["voiced", "voiceless", "pause"], p=[0.65, 0.25, 0.1])
        noise = random.normal(size=len(wave[start:end]))
        sound = {"voiced": pulses[start:end] + 0.003 * noise, "voiceless": 0.02 * noise, "pause": 0 * noise}[
            kind
        ]
        for low, high in _FORMANTS:
            sound = _resonance(sound, tract * random.uniform(low, high))
        wave[start:end] = sound * np.hanning(len(sound)) ** 0.2
        start = end
    peak = max(np.abs(wave).max(), 1e-3)
    return np.asarray(0.3 * wave / peak + 5e-4 * random.normal(size=size), np.float32)


def _resonance(sound: np.ndarray, frequency: float) -> np.ndarray:
    """Filter by a pair of poles, a tenth of the frequency wide."""
    radius = np.exp(-0.1 * np.pi * frequency / SAMPLE_RATE)
    poles = [1, -2 * radius * np.cos(2 * np.pi * frequency / SAMPLE_RATE), radius**2]
    return np.asarray(lfilter([1 - radius], poles, sound))
