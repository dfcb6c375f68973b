"""From waveforms to a model's vectors, through the backbone, a batch at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike

import numpy as np
import torch
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE, AudioSource, Waveform, load_audio
from intervox.backbones.base import Backbone
from intervox.clips.batches import groups
from intervox.features.extraction import clip_frames, layer_means
from intervox.model.heads import Heads
from intervox.recipe import FeatureSettings

Vectors = NDArray[np.float32]

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


def load_groups(sources: Iterable[AudioSource], batch_seconds: float) -> Iterator[list[Waveform]]:
    """Yield the clips in order, as many at once as are embedded together; a source is read when needed."""
    most = _BATCHES_AT_ONCE * batch_seconds * SAMPLE_RATE
    return groups(map(load_audio, sources), len, lambda samples: samples >= most)


def encode_clips(
    heads: Heads, backbone: Backbone, waves: Sequence[Waveform], settings: FeatureSettings
) -> dict[str, Vectors]:
    """Embed one clip or more of any length: subspace to unit vectors (clips, dim).

    Where a map reads frames, those of all windows of a clip are pooled together, one clip at a time.
    """
    if not heads.reads_frames:
        return heads.project(layer_means(backbone, waves, settings)[0])
    parts = [
        heads.project_frames(frames[None], np.ones((1, len(frames)), bool))
        for frames in clip_frames(backbone, waves, settings)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in heads.subspaces}


def encode_frames(
    heads: Heads, backbone: Backbone, waves: Sequence[Waveform], settings: FeatureSettings
) -> dict[str, list[Vectors]]:
    """Embed every frame of clips of any length: subspace to one array (frames, dim) a clip."""
    found: dict[str, list[Vectors]] = {name: [] for name in heads.subspaces}
    for frames in clip_frames(backbone, waves, settings):
        with torch.inference_mode():
            vectors = heads.per_frame(torch.from_numpy(frames).to(heads.mean.device))
        for name, part in vectors.items():
            found[name].append(part.cpu().numpy())
    return found
