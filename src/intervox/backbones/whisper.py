"""Whisper's encoder without its 30 seconds of padding.

The encoder attends over whatever it is given; only its code insists on 3,000 mel frames. Run on the
clip's own frames, with the positional table truncated, one second of speech costs a thirtieth.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from intervox.audio import MIN_SAMPLES, SAMPLE_RATE, Waveform
from intervox.backbones.base import (
    Backbone,
    HiddenStates,
    fingerprint,
    load_feature_extractor,
    load_pretrained,
)

_HOP = 160
_ENCODER_KEYS = {r"^model\.encoder\.": "", r"^encoder\.": ""}
_SETTINGS = ("encoder_attention_heads", "activation_function")
_PREPROCESSING = ("sampling_rate", "n_fft", "hop_length", "feature_size", "padding_value")


class WhisperBackbone(Backbone):
    """Encoder of any Whisper checkpoint; hidden states 0 to n, then the final norm."""

    def __init__(self, name: str, checkpoint: str, device: torch.device) -> None:
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        self.name = name
        self.model = load_pretrained(WhisperEncoder, checkpoint, key_mapping=_ENCODER_KEYS)
        self.front_end = (self.model.conv1, self.model.conv2)
        self.blocks = self.model.layers
        self._features = load_feature_extractor(checkpoint)
        config = self.model.config
        self.layers = config.encoder_layers + 2
        self.dim = config.d_model
        self.fingerprint = fingerprint(self.model, _SETTINGS, self._features, _PREPROCESSING)
        self.to(device)

    def states(self, waves: Sequence[Waveform], highest: int | None = None) -> HiddenStates:
        """Encode a batch; 50 frames a second."""
        highest = self.layers - 1 if highest is None else highest
        mel, mel_frames = self._mel(waves)
        frames = (mel_frames + 1) // 2
        hidden = nn.functional.gelu(self.model.conv1(mel.to(self.device)))
        # Beyond a clip's end the first convolution leaves its bias; the second must see zeros there.
        hidden = hidden * _mask(mel_frames, hidden.shape[-1]).to(self.device)[:, None]
        hidden = nn.functional.gelu(self.model.conv2(hidden)).transpose(1, 2)
        hidden = hidden + self.model.embed_positions.weight[: hidden.shape[1]]
        padding = ~_mask(frames, hidden.shape[1]).to(self.device)
        bias = torch.zeros(padding.shape, device=self.device).masked_fill(padding, float("-inf"))
        attention = bias[:, None, None] if padding.any() else None
        states = [hidden]
        for block in self.blocks[:highest]:
            states.append(block(states[-1], attention))
        if highest > len(self.blocks):
            states.append(self.model.layer_norm(states[-1]))
        return HiddenStates(torch.stack(states, dim=1), frames.to(self.device))

    def _mel(self, waves: Sequence[Waveform]) -> tuple[Tensor, Tensor]:
        """Log-mel frames, zero beyond each clip's end, and how many of them are real."""
        longest = max(max(len(wave) for wave in waves), MIN_SAMPLES) + MIN_SAMPLES
        batch = self._features(
            # The zeros behind a clip are what the analysis windows over its end see, in any batch.
            list(waves),
            sampling_rate=SAMPLE_RATE,
            padding="max_length",
            max_length=-(-longest // _HOP) * _HOP,
            return_tensors="pt",
        )
        counts = torch.tensor([max(-(-len(wave) // _HOP), 2) for wave in waves])
        mel = batch["input_features"][..., : int(counts.max())]
        return mel * _mask(counts, mel.shape[-1])[:, None], counts


def _mask(lengths: Tensor, size: int) -> Tensor:
    """Shape (batch, size): true where the position lies before the clip's end."""
    return torch.arange(size) < lengths[:, None]
