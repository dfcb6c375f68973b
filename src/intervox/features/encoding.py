"""Run an encoder on clips of any length: windows, batches of like length, shards, here or in a worker."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.backbones.base import Backbone, HiddenStates
from intervox.clips.batches import by_length, groups
from intervox.clips.source import Clip
from intervox.errors import IntervoxError
from intervox.features.store import Frames
from intervox.recipe import FeatureSettings

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


def cut_windows(wave: Waveform, settings: FeatureSettings) -> list[Waveform]:
    """Cut into equal windows, so that none is a mere remainder."""
    count = max(1, math.ceil(len(wave) / (settings.window_seconds * SAMPLE_RATE)))
    return np.array_split(wave, count)


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
class ByName:
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


def portable(encoder: Backbone | Encoder) -> "ByName | Encoder":
    """Return what is sent to a worker in an encoder's place."""
    return ByName(encoder.name, encoder.fingerprint) if isinstance(encoder, Backbone) else encoder


def encode_elsewhere(
    encoder: "Encoder | ByName", settings: FeatureSettings, frames: bool, job: tuple[int, list[Clip]]
) -> tuple[EncodedShard, list[Frames] | None]:
    """Encode one shard in a worker; its frames, where they are kept, come with it.

    Parameters
    ----------
    job
        The number of the shard, and its clips.
    """
    run = encoder.load() if isinstance(encoder, ByName) else encoder
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
    elif waves:
        means[good], counts[good] = (
            layer_means(encoder, waves, settings) if isinstance(encoder, Backbone) else encoder.encode(waves)
        )
    cell_ids, errors = [clip.cell_id for clip in clips], [clip.error for clip in clips]
    seconds = sum(len(wave) for wave in waves) / SAMPLE_RATE
    return EncodedShard(index, cell_ids, means, counts, errors, seconds)
