"""A model's encoder in PyTorch: waveforms through the backbone and the subspaces, a batch at a time."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch

from intervox.audio import Waveform
from intervox.backbones.base import Backbone
from intervox.backbones.load import load_backbone
from intervox.errors import IntervoxError
from intervox.features.encoding import clip_frames, layer_means
from intervox.metrics.vectors import Vectors
from intervox.model.embedder import Embedder
from intervox.model.heads import Heads
from intervox.recipe import FeatureSettings

Device = str | torch.device | None


class ClipEncoder(Heads, Embedder):
    """Subspaces and the backbone that they were trained on, which is loaded when the first clip comes.

    Parameters
    ----------
    backbone
        Name for ``load_backbone``.
    layers, dim, subspaces, shared
        As of ``Heads``.
    fingerprint
        Of the backbone that it was trained on; encoding with other weights is refused.
    window_seconds
        Windows of the features that it was trained on.
    """

    def __init__(
        self,
        backbone: str,
        layers: int,
        dim: int,
        subspaces: Mapping[str, Any],
        fingerprint: str,
        window_seconds: float,
        shared: Mapping[str, Any],
    ) -> None:
        super().__init__(layers, dim, subspaces, shared)
        self.backbone_name = backbone
        self.fingerprint = fingerprint
        self.window_seconds = window_seconds
        self._backbone: Backbone | None = None

    @property
    def device(self) -> torch.device:
        """Where the model is, and clips are encoded; ``to`` moves it, and its backbone with it."""
        return self.mean.device

    def ready(self) -> None:
        self.own_backbone()

    def _vectors(self, waves: Sequence[Waveform], batch_seconds: float) -> Mapping[str, Sequence[Vectors]]:
        settings = self._settings(batch_seconds)
        if not self.reads_frames:
            means, _ = layer_means(self.own_backbone(), waves, settings)
            return {name: list(vectors) for name, vectors in self.project(means).items()}
        # The frames of all windows of a clip are pooled together, one clip at a time.
        parts = [
            self.project(frames[None], np.ones((1, len(frames)), bool))
            for frames in clip_frames(self.own_backbone(), waves, settings)
        ]
        return {name: [part[name][0] for part in parts] for name in self.subspaces}

    def _frames(self, waves: Sequence[Waveform], batch_seconds: float) -> Mapping[str, Sequence[Vectors]]:
        # Each frame is projected as a clip of its own.
        clips = clip_frames(self.own_backbone(), waves, self._settings(batch_seconds))
        parts = [self.project(frames, unit=False) for frames in clips]
        return {name: [part[name] for part in parts] for name in self.subspaces}

    def _settings(self, batch_seconds: float) -> FeatureSettings:
        return FeatureSettings(batch_seconds=batch_seconds, window_seconds=self.window_seconds)

    def own_backbone(self) -> Backbone:
        """Load the backbone once, and make sure that it is the one that was trained on."""
        if self._backbone is None:
            backbone = load_backbone(self.backbone_name, self.device)
            if self.fingerprint and backbone.fingerprint != self.fingerprint:
                raise IntervoxError(
                    f"the weights of {self.backbone_name} are not those that this model was trained "
                    "on: give the same backbone or refine again"
                )
            self._backbone = backbone
        return self._backbone

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Take the backbone along, which is no submodule, wherever ``to``, ``cuda`` or ``cpu`` move."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self._backbone is not None:
            self._backbone.to(self.device)
        return self
