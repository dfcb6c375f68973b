"""Backbones as PyTorch modules of one clip, waveform in, which can be traced into a graph.

A clip alone needs no masks, whatever its length: batches, and all that keeps them from changing a
clip, stay in ``intervox.backbones``. Only the layers that are read are kept.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from intervox.backbones.base import Backbone, record_layers
from intervox.backbones.wav2vec2 import Wav2Vec2Backbone
from intervox.backbones.whisper import WhisperBackbone
from intervox.errors import IntervoxError

_FFT = 400
_HOP = 160
_LEAST_POWER = 1e-10
_RANGE = 8.0
"""Decades below a clip's loudest mel band at which its log-mel ends."""


class WhisperEncoder(nn.Module):
    """Log-mel, convolutions and transformer of a Whisper encoder.

    The Fourier transform is a convolution with windowed sines and cosines: a runtime has that
    everywhere and fast, other than a transform of 400 points. All of it is fp32, as in PyTorch.

    Parameters
    ----------
    backbone
        Its modules are used, and changed.
    highest
        Last layer to compute.
    longest
        Samples of the longest clip; the positional table ends there.
    """

    basis: Tensor
    filters: Tensor
    positions: Tensor

    def __init__(self, backbone: WhisperBackbone, highest: int, longest: int) -> None:
        super().__init__()
        encoder = backbone.model
        self.convolutions = nn.ModuleList([encoder.conv1, encoder.conv2])
        self.blocks = encoder.layers[:highest]
        self.norm = encoder.layer_norm if highest > len(encoder.layers) else None
        frames = math.ceil(math.ceil(longest / _HOP) / 2)
        self.register_buffer("positions", encoder.embed_positions.weight[:frames].clone())
        self.register_buffer("basis", _fourier_basis())
        self.register_buffer("filters", torch.from_numpy(backbone._features.mel_filters.T.copy()).float())

    def forward(self, wave: Tensor) -> Tensor:
        """Encode a clip (samples,) to (frames, layers, dim), 50 frames a second."""
        hidden = self._mel(wave)[None]
        for convolution in self.convolutions:
            hidden = nn.functional.gelu(convolution(hidden))
        hidden = hidden.transpose(1, 2)
        states = [hidden + self.positions[: hidden.shape[1]]]
        for block in self.blocks:
            states.append(block(states[-1], None))
        if self.norm is not None:
            states.append(self.norm(states[-1]))
        return torch.stack(states, dim=2)[0]

    def _mel(self, wave: Tensor) -> Tensor:
        """Log-mel frames (bands, frames) as Whisper's feature extractor makes them.

        The clip is mirrored before its start and followed by zeros; the loudest band is looked for
        in every analysis window that touches it, those beyond the last frame among them.
        """
        padded = torch.cat([wave[1 : _FFT // 2 + 1].flip(0), wave, wave.new_zeros(_FFT)])
        spectrum = nn.functional.conv1d(padded[None, None], self.basis, stride=_HOP)[0]
        real, imaginary = spectrum.chunk(2)
        power = self.filters @ (real.square() + imaginary.square())
        mel = power.clamp_min(_LEAST_POWER).log10()
        mel = (torch.maximum(mel, mel.max() - _RANGE) + 4) / 4
        return mel[:, : (wave.shape[0] + _HOP - 1) // _HOP]


class WaveEncoder(nn.Module):
    """Convolutional front-end and transformer of wav2vec 2.0 and its relatives.

    Parameters
    ----------
    backbone
        Its modules are used, and changed.
    highest
        Last layer to compute.
    """

    def __init__(self, backbone: Wav2Vec2Backbone, highest: int) -> None:
        super().__init__()
        self.front_end = backbone.model.feature_extractor
        self.projection = backbone.model.feature_projection
        self.encoder = backbone.model.encoder
        self.normalise = backbone._normalise
        self.highest = highest
        self.encoder.layers = self.encoder.layers[: max(highest, 1)]
        self.final_norm = backbone._final_norm and highest == backbone.layers - 1
        convolution = getattr(self.encoder.pos_conv_embed, "conv", None)
        if convolution is not None and parametrize.is_parametrized(convolution):
            # Weight normalisation: the graph takes the product, not its factors.
            parametrize.remove_parametrizations(convolution, "weight")

    def forward(self, wave: Tensor) -> Tensor:
        """Encode a clip (samples,) to (frames, layers, dim), 50 frames a second."""
        if self.normalise:
            wave = (wave - wave.mean()) / torch.sqrt(wave.var(correction=0) + 1e-7)
        projected = self.projection(self.front_end(wave[None]).transpose(1, 2))
        hidden = projected[0] if isinstance(projected, tuple) else projected
        states, hooks = record_layers(self.encoder.layers)
        try:
            output = self.encoder(hidden)
        finally:
            for hook in hooks:
                hook.remove()
        if self.final_norm:
            states.append(output.last_hidden_state)
        return torch.stack(states[: self.highest + 1], dim=2)[0]


def clip_encoder(backbone: Backbone, highest: int, longest: int) -> nn.Module:
    """Return a backbone as a module of one clip (samples,), giving (frames, layers, dim).

    Parameters
    ----------
    backbone
        On the CPU; it is of no use for anything else afterwards.
    highest
        Last layer to compute and return.
    longest
        Samples of the longest clip.

    Raises
    ------
    IntervoxError
        The backbone is of another kind.
    """
    if isinstance(backbone, WhisperBackbone):
        return WhisperEncoder(backbone, highest, longest).eval()
    if isinstance(backbone, Wav2Vec2Backbone):
        return WaveEncoder(backbone, highest).eval()
    raise IntervoxError(
        f"backbone {backbone.name!r} can't be exported: Whisper and the family of wav2vec 2.0 can"
    )


def _fourier_basis() -> Tensor:
    """Kernels (2 · bins, 1, samples) of a convolution: cosines, then sines, under a Hann window."""
    angles = torch.outer(torch.arange(_FFT // 2 + 1), torch.arange(_FFT)) % _FFT
    angles = 2 * math.pi / _FFT * angles.double()
    window = torch.hann_window(_FFT, dtype=torch.float64)
    return (torch.cat([angles.cos(), angles.sin()]) * window)[:, None].float()
