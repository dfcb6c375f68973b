"""Clips in, vectors out: through the backbone and the subspaces, a batch at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import nullcontext
from os import PathLike
from typing import Any, Literal, Self, overload

import numpy as np
import torch

from intervox.audio import SAMPLE_RATE, AudioSource, Waveform, load_audio
from intervox.backbones.base import Backbone
from intervox.backbones.load import load_backbone
from intervox.clips.batches import groups
from intervox.errors import IntervoxError
from intervox.features.extraction import clip_frames, layer_means
from intervox.metrics.vectors import Vectors
from intervox.model.heads import Heads
from intervox.model.matching import Spoken, pooled_steps, speech_activity
from intervox.progress import progress_bar
from intervox.recipe import FeatureSettings

Device = str | torch.device | None

_SPOKEN_AT_ONCE = 64
"""Clips whose waveforms are in memory while their frames are read."""

_BATCHES_AT_ONCE = 30
"""How many batches' waveforms are in memory: enough of them that most find others of their length."""


class ClipEncoder(Heads):
    """Subspaces and the backbone that they were trained on, which is loaded when the first clip comes.

    Parameters
    ----------
    backbone
        Name for ``load_backbone``.
    layers, dim, subspaces
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
    ) -> None:
        super().__init__(layers, dim, subspaces)
        self.backbone_name = backbone
        self.fingerprint = fingerprint
        self.window_seconds = window_seconds
        self._backbone: Backbone | None = None

    @property
    def content_space(self) -> str | None:
        """The first subspace of content, None without one."""
        return next((name for name, factor in self.factors.items() if factor == "content"), None)

    @property
    def device(self) -> torch.device:
        """Where the model is, and clips are encoded; ``to`` moves it, and its backbone with it."""
        return self.mean.device

    @overload
    def encode(
        self,
        sources: Iterable[AudioSource],
        batch_seconds: float = ...,
        frames: Literal[False] = ...,
        output: Literal["numpy"] = ...,
        device: Device = ...,
        show_progress: bool = ...,
    ) -> dict[str, Vectors]: ...

    @overload
    def encode(
        self,
        sources: Iterable[AudioSource],
        batch_seconds: float = ...,
        *,
        frames: Literal[True],
        output: Literal["numpy"] = ...,
        device: Device = ...,
        show_progress: bool = ...,
    ) -> dict[str, list[Vectors]]: ...

    @overload
    def encode(
        self,
        sources: Iterable[AudioSource],
        batch_seconds: float = ...,
        frames: bool = ...,
        *,
        output: Literal["torch"],
        device: Device = ...,
        show_progress: bool = ...,
    ) -> dict[str, Any]: ...

    def encode(
        self,
        sources: Iterable[AudioSource],
        batch_seconds: float = 20.0,
        frames: bool = False,
        output: Literal["numpy", "torch"] = "numpy",
        device: Device = None,
        show_progress: bool = False,
    ) -> dict[str, Any]:
        """Embed clips of any length in every subspace.

        Parameters
        ----------
        sources
            Paths, bytes, open files, 16 kHz arrays or tensors, ``(array, sample rate)``, or rows of
            an Audio column of ``datasets``. A generator is read as it is needed: some ten minutes
            of sound are in memory, and the vectors.
        batch_seconds
            Upper bound on the padded length of one batch through the backbone.
        frames
            Whether to embed every frame instead of every clip.
        output
            ``numpy`` arrays or ``torch`` tensors, on the CPU.
        device
            Where to move the model first; by default it stays where it is.
        show_progress
            Whether to show a bar with the rate and the time left on standard error.

        Returns
        -------
        dict
            Subspace to unit vectors, shape (clips, dim), in the order given; with ``frames`` to one
            array (frames, dim) a clip. A clip's vectors do not depend on the others.

        Raises
        ------
        IntervoxError
            A clip can't be embedded (the message says which and why), or the backbone is not the
            one that the model was trained on.
        """
        if output not in ("numpy", "torch"):
            raise IntervoxError(f"there is no output {output!r}: choose numpy or torch")
        found = list(self.iter_encode(sources, batch_seconds, frames, device, show_progress))
        convert = torch.from_numpy if output == "torch" else np.asarray
        if frames:
            return {name: [convert(clip[name]) for clip in found] for name in self.subspaces}
        # What no clips give, so that there is something to stack where there are none.
        none = {name: np.zeros((0, self.subspace(name).settings.dim), np.float32) for name in self.subspaces}
        return {
            name: convert(np.stack([clip[name] for clip in found]) if found else none[name]) for name in none
        }

    def iter_encode(
        self,
        sources: Iterable[AudioSource],
        batch_seconds: float = 20.0,
        frames: bool = False,
        device: Device = None,
        show_progress: bool = False,
    ) -> Iterator[dict[str, Vectors]]:
        """Embed clips as ``encode`` does, and yield those of one clip after the other.

        Clips are read as they are needed, and nothing is kept of those that were yielded: for
        collections that do not fit into memory, or whose vectors go into a file.

        Yields
        ------
        dict
            Subspace to a unit vector (dim,), with ``frames`` to one a frame (frames, dim).
        """
        _check_sources(sources, batch_seconds)
        if device is not None:
            self.to(device)
        settings = FeatureSettings(batch_seconds=batch_seconds, window_seconds=self.window_seconds)
        return _encode_stream(self, self.own_backbone(), sources, settings, frames, show_progress)

    def spoken(self, sources: Iterable[AudioSource]) -> Iterator[Spoken]:
        """Yield what is known of the content of each clip, for ``Matching.match``.

        Raises
        ------
        IntervoxError
            The model has no subspace of content, or a clip can't be embedded.
        """
        space, settings = self.content_space, FeatureSettings(window_seconds=self.window_seconds)
        if space is None:
            raise IntervoxError("this model has no subspace of content")
        for waves in groups(map(load_audio, sources), lambda _: 1, lambda count: count >= _SPOKEN_AT_ONCE):
            for wave, frames in zip(waves, clip_frames(self.own_backbone(), waves, settings), strict=True):
                steps = pooled_steps(frames)
                vector = self.project(frames.mean(axis=0, keepdims=True))[space][0]
                activity = speech_activity(wave, len(steps))
                yield Spoken(vector, self.project(steps)[space], activity, len(wave) / SAMPLE_RATE)

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


def is_one_clip(sources: object) -> bool:
    """Whether someone gave a clip where a collection of clips is wanted."""
    return (
        isinstance(sources, str | bytes | bytearray | memoryview | PathLike | Mapping)
        or hasattr(sources, "read")
        or getattr(sources, "ndim", 2) < 2
        or (isinstance(sources, tuple) and len(sources) == 2 and isinstance(sources[1], int))
    )


def _check_sources(sources: object, batch_seconds: float) -> None:
    """Raise an ``IntervoxError`` unless these are clips that can be embedded under a budget."""
    if not batch_seconds > 0:
        raise IntervoxError(f"batch_seconds is {batch_seconds}: give a number of seconds above 0")
    if is_one_clip(sources):
        raise IntervoxError("encode takes a list of clips: write encode([clip])")
    if not isinstance(sources, Iterable):
        raise IntervoxError(f"encode takes clips, not {sources!r}: give a list, or anything that yields them")


def _encode_stream(
    heads: Heads,
    backbone: Backbone,
    sources: Iterable[AudioSource],
    settings: FeatureSettings,
    frames: bool,
    show_progress: bool,
) -> Iterator[dict[str, Vectors]]:
    """Embed clips in order, many batches of them at once; a source is read when it is needed.

    Yields
    ------
    dict
        For each clip, subspace to a unit vector (dim,), with ``frames`` to one a frame (frames, dim).
    """
    most = _BATCHES_AT_ONCE * settings.batch_seconds * SAMPLE_RATE
    embed = _encode_frames if frames else _encode_clips
    total = len(sources) if isinstance(sources, Sized) else None
    with progress_bar("embedding", total, "clips") if show_progress else nullcontext() as bar:
        for waves in groups(map(load_audio, sources), len, lambda samples: samples >= most):
            vectors = embed(heads, backbone, waves, settings)
            if bar is not None:
                bar.advance(len(waves))
            for row in range(len(waves)):
                yield {name: values[row] for name, values in vectors.items()}


def _encode_clips(
    heads: Heads, backbone: Backbone, waves: Sequence[Waveform], settings: FeatureSettings
) -> Mapping[str, Vectors | Sequence[Vectors]]:
    """Where a map reads frames, those of all windows of a clip are pooled together, one clip at a time."""
    if not heads.reads_frames:
        return heads.project(layer_means(backbone, waves, settings)[0])
    parts = [
        heads.project(frames[None], np.ones((1, len(frames)), bool))
        for frames in clip_frames(backbone, waves, settings)
    ]
    return {name: [part[name][0] for part in parts] for name in heads.subspaces}


def _encode_frames(
    heads: Heads, backbone: Backbone, waves: Sequence[Waveform], settings: FeatureSettings
) -> Mapping[str, Vectors | Sequence[Vectors]]:
    found: dict[str, list[Vectors]] = {name: [] for name in heads.subspaces}
    for frames in clip_frames(backbone, waves, settings):
        # ``project`` of frames takes each as a clip of its own.
        for name, vectors in heads.project(frames).items():
            found[name].append(vectors)
    return found
