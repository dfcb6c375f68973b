"""The backbone's own part in training: which of its weights move, its forward pass, and what is kept."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.backbones.base import Backbone
from intervox.backbones.trained import save_weights
from intervox.clips.batches import by_length
from intervox.errors import IntervoxError
from intervox.features.encoding import cut_windows
from intervox.recipe import Recipe
from intervox.recipe.training import EncoderSettings
from intervox.training.lora import add_lora, save_adapter

Result = TypeVar("Result")


class TrainableEncoder(nn.Module):
    """A backbone with the weights that a recipe trains, from waveforms to the frames of every layer.

    Parameters
    ----------
    backbone
        Changed in place.
    recipe
        ``encoder``, ``features`` and the subspaces' layers are read.

    Raises
    ------
    IntervoxError
        A block or target of the settings does not exist, or no subspace reads what a block gives.
    """

    def __init__(self, backbone: Backbone, recipe: Recipe) -> None:
        super().__init__()
        every = range(backbone.layers)
        # Nothing above the last layer that a subspace uses needs computing.
        self.highest = max(max(every if s.layers is None else s.layers) for s in recipe.subspaces.values())
        self.settings, self._features = recipe.encoder, recipe.features
        self._backbone = (backbone,)
        blocks = trained_blocks(backbone, recipe.encoder, self.highest)
        lora = recipe.encoder.method == "lora"
        # In a tuple, as the backbone is: peft's view holds every frozen weight.
        self._adapter = (add_lora(backbone, recipe.encoder, blocks) if lora else None,)
        if not lora:
            front_end = backbone.front_end if recipe.encoder.front_end else ()
            for module in (*front_end, *(backbone.blocks[number] for number in blocks)):
                module.requires_grad_(True)
        named = {name: weight for name, weight in backbone.model.named_parameters() if weight.requires_grad}
        self._names = list(named)
        # The weights alone, not the backbone: what is frozen belongs into no checkpoint.
        self.weights = nn.ParameterList(named.values())

    @property
    def backbone(self) -> Backbone:
        """The backbone that is trained."""
        return self._backbone[0]

    def forward(self, waves: Sequence[Waveform]) -> tuple[Tensor, Tensor]:
        """Encode clips in one batch, each in windows as the features were made.

        Returns
        -------
        states, mask
            Shapes (clips, time, layers, dim) and (clips, time): which frames are real.
        """
        windows = [cut_windows(wave, self._features) for wave in waves]
        states = self.backbone.states([part for parts in windows for part in parts], self.highest)
        clips, mask = _join(states.layers, states.frames, [len(parts) for parts in windows])
        # Higher layers are of no subspace: what stands there does not matter.
        return pad(clips, (0, 0, 0, self.backbone.layers - 1 - self.highest)), mask

    def in_batches(
        self, waves: Sequence[Waveform], compute: Callable[[list[Waveform]], Result]
    ) -> Iterator[tuple[list[int], Result]]:
        """Compute something of all clips, those of like length together.

        Where the graphs of all would take too much memory, each is forgotten and computed once more when
        the gradient comes back (Chen et al. 2016, *Training Deep Nets with Sublinear Memory Cost*).

        Yields
        ------
        positions, result
            Which clips, and what ``compute`` made of them.
        """
        lengths = [len(wave) for wave in waves]
        keep = sum(lengths) <= self.settings.graph_seconds * SAMPLE_RATE or not torch.is_grad_enabled()
        for batch in by_length(lengths, self._features.batch_seconds * SAMPLE_RATE):
            chosen = [waves[position] for position in batch]
            yield batch, compute(chosen) if keep else checkpoint(compute, chosen, use_reentrant=False)

    def save(self, folder: Path) -> str:
        """Write the trained weights and which base they belong to; returns the new fingerprint."""
        if adapter := self._adapter[0]:
            return save_adapter(adapter, self.backbone, folder)
        return save_weights(dict(zip(self._names, self.weights, strict=True)), self.backbone, folder)


def trained_blocks(backbone: Backbone, settings: EncoderSettings, highest: int) -> list[int]:
    """Return the numbers of the blocks to train: those of the settings, or all below the highest layer.

    Raises
    ------
    IntervoxError
        There is no such block, or it comes after the highest layer that a subspace reads.
    """
    count = len(backbone.blocks)
    if settings.blocks is None:
        return list(range(min(highest, count)))
    for number in settings.blocks:
        if not 0 <= number < count:
            raise IntervoxError(
                f"encoder.blocks: there is no block {number}, {backbone.name} has blocks 0 to {count - 1}"
            )
        if number >= highest:
            raise IntervoxError(
                f"encoder.blocks: block {number} comes after layer {highest}, the highest that a subspace "
                "uses: leave it out, or give a subspace a higher layer"
            )
    if not settings.blocks and (settings.method == "lora" or not settings.front_end):
        raise IntervoxError("encoder.blocks: name a block at least, or train in full with the front end")
    return sorted(set(settings.blocks))


def _join(layers: Tensor, frames: Tensor, windows: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Put the real frames of each clip's windows in a row: (clips, time, layers, dim), and a mask."""
    if all(count == 1 for count in windows):
        mask = torch.arange(layers.shape[2], device=layers.device) < frames[:, None]
        return layers.transpose(1, 2), mask
    real = [part[:, :count].transpose(0, 1) for part, count in zip(layers, frames.tolist(), strict=True)]
    ends = torch.tensor(windows).cumsum(0).tolist()
    clips = [torch.cat(real[end - count : end]) for end, count in zip(ends, windows, strict=True)]
    lengths = torch.tensor([len(clip) for clip in clips], device=layers.device)
    padded = pad_sequence(clips, batch_first=True)
    return padded, torch.arange(padded.shape[1], device=layers.device) < lengths[:, None]
