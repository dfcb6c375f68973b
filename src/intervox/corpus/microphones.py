"""Generated microphones: a frequency response and a noise floor of their own, drawn from a seed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROLL_OFF_HZ, PRESENCE_DB, RIPPLE_DB, NOISE_DB = 300.0, 9.0, 2.0, (75.0, 30.0)
"""What the worst microphone has: bass cut-off, presence peak, ripple a term; noise of best and worst."""


@dataclass(frozen=True)
class Microphone:
    """How one microphone colours what it records.

    Attributes
    ----------
    index
        Its place in the bank.
    severity
        0 (flat and silent) to 1: scales everything below.
    roll_off, presence
        0 to 1, shares of ``ROLL_OFF_HZ`` and ``PRESENCE_DB``.
    presence_hz
        Where the presence peak lies.
    ripple
        Terms of a cosine series over log frequency, each a multiple of ``RIPPLE_DB``.
    """

    index: int
    severity: float
    roll_off: float
    presence: float
    presence_hz: float
    ripple: tuple[float, ...]

    @property
    def snr_db(self) -> float:
        """Ratio of the speech's mean power to that of the self-noise."""
        return NOISE_DB[0] + self.severity * (NOISE_DB[1] - NOISE_DB[0])

    def gains_db(self, frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
        """Frequency response at ``frequencies`` in Hz."""
        audible = np.maximum(frequencies, 20.0)
        corner = self.severity * self.roll_off * ROLL_OFF_HZ
        bass = -10 * np.log10(1 + (corner / audible) ** 4)
        peak = self.presence * PRESENCE_DB * np.exp(-12 * np.log10(audible / self.presence_hz) ** 2)
        place = np.pi * np.log(audible / 20.0) / np.log(400.0)
        ripple = sum(RIPPLE_DB * term * np.cos(k * place) for k, term in enumerate(self.ripple, start=1))
        return np.asarray(bass + self.severity * (peak + ripple))

    def __str__(self) -> str:
        return f"mic:{self.index}({self.severity:.2f})"


def draw_microphone(seed: int, index: int) -> Microphone:
    """Return microphone ``index`` of a seed's bank."""
    random = np.random.default_rng([seed, index, 6])
    return Microphone(
        index,
        severity=float(random.uniform()),
        roll_off=float(random.uniform(0.3, 1.0)),
        presence=float(random.uniform(0.0, 1.0)),
        presence_hz=float(random.uniform(2000, 6000)),
        ripple=tuple(random.normal(size=6).tolist()),
    )
