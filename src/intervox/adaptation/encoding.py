"""From waveforms to vectors with a gradient all the way back to the backbone's weights."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from intervox.adaptation.cached import Vectors
from intervox.audio import SAMPLE_RATE, Waveform
from intervox.backbones.base import Backbone
from intervox.features.extraction import cut_windows
from intervox.recipe import FeatureSettings
from intervox.subspaces.model import SubspaceModel


def encode_with_gradient(
    model: SubspaceModel,
    backbone: Backbone,
    waves: Sequence[Waveform],
    settings: FeatureSettings,
    highest: int,
) -> Vectors:
    """Embed clips in one batch, as ``SubspaceModel.encode`` embeds them.

    Parameters
    ----------
    waves
        Cut into windows of at most ``settings.window_seconds``, as for the feature cache.
    highest
        Last layer that the model uses: the backbone's forward ends there.
    """
    windows = [cut_windows(wave, settings) for wave in waves]
    states = backbone.states([part for parts in windows for part in parts], highest)
    clips, mask = _join(states.layers, states.frames, [len(parts) for parts in windows])
    # Higher layers are of no subspace: what stands there does not matter.
    vectors: Vectors = model(pad(clips, (0, 0, 0, backbone.layers - 1 - highest)), mask)
    return vectors


def _join(layers: Tensor, frames: Tensor, windows: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Put the real frames of each clip's windows in a row: (clips, time, layers, dim), and a mask."""
    real = [part[:, :count].transpose(0, 1) for part, count in zip(layers, frames.tolist(), strict=True)]
    ends = torch.tensor(windows).cumsum(0).tolist()
    clips = [torch.cat(real[end - count : end]) for end, count in zip(ends, windows, strict=True)]
    lengths = torch.tensor([len(clip) for clip in clips], device=layers.device)
    padded = pad_sequence(clips, batch_first=True)
    return padded, torch.arange(padded.shape[1], device=layers.device) < lengths[:, None]


def micro_batches(waves: Sequence[Waveform], settings: FeatureSettings) -> list[list[int]]:
    """Group clips of like length so that a group's padded windows stay under ``batch_seconds``.

    A clip that is longer than that on its own is a group of its own.
    """
    windows = [cut_windows(wave, settings) for wave in waves]
    batches: list[list[int]] = []
    count = 0
    for number in sorted(range(len(waves)), key=lambda number: len(windows[number][0])):
        longest = len(windows[number][0])
        count += len(windows[number])
        if not batches or count * longest > settings.batch_seconds * SAMPLE_RATE:
            batches.append([])
            count = len(windows[number])
        batches[-1].append(number)
    return batches
