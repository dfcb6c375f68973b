"""What every backbone offers, and how a recipe's name finds one."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        What the recipe calls it; ``load_backbone(name)`` gives it again.
    layers, dim
        Count of hidden states and their width.
    fingerprint
        16 hex digits over weights and configuration; features are cached under it.
    model
        The module that holds the weights.
    blocks
        Its transformer blocks: block i makes layer i + 1 of layer i.
    """

    name: str
    layers: int
    dim: int
    fingerprint: str
    device: torch.device
    model: Any
    blocks: nn.ModuleList

    @abstractmethod
    def states(self, waves: Sequence[Waveform], highest: int | None = None) -> HiddenStates:
        """Encode clips of at most 30 s, where Whisper's positional table ends, in one batch.

        A clip's real frames are the same to 1e-4 alone and in any batch. Differentiable with regard
        to weights that require a gradient; none does unless an adapter was added.

        Parameters
        ----------
        highest
            Last layer to compute and return; all by default.
        """

    @torch.inference_mode()
    def forward(self, waves: Sequence[Waveform]) -> HiddenStates:
        """Return every layer's ``states``, which no gradient can pass."""
        return self.states(waves)


ADAPTED = "backbone.json"
"""The file in a folder that makes it an adapted backbone: which base the adapter there belongs to."""

_NOT_OF_THE_MODEL = ("_name_or_path", "transformers_version", "dtype", "architectures")
"""Configuration keys that say where and by what a checkpoint was loaded, not what it computes."""


def load_backbone(name: str, device: str | None = None) -> Backbone:
    """Load a backbone by name.

    Parameters
    ----------
    name
        ``bundled:whisper-tiny.en``, a local folder, a Hugging Face hub id such as
        ``microsoft/wavlm-base-plus``, or the ``adapter`` folder of a run.
    device
        Torch device; by default the GPU where there is one.

    Raises
    ------
    IntervoxError
        The name leads nowhere, the family is not supported, or the weights are not safetensors.
    """
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if name.startswith("bundled:"):
        from intervox.backbones.whisper import WhisperBackbone, bundled_checkpoint

        return WhisperBackbone(name, bundled_checkpoint(name), where)
    if (Path(name) / ADAPTED).is_file():
        from intervox.backbones.adapted import load_adapted

        return load_adapted(name, where)
    config = _read_config(name)
    if config.model_type == "whisper":
        from intervox.backbones.whisper import WhisperBackbone

        return WhisperBackbone(name, name, where)
    from intervox.backbones.transformers import FAMILIES, TransformersBackbone

    if config.model_type not in FAMILIES:
        raise IntervoxError(
            f"backbone {name!r} is of type {config.model_type!r}: supported are whisper, "
            + ", ".join(FAMILIES)
        )
    return TransformersBackbone(name, where)


def _read_config(name: str) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        where = "the folder has no usable config.json" if Path(name).is_dir() else "no such folder or hub id"
        raise IntervoxError(
            f"backbone {name!r} can't be loaded ({where}): give bundled:whisper-tiny.en, a local "
            "folder with config.json and model.safetensors, or a hub id that this machine reaches"
        ) from error


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
    except (OSError, ValueError, SafetensorError) as error:
        raise IntervoxError(
            f"backbone {name!r} has no readable model.safetensors (pickled weights are never "
            "loaded): save it again with save_pretrained"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
    missing = [key for key in loading["missing_keys"] if not key.endswith("masked_spec_embed")]
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


def fingerprint(model: nn.Module, config: dict[str, Any]) -> str:
    """Hash configuration and weights into 16 hex digits, the same wherever the files lie."""
    shape = {key: value for key, value in config.items() if key not in _NOT_OF_THE_MODEL}
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True, default=str).encode())
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


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
