"""Run an encoder over many clips: batches of like length under a duration budget, order restored."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import itemgetter
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.backbones.base import Backbone, HiddenStates
from intervox.clips.batches import by_length, groups
from intervox.clips.source import Clip, ClipSource, check_failures
from intervox.errors import IntervoxError
from intervox.features.store import (
    Features,
    Frames,
    frames_path,
    read_errors,
    shard_path,
    write_features,
)
from intervox.parallel import Pool, run_jobs
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
    pool: Pool | None = None,
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
    pool
        Ray's workers encode the shards where it is one of Ray; by default this process does. Clips are
        decoded here and written here; a backbone is loaded by each worker, under the same name.

    Raises
    ------
    IntervoxError
        More than ``settings.max_failures`` of the clips can't be read, or the disk is full.
    """
    run = settings.model_dump(exclude={"max_failures"})
    key = stable_hash([SCHEMA_VERSION, source.key, encoder.fingerprint, run, frames])
    step = StepFolder(folder, key)
    if not step.complete:
        _extract_shards(source, encoder, settings, folder, description, frames, pool or Pool())
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
    pool: Pool,
) -> None:
    # The frames of a shard are written first: where the shard is there, so are they.
    todo = [index for index in range(source.shard_count) if not shard_path(folder, index).exists()]
    share = source.clip_count / max(source.shard_count, 1)
    done = source.clip_count - round(share * len(todo))
    a_clip = _BYTES_A_NUMBER * encoder.layers * encoder.dim * (1 + frames * _LEAST_FRAMES)
    what = f"the features of {source.clip_count - done:,} clips"
    check_disk(what, (source.clip_count - done) * a_clip, folder, "free some, or take fewer clips")
    seconds, started = 0.0, time.monotonic()
    with progress_bar(description, source.clip_count, "clips") as bar:
        bar.advance(done)

        def keep(shard: EncodedShard) -> None:
            nonlocal seconds
            path = shard_path(folder, shard.index)
            write_features(path, shard.cell_ids, shard.means, shard.counts, shard.errors)
            seconds += shard.seconds
            bar.advance(len(shard.cell_ids), f"{seconds / (time.monotonic() - started):.0f} × real time")

        if pool.on_ray:
            work = partial(encode_elsewhere, _portable(encoder), settings, frames)

            def keep_all(found: tuple[EncodedShard, list[Frames] | None]) -> None:
                shard, states = found
                with _growing(folder, shard.index, encoder, states is not None) as append:
                    for each in states or ():
                        append(each)
                keep(shard)

            run_jobs(work, _waiting(source, todo), len(todo), pool, keep_all)
        else:
            for index, clips in _read_ahead(source, todo):
                with _growing(folder, index, encoder, frames) as append:
                    shard = encode_shard(encoder, settings, index, clips, append if frames else None)
                keep(shard)


@contextmanager
def _growing(
    folder: Path, index: int, encoder: Backbone | Encoder, frames: bool
) -> Iterator[Callable[[NDArray[np.floating]], None]]:
    """Open the file of a shard's frames, where they are kept."""
    if not frames:
        yield lambda _: None
        return
    with growing_npy(frames_path(folder, index), (encoder.layers, encoder.dim), np.float16) as append:
        yield append


def _read_ahead(source: ClipSource, todo: Sequence[int]) -> Iterator[tuple[int, list[Clip]]]:
    """Decode each shard while the one before it is encoded."""
    with ThreadPoolExecutor(1) as reader:
        upcoming = reader.submit(source.load_shard, todo[0]) if todo else None
        for position, index in enumerate(todo):
            assert upcoming is not None
            clips = upcoming.result()
            if position + 1 < len(todo):
                upcoming = reader.submit(source.load_shard, todo[position + 1])
            yield index, clips


def _waiting(source: ClipSource, todo: Sequence[int]) -> Iterator[tuple[int, list[Clip]]]:
    """Decode a shard whenever a worker is free for it: workers need no files of this machine."""
    return ((index, source.load_shard(index)) for index in todo)


@dataclass(frozen=True)
class EncodedShard:
    """What is written of a shard of clips.

    Attributes
    ----------
    means, counts
        Shapes (clips, layers, dim) and (clips,).
    seconds
        Of audio.
    """

    index: int
    cell_ids: list[int]
    means: NDArray[np.float32]
    counts: NDArray[np.int64]
    errors: list[str | None]
    seconds: float


@dataclass(frozen=True)
class _ByName:
    """A backbone that a worker loads itself, onto the device that it has."""

    name: str
    fingerprint: str

    def load(self) -> Backbone:
        backbone = _loaded_here(self.name)
        if backbone.fingerprint != self.fingerprint:
            raise IntervoxError(
                f"a worker has other weights of {self.name}: give all machines the same version of it"
            )
        return backbone


@lru_cache(1)
def _loaded_here(name: str) -> Backbone:
    from intervox.backbones.load import load_backbone

    return load_backbone(name)


def _portable(encoder: Backbone | Encoder) -> "_ByName | Encoder":
    return _ByName(encoder.name, encoder.fingerprint) if isinstance(encoder, Backbone) else encoder


def encode_elsewhere(
    encoder: "Encoder | _ByName", settings: FeatureSettings, frames: bool, job: tuple[int, list[Clip]]
) -> tuple[EncodedShard, list[Frames] | None]:
    """Encode one shard in a worker; its frames, where they are kept, come with it.

    Parameters
    ----------
    job
        The number of the shard, and its clips.
    """
    run = encoder.load() if isinstance(encoder, _ByName) else encoder
    if not frames:
        return encode_shard(run, settings, *job, None), None
    states: list[Frames] = []
    shard = encode_shard(run, settings, *job, lambda found: states.append(found.astype(np.float16)))
    return shard, states


def encode_shard(
    encoder: Backbone | Encoder,
    settings: FeatureSettings,
    index: int,
    clips: list[Clip],
    append: Callable[[NDArray[np.floating]], None] | None,
) -> EncodedShard:
    """Encode one shard's clips.

    Parameters
    ----------
    append
        Takes each clip's frames in order, of a backbone, where they are kept.
    """
    waves = [clip.wave for clip in clips if clip.wave is not None]
    good = [row for row, clip in enumerate(clips) if clip.wave is not None]
    means = np.zeros((len(clips), encoder.layers, encoder.dim), np.float32)
    counts = np.zeros(len(clips), np.int64)
    if append:
        assert isinstance(encoder, Backbone), "only a backbone has frames"
        for row, found in zip(good, clip_frames(encoder, waves, settings), strict=True):
            append(found)
            means[row], counts[row] = found.mean(axis=0), len(found)
    elif waves and isinstance(encoder, Backbone):
        means[good], counts[good] = layer_means(encoder, waves, settings)
    elif waves:
        means[good], counts[good] = encoder.encode(waves)
    cell_ids, errors = [clip.cell_id for clip in clips], [clip.error for clip in clips]
    seconds = sum(len(wave) for wave in waves) / SAMPLE_RATE
    return EncodedShard(index, cell_ids, means, counts, errors, seconds)


def cut_windows(wave: Waveform, settings: FeatureSettings) -> list[Waveform]:
    """Cut into equal windows, so that none is a mere remainder."""
    count = max(1, math.ceil(len(wave) / (settings.window_seconds * SAMPLE_RATE)))
    return np.array_split(wave, count)
