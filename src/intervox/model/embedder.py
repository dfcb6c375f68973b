"""What every model can do, whether onnxruntime or PyTorch computes: embed clips, compare, decide."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import nullcontext
from numbers import Real
from os import PathLike
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intervox.audio import SAMPLE_RATE, AudioSource, Waveform, load_audio
from intervox.clips.batches import groups
from intervox.errors import IntervoxError
from intervox.metrics.vectors import Vectors, unit
from intervox.model.decision import EVEN, Calibration, Decision, References, similarity, similarity_pairwise
from intervox.model.matching import Match, Matching, Spoken, pooled_steps, speech_activity

_SPOKEN_AT_ONCE = 64
"""Clips whose frames are in memory while they are compared."""

_BATCHES_AT_ONCE = 30
"""How many batches' waveforms are in memory: enough of them that most find others of their length."""

BATCH_SECONDS = 20.0


class Embedder(ABC):
    """Clips in, unit vectors of named subspaces out, and what their cosines mean.

    ``load_model`` opens one. Those in ONNX are ``OnnxModel``; those in PyTorch ``SubspaceModel``.

    Attributes
    ----------
    name
        What the model was loaded by, a folder in full; empty for a model that was not loaded.
    backbone_name, fingerprint
        The backbone, and a digest of its weights.
    window_seconds
        Clips are cut into windows of at most so many seconds.
    """

    name: str
    backbone_name: str
    fingerprint: str
    window_seconds: float

    similarity = staticmethod(similarity)
    similarity_pairwise = staticmethod(similarity_pairwise)

    @property
    @abstractmethod
    def factors(self) -> dict[str, str]:
        """Subspace name to the factor that it was trained for."""

    @property
    @abstractmethod
    def dims(self) -> dict[str, int]:
        """Subspace name to the dim of its vectors."""

    @property
    @abstractmethod
    def calibration(self) -> dict[str, Calibration]:
        """Subspace to its calibration."""

    @property
    @abstractmethod
    def measured(self) -> dict[str, dict[str, list[float]]]:
        """Subspace to evaluation set to the shares of strangers accepted and targets refused by default."""

    @property
    @abstractmethod
    def matching(self) -> Matching | None:
        """What ``match`` decides by; None before it is measured."""

    @property
    @abstractmethod
    def references(self) -> References | None:
        """Held-out synthetic speech in every subspace; None before it is measured."""

    @property
    @abstractmethod
    def key(self) -> str:
        """16 hex digits of what decides an embedding: the backbone's weights, windows and the maps."""

    @abstractmethod
    def ready(self) -> None:
        """Load what is loaded when the first clip comes, so that live sound does not have to wait for it."""

    @abstractmethod
    def _vectors(self, waves: Sequence[Waveform], batch_seconds: float) -> Mapping[str, Sequence[Vectors]]:
        """Embed clips: subspace to a unit vector (dim,) a clip."""

    @abstractmethod
    def _frames(self, waves: Sequence[Waveform], batch_seconds: float) -> Mapping[str, Sequence[Vectors]]:
        """Embed frames: subspace to (frames, dim) a clip, not scaled to unit length."""

    @property
    def content_space(self) -> str | None:
        """The first subspace of content, None without one."""
        return next((name for name, factor in self.factors.items() if factor == "content"), None)

    @overload
    def encode(
        self,
        sources: Iterable[AudioSource],
        batch_seconds: float = ...,
        frames: Literal[False] = ...,
        output: Literal["numpy"] = ...,
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
        show_progress: bool = ...,
    ) -> dict[str, Any]: ...

    def encode(
        self,
        sources: Iterable[AudioSource],
        batch_seconds: float = BATCH_SECONDS,
        frames: bool = False,
        output: Literal["numpy", "torch"] = "numpy",
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
            Upper bound on the padded length of one batch through a backbone in PyTorch.
        frames
            Whether to embed every frame instead of every clip.
        output
            ``numpy`` arrays or ``torch`` tensors, on the CPU.
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
        found = list(self.encode_iter(sources, batch_seconds, frames, show_progress))
        convert: Any = np.asarray
        if output == "torch":
            from torch import from_numpy as convert
        if frames:
            return {name: [convert(clip[name]) for clip in found] for name in self.dims}
        return {
            # Where there are no clips, there is nothing to stack.
            name: convert(
                np.stack([clip[name] for clip in found]) if found else np.zeros((0, dim), np.float32)
            )
            for name, dim in self.dims.items()
        }

    def encode_iter(
        self,
        sources: Iterable[AudioSource],
        batch_seconds: float = BATCH_SECONDS,
        frames: bool = False,
        show_progress: bool = False,
    ) -> Iterator[dict[str, Vectors]]:
        """Embed clips as ``encode`` does, and yield those of one clip after the other.

        Clips are read as they are needed, and nothing is kept of those that were yielded: for
        collections that do not fit into memory, or whose vectors go into a file.

        Yields
        ------
        dict
            Subspace to a unit vector (dim,), with ``frames`` to one per frame (frames, dim).
        """
        _check_sources(sources, batch_seconds)
        return self._encoded(sources, batch_seconds, frames, show_progress)

    def _encoded(
        self, sources: Iterable[AudioSource], batch_seconds: float, frames: bool, show_progress: bool
    ) -> Iterator[dict[str, Vectors]]:
        """Embed clips in order, many batches of them at once; a source is read when it is needed."""
        most = _BATCHES_AT_ONCE * batch_seconds * SAMPLE_RATE
        total = len(sources) if isinstance(sources, Sized) else None
        with _bar(total) if show_progress else nullcontext() as bar:
            for waves in groups(map(load_audio, sources), len, lambda samples: samples >= most):
                if frames:
                    found = self._frames(waves, batch_seconds)
                    found = {name: [unit(clip) for clip in clips] for name, clips in found.items()}
                else:
                    found = self._vectors(waves, batch_seconds)
                if bar is not None:
                    bar.advance(len(waves))
                for row in range(len(waves)):
                    yield {name: _finite(vectors[row]) for name, vectors in found.items()}

    def spoken(self, sources: Iterable[AudioSource]) -> Iterator[Spoken]:
        """Yield what is known of the content of each clip, for ``Matching.match``.

        Raises
        ------
        IntervoxError
            The model has no subspace of content, or a clip can't be embedded.
        """
        space = self.content_space
        if space is None:
            raise IntervoxError("this model has no subspace of content")
        for waves in groups(map(load_audio, sources), lambda _: 1, lambda count: count >= _SPOKEN_AT_ONCE):
            for wave, frames in zip(waves, self._frames(waves, BATCH_SECONDS)[space], strict=True):
                steps = pooled_steps(_finite(frames))
                activity = speech_activity(wave, len(steps))
                yield Spoken(unit(frames.mean(axis=0)), unit(steps), activity, len(wave) / SAMPLE_RATE)

    def compare(
        self, first: AudioSource, second: AudioSource, space: str = "speaker", prior: float = EVEN
    ) -> Decision:
        """Say whether two clips share a subspace's factor.

        The calibration and the operating point come from held-out synthetic cells, clean and degraded.
        What clips say is compared by ``match``.

        Raises
        ------
        IntervoxError
            The subspace does not exist, is one of content or was never calibrated, or a clip can't be
            embedded.
        """
        self.calibration_of(space)
        if self.factors[space] == "content":
            raise IntervoxError("what clips say is compared along an alignment: use match")
        waves = [load_audio(first), load_audio(second)]
        first_vector, second_vector = self.encode(waves)[space]
        seconds = len(waves[0]) / SAMPLE_RATE, len(waves[1]) / SAMPLE_RATE
        return self.decide(float(first_vector @ second_vector), space, seconds, prior=prior)

    def match(self, first: AudioSource, second: AudioSource) -> Match:
        """Say whether two clips say the same: wholly, partly (and where not), or not at all.

        Raises
        ------
        IntervoxError
            The model has no subspace of content or was never calibrated, or a clip can't be embedded.
        """
        return self.own_matching().match(*self.spoken([first, second]))

    def own_matching(self) -> Matching:
        """Return what ``match`` decides by.

        Raises
        ------
        IntervoxError
            It was never fitted.
        """
        if (matching := self.matching) is None:
            raise IntervoxError(
                "this model can't match words yet: run `intervox evaluate` on its recipe first"
            )
        return matching

    def decide(
        self,
        score: float,
        space: str = "speaker",
        seconds: tuple[float, float] = (1.0, 1.0),
        threshold: float | None = None,
        prior: float = EVEN,
        name: str = "",
    ) -> Decision:
        """Turn a cosine in a subspace into a decision.

        Parameters
        ----------
        seconds
            Of the two clips, or of all that was enrolled and of the clip.
        threshold
            Minimum score to accept; by default that of the operating point for clips so long.
        prior
            How probable "the same" is before anything is heard, in (0, 1): part of the probability, not
            of the threshold.
        name
            Whom the clip was compared with, where that has a name.

        Raises
        ------
        IntervoxError
            The subspace does not exist or was never calibrated.
        """
        return self.calibration_of(space).decide(space, score, seconds, threshold, prior, name)

    def probability(
        self, scores: ArrayLike, space: str = "speaker", prior: float = EVEN
    ) -> NDArray[np.float64]:
        """Turn cosines of clips of a second into probabilities of sharing a subspace's factor.

        Parameters
        ----------
        scores
            Of any shape, in [-1, 1].
        prior
            How probable it is before anything is heard, in (0, 1).

        Raises
        ------
        IntervoxError
            The subspace does not exist or was never calibrated, or the prior is out of range.
        """
        return self.calibration_of(space).probability(scores, prior=prior)

    def calibration_of(self, space: str) -> Calibration:
        """Return a subspace's calibration.

        Raises
        ------
        IntervoxError
            The subspace does not exist or was never calibrated.
        """
        self.check_space(space)
        if space not in self.calibration:
            raise IntervoxError(
                f"subspace {space!r} has no calibration: run `intervox evaluate` on the recipe first"
            )
        return self.calibration[space]

    def check_space(self, space: str) -> None:
        """Raise an ``IntervoxError`` that lists the subspaces unless ``space`` is one of them."""
        if space not in self.dims:
            raise IntervoxError(f"there is no subspace {space!r}: this model has {', '.join(self.dims)}")


def is_one_clip(sources: object) -> bool:
    """Whether someone gave a clip where a collection of clips is wanted."""
    return (
        isinstance(sources, str | bytes | bytearray | memoryview | PathLike | Mapping)
        or hasattr(sources, "read")
        or getattr(sources, "ndim", 2) < 2
        or (isinstance(sources, tuple) and len(sources) == 2 and isinstance(sources[1], Real))
    )


def _check_sources(sources: object, batch_seconds: float) -> None:
    """Raise an ``IntervoxError`` unless these are clips that can be embedded under a budget."""
    if not batch_seconds > 0:
        raise IntervoxError(f"batch_seconds is {batch_seconds}: give a number of seconds above 0")
    if is_one_clip(sources):
        raise IntervoxError("encode takes a list of clips: write encode([clip])")
    if not isinstance(sources, Iterable):
        raise IntervoxError(f"encode takes clips, not {sources!r}: give a list, or anything that yields them")


def _bar(total: int | None) -> Any:
    from intervox.progress import progress_bar  # which takes longer to import than two clips to embed

    return progress_bar("embedding", total, "clips")


def _finite(vectors: Vectors) -> Vectors:
    if not np.isfinite(vectors).all():
        raise IntervoxError("a clip's vectors are not finite: its samples are beyond what a model can take")
    return vectors
