"""From sources to a model's vectors, through the backbone, a batch at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import nullcontext
from os import PathLike

import numpy as np

from intervox.audio import SAMPLE_RATE, AudioSource, Waveform, load_audio
from intervox.backbones.base import Backbone
from intervox.clips.batches import groups
from intervox.errors import IntervoxError
from intervox.features.extraction import clip_frames, layer_means
from intervox.metrics.vectors import Vectors
from intervox.model.heads import Heads
from intervox.progress import progress_bar
from intervox.recipe import FeatureSettings

_BATCHES_AT_ONCE = 30
"""How many batches' waveforms are in memory: enough of them that most find others of their length."""


def is_one_clip(sources: object) -> bool:
    """Whether someone gave a clip where a collection of clips is wanted."""
    return (
        isinstance(sources, str | bytes | bytearray | memoryview | PathLike | Mapping)
        or hasattr(sources, "read")
        or getattr(sources, "ndim", 2) < 2
        or (isinstance(sources, tuple) and len(sources) == 2 and isinstance(sources[1], int))
    )


def check_sources(sources: object, batch_seconds: float) -> None:
    """Raise an ``IntervoxError`` unless these are clips that can be embedded under a budget."""
    if not batch_seconds > 0:
        raise IntervoxError(f"batch_seconds is {batch_seconds}: give a number of seconds above 0")
    if is_one_clip(sources):
        raise IntervoxError("encode takes a list of clips: write encode([clip])")
    if not isinstance(sources, Iterable):
        raise IntervoxError(f"encode takes clips, not {sources!r}: give a list, or anything that yields them")


def encode_stream(
    heads: Heads,
    backbone: Backbone,
    sources: Iterable[AudioSource],
    settings: FeatureSettings,
    frames: bool,
    show_progress: bool,
) -> Iterator[dict[str, Vectors]]:
    """Embed clips in order, many batches of them at once; a source is read when it is needed.

    Yields
    ------
    dict
        For each clip, subspace to a unit vector (dim,), with ``frames`` to one a frame (frames, dim).
    """
    most = _BATCHES_AT_ONCE * settings.batch_seconds * SAMPLE_RATE
    embed = _encode_frames if frames else _encode_clips
    total = len(sources) if isinstance(sources, Sized) else None
    with progress_bar("embedding", total, "clips") if show_progress else nullcontext() as bar:
        for waves in groups(map(load_audio, sources), len, lambda samples: samples >= most):
            vectors = embed(heads, backbone, waves, settings)
            if bar is not None:
                bar.advance(len(waves))
            for row in range(len(waves)):
                yield {name: values[row] for name, values in vectors.items()}


def _encode_clips(
    heads: Heads, backbone: Backbone, waves: Sequence[Waveform], settings: FeatureSettings
) -> Mapping[str, Vectors | Sequence[Vectors]]:
    """Where a map reads frames, those of all windows of a clip are pooled together, one clip at a time."""
    if not heads.reads_frames:
        return heads.project(layer_means(backbone, waves, settings)[0])
    parts = [
        heads.project(frames[None], np.ones((1, len(frames)), bool))
        for frames in clip_frames(backbone, waves, settings)
    ]
    return {name: [part[name][0] for part in parts] for name in heads.subspaces}


def _encode_frames(
    heads: Heads, backbone: Backbone, waves: Sequence[Waveform], settings: FeatureSettings
) -> Mapping[str, Vectors | Sequence[Vectors]]:
    found: dict[str, list[Vectors]] = {name: [] for name in heads.subspaces}
    for frames in clip_frames(backbone, waves, settings):
        # ``project`` of frames takes each as a clip of its own.
        for name, vectors in heads.project(frames).items():
            found[name].append(vectors)
    return found
