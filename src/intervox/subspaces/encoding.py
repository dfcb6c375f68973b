"""From waveforms to a model's vectors, through the backbone, a batch at a time."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from intervox.audio import Waveform
from intervox.backbones.base import Backbone
from intervox.features.extraction import clip_frames, layer_means
from intervox.recipe import FeatureSettings
from intervox.subspaces.heads import Heads

Vectors = NDArray[np.float32]


def encode_clips(
    heads: Heads, backbone: Backbone, waves: Sequence[Waveform], settings: FeatureSettings
) -> dict[str, Vectors]:
    """Embed clips of any length: subspace to unit vectors (clips, dim).

    Where a map reads frames, those of all windows of a clip are pooled together, one clip at a time.
    """
    if not heads.reads_frames:
        return heads.project(layer_means(backbone, waves, settings)[0])
    # What no clips give, so that there is something to join where there are none.
    parts = [heads.project(np.zeros((0, backbone.layers, backbone.dim), np.float32))]
    for frames in clip_frames(backbone, waves, settings):
        parts.append(heads.project_frames(frames[None], np.ones((1, len(frames)), bool)))
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
