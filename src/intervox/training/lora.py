"""Low-rank adaptation (LoRA) of a backbone's blocks, and the files that it is kept in."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.parametrize import register_parametrization
from torch.nn.utils.rnn import pad_sequence

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.backbones.adapted import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_state, declare_adapted, wrap
from intervox.backbones.base import Backbone
from intervox.errors import IntervoxError, missing_extra
from intervox.features.extraction import cut_windows
from intervox.model.model import SubspaceModel
from intervox.recipe import FeatureSettings
from intervox.recipe.training import AdaptationSettings
from intervox.storage import atomic_path, write_json

if TYPE_CHECKING:
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer

Vectors = dict[str, Tensor]
"""Subspace to unit vectors, shape (clips, dim)."""


def cached_step(
    encode: Callable[[Sequence[int]], Vectors],
    batches: Sequence[Sequence[int]],
    loss: Callable[[Vectors], Tensor],
) -> Tensor:
    """Evaluate a loss that couples all clips and add its gradients to every parameter's ``grad``.

    A contrastive loss compares each clip with every other, so the losses of micro-batches are not
    parts of it. GradCache (Gao et al. 2021, "Scaling deep contrastive learning batch size under memory
    limited setup"): the vectors of all clips without a graph; the loss and its gradient with regard to
    them; then each micro-batch once more with a graph, through which its vectors' gradient flows back.
    The graph in memory is never larger than a micro-batch's.

    Parameters
    ----------
    encode
        From numbers of clips to their vectors, differentiable; the same each time, dropout included.
    batches
        The micro-batches, which hold each number from 0 on once, in any order.
    loss
        From the vectors of all clips, in the order of their numbers, to a scalar; called once.

    Returns
    -------
    Tensor
        The loss, without a graph.
    """
    with torch.no_grad():
        parts = [encode(batch) for batch in batches]
    vectors = {space: torch.cat([part[space] for part in parts]) for space in parts[0]}
    for whole in vectors.values():
        whole.requires_grad_()
        whole.grad = torch.zeros_like(whole)
    order = torch.argsort(torch.tensor([number for batch in batches for number in batch]))
    value = loss({space: whole[order.to(whole.device)] for space, whole in vectors.items()})
    torch.autograd.backward(value)
    sizes = [len(batch) for batch in batches]
    gradients = {space: torch.split(_gradient(whole), sizes) for space, whole in vectors.items()}
    for index, batch in enumerate(batches):
        again = encode(batch)
        torch.autograd.backward(
            [again[space] for space in gradients], [gradient[index] for gradient in gradients.values()]
        )
    return value.detach()


def _gradient(leaf: Tensor) -> Tensor:
    assert leaf.grad is not None
    return leaf.grad


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


_ADAPTER = "default"


def add_lora(backbone: Backbone, settings: AdaptationSettings, highest: int) -> "PeftModel":
    """Add a trainable ``W + alpha / rank * B A`` to the chosen weights (Hu et al. 2021); B starts at zero.

    The backbone is changed in place and computes the same until it is trained. Nothing but the
    adapter's A and B takes a gradient afterwards.

    Parameters
    ----------
    highest
        Last layer that anything is learned from.

    Returns
    -------
    PeftModel
        ``peft``'s view of the backbone's module.

    Raises
    ------
    IntervoxError
        ``peft`` is not installed, or a block or target of the settings does not exist.
    """
    try:
        from peft import LoraConfig
    except ImportError:
        raise missing_extra("peft", "adapt", "adapting a backbone") from None

    names = _target_names(backbone, settings, highest)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        # A pattern and not a set of names, whose order in the file would change from run to run.
        target_modules="|".join(re.escape(name) for name in names),
    )
    adapter = wrap(backbone.model, config)
    config.base_model_name_or_path = backbone.name
    backbone.model.eval()
    for layer in _lora_layers(backbone):
        layer.lora_dropout.train()
    _reach_weights(backbone)
    return adapter


def save_adapter(adapter: "PeftModel", backbone: Backbone, folder: Path) -> str:
    """Write the adapter in ``peft``'s format, and which base it belongs to; returns the new fingerprint."""
    config = adapter.peft_config[_ADAPTER].to_dict() | {"inference_mode": True}
    write_json(folder / ADAPTER_CONFIG, config)
    tensors = adapter_state(adapter)
    with atomic_path(folder / ADAPTER_WEIGHTS) as temporary:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, temporary)
    return declare_adapted(folder, backbone.name, backbone.fingerprint)


def _target_names(backbone: Backbone, settings: AdaptationSettings, highest: int) -> list[str]:
    """Full names of the linear modules that the settings choose."""
    prefix = next(name for name, module in backbone.model.named_modules() if module is backbone.blocks)
    chosen = []
    for number in sorted(set(settings.blocks)):
        if not 0 <= number < len(backbone.blocks):
            raise IntervoxError(
                f"adaptation.blocks: there is no block {number}, {backbone.name} has blocks 0 to "
                f"{len(backbone.blocks) - 1}"
            )
        if number >= highest:
            raise IntervoxError(
                f"adaptation.blocks: block {number} comes after layer {highest}, the highest that a "
                "subspace uses: leave it out, or give a subspace a higher layer"
            )
        modules = backbone.blocks[number].named_modules()
        linear = [name for name, module in modules if isinstance(module, nn.Linear)]
        for target in settings.targets:
            found = [name for name in linear if f".{name}".endswith(f".{target}")]
            if not found:
                raise IntervoxError(
                    f"adaptation.targets: block {number} of {backbone.name} has no linear module "
                    f"{target!r}, only {', '.join(linear)}"
                )
            chosen += [f"{prefix}.{number}.{name}" for name in found]
    if not chosen:
        raise IntervoxError("adaptation: name at least one of adaptation.blocks and adaptation.targets")
    return list(dict.fromkeys(chosen))


def _lora_layers(backbone: Backbone) -> "list[LoraLayer]":
    from peft.tuners.lora import LoraLayer

    return [module for module in backbone.model.modules() if isinstance(module, LoraLayer)]


def _reach_weights(backbone: Backbone) -> None:
    """Adapt the weight itself of modules that the backbone never calls.

    WavLM's attention hands the weights of its projections to one function: an adapter around the
    module would be trained on nothing, without a word. Dropout, which is of the module's input, does
    not reach these.
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
