"""Channels of any type become one of floats."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intervox.audio.limits import Waveform
from intervox.errors import IntervoxError

_CANCELLED = 0.25
"""Of the power that unrelated channels would leave in their mean, the share below which they cancel."""

_RECOVERED = 0.5
"""The share above which they no longer do: between both nothing changes."""

_MEMORY_SECONDS = 10.0
"""How far back a stream's choice looks, so that a short chunk alone decides nothing."""

_LOUDER = 4.0
"""Ratio of powers at which another channel takes over from the chosen one."""


def to_floats(samples: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Bring numbers of any type to the scale of [-1, 1], shaped (samples, channels)."""
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "fiu":
        raise IntervoxError(
            f"{name} has shape {samples.shape} and type {samples.dtype}: give numbers shaped "
            "(samples,) or (samples, channels)"
        )
    if samples.ndim == 2 and not 1 <= samples.shape[1] <= 32:
        raise IntervoxError(
            f"{name} has {samples.shape[1]} channels: give shape (samples, channels), not its transpose"
        )
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, and is refused
        floats = samples.astype(np.float32, copy=False)
    if samples.dtype.kind in "iu":
        half = np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
        floats = (floats - half if samples.dtype.kind == "u" else floats) / half
    return floats if floats.ndim == 2 else floats[:, None]


class Downmix:
    """Mixes the channels of one recording, block after block.

    The mean, unless the channels cancel each other, as with opposite phases: then the loudest one.
    They cancel where their mean has less than a quarter of the power that unrelated channels would
    leave in it. What counts is the sound of the last ten seconds or so, the block included; the
    choice changes only between blocks, and only when it is clearly wrong.

    Parameters
    ----------
    rate
        Of the recording, in Hz.
    """

    def __init__(self, rate: int) -> None:
        self._memory = _MEMORY_SECONDS * rate
        self._powers: NDArray[np.float64] | None = None
        self._summed = 0.0
        self._channel: int | None = None

    def mix(self, block: NDArray[np.float32]) -> Waveform:
        """Mix a block shaped (samples, channels)."""
        if block.shape[1] == 1:
            return block[:, 0]
        total = block.sum(axis=1)
        powers = np.einsum("ij,ij->j", block, block, dtype=np.float64)
        summed = float(np.einsum("i,i->", total, total, dtype=np.float64))
        self._choose(powers, summed, np.exp(-len(block) / self._memory))
        if self._channel is None:
            return np.asarray(total / np.float32(block.shape[1]))
        return np.ascontiguousarray(block[:, self._channel])

    def _choose(self, powers: NDArray[np.float64], summed: float, kept: float) -> None:
        if self._powers is not None:
            if len(self._powers) != len(powers):  # a live source may change its channels
                self._channel = None
            else:
                powers, summed = powers + kept * self._powers, summed + kept * self._summed
        self._powers, self._summed = powers, summed
        # The power of the sum of unrelated channels is the sum of their powers.
        share = summed / powers.sum() if powers.any() else 1.0
        if self._channel is not None and share > _RECOVERED:
            self._channel = None
        elif self._channel is not None or share < _CANCELLED:
            loudest = int(powers.argmax())
            if self._channel is None or powers[loudest] > _LOUDER * powers[self._channel]:
                self._channel = loudest
