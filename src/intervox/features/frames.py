"""Every frame of a few clips: what frame-level measures need, and far too much to keep of a corpus."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE
from intervox.backbones.base import Backbone
from intervox.clips.source import ClipSource
from intervox.storage import StepFolder, atomic_path, stable_hash

SCHEMA_VERSION = 1
BATCH_CLIPS = 16

Frames = NDArray[np.float16]


def extract_frames(
    source: ClipSource, rows: Sequence[int], backbone: Backbone, folder: Path, seconds: float = 4.0
) -> list[Frames]:
    """Cache the layers of every frame of some clips, or read them from an earlier call.

    Parameters
    ----------
    source
        Where the clips come from; all of them decode.
    rows
        Ascending numbers of the clips.
    folder
        Where ``frames.npy`` (frames of all clips, layers, dim) and ``counts.npy`` go: 50 clips of a
        second take about 12 MB for Whisper tiny.
    seconds
        Clips are cut after as many; the bound of the folder's size.

    Returns
    -------
    list of ndarray
        One array (frames, layers, dim) a row, memory-mapped.
    """
    key = stable_hash([SCHEMA_VERSION, source.key, list(map(int, rows)), backbone.fingerprint, seconds])
    step = StepFolder(folder, key)
    if not step.complete:
        _write(source, rows, backbone, folder, seconds)
        step.finish()
    frames = np.load(folder / "frames.npy", mmap_mode="r")
    return np.split(frames, np.cumsum(np.load(folder / "counts.npy"))[:-1])


def _write(source: ClipSource, rows: Sequence[int], backbone: Backbone, folder: Path, seconds: float) -> None:
    wanted, waves = set(map(int, rows)), {}
    for shard in range(source.shard_count):
        for clip in source.load_shard(shard):
            if clip.cell_id in wanted and clip.wave is not None:
                waves[clip.cell_id] = clip.wave[: round(seconds * SAMPLE_RATE)]
    order = sorted(wanted, key=lambda row: len(waves[row]))
    found: dict[int, Frames] = {}
    for start in range(0, len(order), BATCH_CLIPS):
        batch = order[start : start + BATCH_CLIPS]
        states = backbone.forward([waves[row] for row in batch])
        for row, layers, count in zip(batch, states.layers, states.frames, strict=True):
            found[row] = layers[:, : int(count)].transpose(0, 1).half().cpu().numpy()
    frames = np.concatenate([found[int(row)] for row in rows])
    with atomic_path(folder / "frames.npy") as path:
        mapped = open_memmap(path, mode="w+", dtype=frames.dtype, shape=frames.shape)
        mapped[:] = frames
        mapped.flush()
    with atomic_path(folder / "counts.npy") as path, path.open("wb") as file:
        np.save(file, np.array([len(found[int(row)]) for row in rows]))
