"""wav2vec 2.0 and its relatives, from a local folder or the Hugging Face hub.

Batching must not change a clip. Three things would: normalising the waveform with its padding, a
GroupNorm over time in the convolutional front-end (wav2vec 2.0 base, HuBERT base, WavLM base), and
data2vec's stack of positional convolutions, which lets padding leak from layer to layer.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from intervox.audio import MIN_SAMPLES, Waveform
from intervox.backbones.base import (
    Backbone,
    HiddenStates,
    fingerprint,
    load_feature_extractor,
    load_pretrained,
    record_layers,
)

_SETTINGS = (
    "num_attention_heads",
    "hidden_act",
    "layer_norm_eps",
    "do_stable_layer_norm",
    "feat_extract_norm",
    "feat_extract_activation",
    "feat_proj_layer_norm",
    "conv_stride",
    "num_conv_pos_embeddings",
    "num_conv_pos_embedding_groups",
    "max_bucket_distance",
)
_PREPROCESSING = ("do_normalize", "sampling_rate")


class Wav2Vec2Backbone(Backbone):
    """A convolutional front-end and a transformer, 50 frames a second."""

    def __init__(self, name: str, checkpoint: str, device: torch.device) -> None:
        from transformers import AutoModel

        self.name = name
        self.model = load_pretrained(AutoModel, checkpoint)
        extractor = load_feature_extractor(checkpoint)
        self._normalise = bool(extractor.do_normalize)
        self.front_end = (self.model.feature_extractor, self.model.feature_projection)
        self.blocks = self.model.encoder.layers
        config = self.model.config
        self._final_norm = bool(getattr(config, "do_stable_layer_norm", False))
        self._group_norm = getattr(config, "feat_extract_norm", "layer") == "group"
        self.layers = config.num_hidden_layers + 1 + self._final_norm
        self.dim = config.hidden_size
        self.fingerprint = fingerprint(self.model, _SETTINGS, extractor, _PREPROCESSING)
        self.to(device)

    def states(self, waves: Sequence[Waveform], highest: int | None = None) -> HiddenStates:
        """Encode a batch."""
        highest = self.layers - 1 if highest is None else highest
        local, frames = self._front_end([self._prepare(wave) for wave in waves])
        projected = self.model.feature_projection(local)
        hidden = projected[0] if isinstance(projected, tuple) else projected
        mask = torch.arange(hidden.shape[1], device=self.device) < frames[:, None]
        encoder = self.model.encoder
        needed = self.blocks[: max(highest, 1)]
        states, hooks = record_layers(needed)
        hooks += self._mask_positions(mask)
        encoder.layers = needed
        try:
            output = encoder(hidden, attention_mask=mask)
        finally:
            encoder.layers = self.blocks
            for hook in hooks:
                hook.remove()
        if self._final_norm:
            states.append(output.last_hidden_state)
        return HiddenStates(torch.stack(states[: highest + 1], dim=1), frames)

    def _prepare(self, wave: Waveform) -> Tensor:
        """Normalise over the clip's own samples, and lengthen what is shorter than one frame."""
        if self._normalise:
            wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
        padded = np.pad(wave, (0, max(0, MIN_SAMPLES - len(wave))))
        return torch.from_numpy(padded.astype(np.float32)).to(self.device)

    def _front_end(self, waves: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Convolutional features (batch, frames, channels), zero-padded, and their lengths."""
        extract = self.model.feature_extractor
        if self._group_norm:
            clips = [extract(wave[None])[0].T for wave in waves]
            frames = torch.tensor([len(clip) for clip in clips], device=self.device)
            return pad_sequence(clips, batch_first=True), frames
        lengths = torch.tensor([len(wave) for wave in waves], device=self.device)
        frames = self.model._get_feat_extract_output_lengths(lengths)
        return extract(pad_sequence(waves, batch_first=True)).transpose(1, 2), frames

    def _mask_positions(self, mask: Tensor) -> list[Any]:
        """Zero the padding before each positional convolution of a stack (data2vec)."""
        stack = getattr(self.model.encoder.pos_conv_embed, "layers", ())

        def zero_padding(_module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
            return (args[0] * mask[:, None],)

        return [layer.register_forward_pre_hook(zero_padding) for layer in stack]
