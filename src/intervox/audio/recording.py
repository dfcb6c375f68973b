"""What a decoder gives: channels at a rate of their own, block after block."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from intervox.errors import IntervoxError

Block = NDArray[np.float32]
"""Shape (samples, channels)."""

BLOCK_SAMPLES = 2**23
"""Of all channels together, at most in a block (32 MB), whatever a header says of rate and channels."""

MORE = math.inf
"""More seconds than there are, nobody knows how many."""


class Recording(ABC):
    """An open clip.

    ``promised`` is its length in seconds as its header has it, 0 where it has none, ``MORE`` where
    the end is missing; it holds once the blocks were read.
    """

    name: str
    rate: int
    promised: float = 0.0

    @abstractmethod
    def blocks(self, seconds: float) -> Iterator[Block]:
        """Decode it all, in blocks of about this length; what can't be decoded ends it early."""

    def duration(self) -> float:
        """Return its length in seconds without decoding it, or 0 where that can't be known."""
        return self.promised

    def close(self) -> None:  # noqa: B027  (an array has nothing to close)
        """Free what was opened."""


def unreadable(name: str, reason: object) -> IntervoxError:
    """Say that a file is none that can be decoded."""
    said = str(reason).split(": ")[-1].strip().rstrip(".") or type(reason).__name__
    return IntervoxError(f"{name} can't be read as audio ({said}): give a WAV, FLAC, OGG or MP3 file")


def joined(pieces: Iterable[Block], size: int) -> Iterator[Block]:
    """Put short pieces together to blocks of at least ``size`` samples."""
    kept: list[Block] = []
    length = 0
    for piece in pieces:
        kept.append(piece)
        length += len(piece)
        if length >= min(size, BLOCK_SAMPLES // piece.shape[1]):
            yield np.concatenate(kept)
            kept, length = [], 0
    if length:
        yield np.concatenate(kept)
