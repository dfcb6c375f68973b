"""A model that finds in each clip the vector that a test has put there."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intervox.audio import SAMPLE_RATE, Waveform, load_audio
from intervox.model.model import SubspaceModel

DIM = 8
CALIBRATION = [20.0, -10.0, 1.0, 0.5, 3.0]
"""Slope, offset, shorter, longer, accept_at."""


class Given(SubspaceModel):
    """A model whose speaker vector is what the first samples of a clip say."""

    def __init__(self) -> None:
        settings = {"factor": "speaker", "layers": [0], "dim": DIM}
        super().__init__("none", 1, 1, {"speaker": settings}, calibration={"speaker": CALIBRATION})
        self.embedded = 0
        for weights in self.parameters():
            weights.data.zero_()  # every one is the same model

    def ready(self) -> None:
        pass

    def encode(self, sources: Iterable[Any], *_: Any, **__: Any) -> dict[str, Any]:
        rows = [load_audio(source)[:DIM] for source in sources]
        self.embedded += len(rows)
        vectors = np.array(rows, np.float32).reshape(-1, DIM)
        return {"speaker": vectors / np.linalg.norm(vectors, axis=1, keepdims=True)}


def clip(vector: ArrayLike, seconds: float = 1.0) -> Waveform:
    """Return a clip that is heard as a vector."""
    wave = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    given = np.asarray(vector, np.float32)
    wave[: len(given)] = given
    return wave


def near(name: int, closeness: float, seed: int = 0) -> NDArray[np.float32]:
    """Return a unit vector that has a cosine with an axis, and is drawn otherwise."""
    rest = np.random.default_rng(seed).normal(size=DIM)
    rest[name] = 0
    rest *= np.sqrt(1 - closeness**2) / np.linalg.norm(rest)
    rest[name] = closeness
    return np.asarray(rest, np.float32)
