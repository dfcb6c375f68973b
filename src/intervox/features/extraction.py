"""Run an encoder over many clips: batches of like length under a duration budget, order restored."""

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.backbones.base import Backbone, HiddenStates
from intervox.clips.batches import by_length, groups
from intervox.clips.source import ClipSource, check_failures
from intervox.features.store import Features, frames_path, read_errors, shard_path, write_features
from intervox.progress import progress_bar
from intervox.recipe import FeatureSettings
from intervox.storage import StepFolder, check_disk, growing_npy, stable_hash, write_json

SCHEMA_VERSION = 1

_BYTES_A_NUMBER = 2
_LEAST_FRAMES = 10
"""Of a clip: a fifth of a second."""

_BATCHES_AT_ONCE = 4
"""How many batches' clips have all their frames in memory."""


class Encoder(Protocol):
    """Whatever turns waveforms into vectors that can be cached; a backbone is run as one.

    Attributes
    ----------
    name
        What people call it.
    layers, dim
        Shape of one clip's vectors.
    fingerprint
        Changes whenever the vectors would; they are cached under it.
    """

    name: str
    layers: int
    dim: int
    fingerprint: str

    def encode(self, waves: Sequence[Waveform]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Embed clips of any length.

        Returns
        -------
        means, frames
            Shapes (clips, layers, dim) and (clips,); ``frames`` is how much speech is behind a
            vector, at least 1.
        """


def masked_mean(states: HiddenStates) -> torch.Tensor:
    """Average each layer over the clip's real frames: (batch, layers, dim)."""
    size = states.layers.shape[2]
    real = torch.arange(size, device=states.frames.device) < states.frames[:, None]
    weights = real.to(states.layers.dtype) / states.frames[:, None]
    return torch.einsum("bltd,bt->bld", states.layers, weights)


def layer_means(
    backbone: Backbone, waves: Sequence[Waveform], settings: FeatureSettings
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Embed clips of any length as the time-means of every layer.

    Parameters
    ----------
    backbone
        The frozen encoder.
    waves
        Clips of any length.
    settings
        A clip longer than ``window_seconds`` is cut into windows whose means are averaged by their
        frame counts. The padded length of a batch stays under ``batch_seconds``, or is one window.

    Returns
    -------
    means, frames
        Shapes (clips, layers, dim) and (clips,), in the order of ``waves``.
    """
    sums = np.zeros((len(waves), backbone.layers, backbone.dim), np.float64)
    frames = np.zeros(len(waves), np.int64)
    for owners, _, states in _run(backbone, waves, settings):
        means = masked_mean(states).double().cpu().numpy()
        counts = states.frames.cpu().numpy()
        for owner, mean, count in zip(owners, means, counts, strict=True):
            sums[owner] += mean * count
            frames[owner] += count
    return (sums / np.maximum(frames, 1)[:, None, None]).astype(np.float32), frames


def clip_frames(
    backbone: Backbone, waves: Sequence[Waveform], settings: FeatureSettings
) -> Iterator[NDArray[np.float32]]:
    """Yield every frame of clips of any length, shape (frames, layers, dim), in the order of ``waves``.

    The frames of a clip's windows follow one another. Memory is that of a few batches' frames.
    """
    most = _BATCHES_AT_ONCE * settings.batch_seconds * SAMPLE_RATE
    for group in groups(waves, len, lambda samples: samples >= most):
        yield from _frames(backbone, group, settings)


def _frames(
    backbone: Backbone, waves: Sequence[Waveform], settings: FeatureSettings
) -> list[NDArray[np.float32]]:
    windows: list[list[tuple[int, NDArray[np.float32]]]] = [[] for _ in waves]
    for owners, starts, states in _run(backbone, waves, settings):
        layers = states.layers.transpose(1, 2).cpu().numpy()
        for owner, start, found, count in zip(owners, starts, layers, states.frames.tolist(), strict=True):
            windows[owner].append((start, found[:count]))
    return [np.concatenate([part for _, part in sorted(clip, key=itemgetter(0))]) for clip in windows]


def _run(
    backbone: Backbone, waves: Sequence[Waveform], settings: FeatureSettings
) -> Iterator[tuple[list[int], list[int], HiddenStates]]:
    """Encode all windows, in batches of like length; which clips they are of, and their order there."""
    windows = [
        (clip, number, part)
        for clip, wave in enumerate(waves)
        for number, part in enumerate(cut_windows(wave, settings))
    ]
    lengths = [len(part) for _, _, part in windows]
    for batch in by_length(lengths, settings.batch_seconds * SAMPLE_RATE):
        clips, numbers, parts = zip(*(windows[position] for position in batch), strict=True)
        yield list(clips), list(numbers), backbone.forward(parts)


def extract(
    source: ClipSource,
    encoder: Backbone | Encoder,
    settings: FeatureSettings,
    folder: Path,
    description: str = "extracting",
    frames: bool = False,
) -> Features:
    """Cache the vectors of every clip of a source, or go on where an earlier call stopped.

    While one shard is encoded, the next one is decoded. A clip that can't be read keeps its reason
    in the shard's ``error`` column, and has no frames.

    Parameters
    ----------
    encoder
        A backbone, whose layer means are taken as ``settings`` say, or any other encoder.
    frames
        Whether to keep every frame of a backbone beside the means, for maps that pool frames
        themselves: 2 bytes a number, so Whisper tiny (50 frames a second, 6 layers of 384) takes
        0.83 GB an hour of speech, where its means take 4.6 kB a clip.

    Raises
    ------
    IntervoxError
        More than ``settings.max_failures`` of the clips can't be read, or the disk is full.
    """
    run = settings.model_dump(exclude={"max_failures"})
    key = stable_hash([SCHEMA_VERSION, source.key, encoder.fingerprint, run, frames])
    step = StepFolder(folder, key)
    if not step.complete:
        _extract_shards(source, encoder, settings, folder, description, frames)
        # Before features.json, which declares the features usable by the next step.
        failed = list(read_errors(folder).values())
        what = f"clips of {description}"
        check_failures(failed, source.clip_count, what, settings.max_failures, source.failed)
        write_json(
            folder / "features.json",
            {
                "schema": SCHEMA_VERSION,
                "key": key,
                "source": source.key if isinstance(source.key, str) else stable_hash(source.key),
                "backbone": encoder.name,
                "fingerprint": encoder.fingerprint,
                "layers": encoder.layers,
                "dim": encoder.dim,
                "window_seconds": settings.window_seconds,
                "clips": source.clip_count,
                "frames": frames,
            },
        )
        step.finish()
    return Features(folder)


def _extract_shards(
    source: ClipSource,
    encoder: Backbone | Encoder,
    settings: FeatureSettings,
    folder: Path,
    description: str,
    frames: bool,
) -> None:
    # The frames of a shard are written first: where the shard is there, so are they.
    todo = [index for index in range(source.shard_count) if not shard_path(folder, index).exists()]
    share = source.clip_count / max(source.shard_count, 1)
    done = source.clip_count - round(share * len(todo))
    a_clip = _BYTES_A_NUMBER * encoder.layers * encoder.dim * (1 + frames * _LEAST_FRAMES)
    what = f"the features of {source.clip_count - done:,} clips"
    check_disk(what, (source.clip_count - done) * a_clip, folder, "free some, or take fewer clips")
    seconds = 0.0
    with (
        ThreadPoolExecutor(1) as reader,
        progress_bar(description, source.clip_count, "clips") as bar,
    ):
        bar.advance(done)
        started = time.monotonic()
        upcoming = reader.submit(source.load_shard, todo[0]) if todo else None
        for position, index in enumerate(todo):
            assert upcoming is not None
            clips = upcoming.result()
            if position + 1 < len(todo):
                upcoming = reader.submit(source.load_shard, todo[position + 1])
            waves = [clip.wave for clip in clips if clip.wave is not None]
            good = [row for row, clip in enumerate(clips) if clip.wave is not None]
            means = np.zeros((len(clips), encoder.layers, encoder.dim), np.float32)
            counts = np.zeros(len(clips), np.int64)
            if frames:
                means[good], counts[good] = _keep_frames(encoder, waves, settings, frames_path(folder, index))
            elif waves:
                means[good], counts[good] = _encode(encoder, waves, settings)
            write_features(
                shard_path(folder, index),
                [clip.cell_id for clip in clips],
                means,
                counts,
                [clip.error for clip in clips],
            )
            seconds += sum(len(wave) for wave in waves) / SAMPLE_RATE
            bar.advance(len(clips), f"{seconds / (time.monotonic() - started):.0f} × real time")


def _encode(
    encoder: Backbone | Encoder, waves: Sequence[Waveform], settings: FeatureSettings
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    if isinstance(encoder, Backbone):
        return layer_means(encoder, waves, settings)
    return encoder.encode(waves)


def _keep_frames(
    encoder: Backbone | Encoder, waves: Sequence[Waveform], settings: FeatureSettings, path: Path
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Write the frames of a shard's clips; returns their means and counts, as ``layer_means`` does."""
    assert isinstance(encoder, Backbone), "only a backbone has frames"
    means = np.zeros((len(waves), encoder.layers, encoder.dim), np.float32)
    counts = np.zeros(len(waves), np.int64)
    with growing_npy(path, (encoder.layers, encoder.dim), np.float16) as append:
        for row, found in enumerate(clip_frames(encoder, waves, settings)):
            append(found)
            means[row], counts[row] = found.mean(axis=0), len(found)
    return means, counts


def cut_windows(wave: Waveform, settings: FeatureSettings) -> list[Waveform]:
    """Cut into equal windows, so that none is a mere remainder."""
    count = max(1, math.ceil(len(wave) / (settings.window_seconds * SAMPLE_RATE)))
    return np.array_split(wave, count)
