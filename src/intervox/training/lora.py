"""Low-rank adaptation (LoRA) of a backbone's blocks, and the files that it is kept in."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from intervox.backbones.base import Backbone
from intervox.backbones.trained import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_state, declare_trained, wrap
from intervox.errors import IntervoxError, missing_extra
from intervox.recipe.training import EncoderSettings
from intervox.storage import atomic_path, write_json

if TYPE_CHECKING:
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer

_ADAPTER = "default"


def add_lora(backbone: Backbone, settings: EncoderSettings, blocks: Sequence[int]) -> "PeftModel":
    """Add a trainable ``W + alpha / rank * B A`` to the chosen weights (Hu et al. 2021); B starts at zero.

    The backbone is changed in place and computes the same until it is trained. Nothing but the
    adapter's A and B takes a gradient afterwards.

    Parameters
    ----------
    blocks
        Numbers of the blocks to adapt.

    Returns
    -------
    PeftModel
        ``peft``'s view of the backbone's module.

    Raises
    ------
    IntervoxError
        ``peft`` is not installed, or a target of the settings does not exist.
    """
    try:
        from peft import LoraConfig
    except ImportError:
        raise missing_extra("peft", "adapt", "encoder.method: lora") from None

    names = _target_names(backbone, settings, blocks)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        # A pattern and not a set of names, whose order in the file would change from run to run.
        target_modules="|".join(re.escape(name) for name in names),
    )
    adapter = wrap(backbone.model, config)
    config.base_model_name_or_path = backbone.name
    backbone.model.eval()
    _reach_weights(backbone)
    return adapter


def save_adapter(adapter: "PeftModel", backbone: Backbone, folder: Path) -> str:
    """Write the adapter in ``peft``'s format, and which base it belongs to; returns the new fingerprint."""
    config = adapter.peft_config[_ADAPTER].to_dict() | {"inference_mode": True}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / ADAPTER_CONFIG, config)
    tensors = adapter_state(adapter)
    with atomic_path(folder / ADAPTER_WEIGHTS) as temporary:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, temporary)
    return declare_trained(folder, backbone.name, backbone.fingerprint)


def _target_names(backbone: Backbone, settings: EncoderSettings, blocks: Sequence[int]) -> list[str]:
    """Full names of the linear modules that the settings choose."""
    prefix = next(name for name, module in backbone.model.named_modules() if module is backbone.blocks)
    chosen = []
    for number in blocks:
        modules = backbone.blocks[number].named_modules()
        linear = [name for name, module in modules if isinstance(module, nn.Linear)]
        for target in settings.targets:
            found = [name for name in linear if f".{name}".endswith(f".{target}")]
            if not found:
                raise IntervoxError(
                    f"encoder.targets: block {number} of {backbone.name} has no linear module "
                    f"{target!r}, only {', '.join(linear)}"
                )
            chosen += [f"{prefix}.{number}.{name}" for name in found]
    return list(dict.fromkeys(chosen))


def _lora_layers(backbone: Backbone) -> "list[LoraLayer]":
    from peft.tuners.lora import LoraLayer

    return [module for module in backbone.model.modules() if isinstance(module, LoraLayer)]


def _reach_weights(backbone: Backbone) -> None:
    """Adapt the weight itself of modules that the backbone never calls.

    WavLM's attention hands the weights of its projections to one function: an adapter around the
    module would be trained on nothing, without a word.
    """
    layers = _lora_layers(backbone)
    called: set[nn.Module] = set()
    hooks = [layer.register_forward_hook(lambda module, *_: called.add(module)) for layer in layers]
    with torch.no_grad():
        backbone.states([np.zeros(8000, np.float32)])
    for hook in hooks:
        hook.remove()
    for layer in layers:
        if layer not in called:
            register_parametrization(layer.base_layer, "weight", _PlusProduct(layer))


class _PlusProduct(nn.Module):
    """A frozen weight plus its adapter's product."""

    def __init__(self, layer: "LoraLayer") -> None:
        super().__init__()
        # In a tuple: as a submodule it would hold the module that holds this one.
        self._layer = (layer,)

    def forward(self, weight: Tensor) -> Tensor:
        adapted: Tensor = weight + self._layer[0].get_delta_weight(_ADAPTER)
        return adapted
