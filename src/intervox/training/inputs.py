"""What a step reads of its cells: means, stretches of frames, or stretches of audio."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.features.store import Features
from intervox.features.waves import Waves
from intervox.recipe.training import EncoderSettings, TrainingSettings
from intervox.seeds import rng
from intervox.training.fresh import FreshConditions

FRAMES_PER_SECOND = 50
"""Of most backbones, wav2vec 2.0's kin and Whisper among them."""

Given = tuple[Tensor, Tensor | None] | list[Waveform]
"""States and their mask, as ``SubspaceModel.forward`` takes them, or the audio that they come from."""


class Inputs(ABC):
    """A way from numbers of cells to what the model is given of them.

    Attributes
    ----------
    at_once
        How many cells are in memory at a time where no step decides it.
    """

    at_once: ClassVar[int]

    @abstractmethod
    def plain(self, rows: NDArray[np.int64]) -> Given:
        """Read cells as they are, as many as ``at_once``."""

    def drawn(self, rows: NDArray[np.int64], step: int, places: Sequence[int]) -> Given:
        """Read cells for a step, which may draw how; the same whichever process reads a place."""
        return self.plain(rows)


class Means(Inputs):
    """The layers' means of whole clips."""

    at_once = 4096

    def __init__(self, features: Features) -> None:
        self._features = features

    def plain(self, rows: NDArray[np.int64]) -> Given:
        return torch.from_numpy(self._features.rows(rows)), None


class FrameStretches(Inputs):
    """Every frame of a stretch: from a drawn place in a step, else from the clip's start."""

    at_once = 64

    def __init__(self, features: Features, settings: TrainingSettings, seed: int) -> None:
        self._features, self._seed = features, seed
        self._crop = max(1, round(settings.crop_seconds * FRAMES_PER_SECOND))

    def plain(self, rows: NDArray[np.int64]) -> Given:
        states, mask = self._features.states(rows, self._crop)
        return torch.from_numpy(states), torch.from_numpy(mask)

    def drawn(self, rows: NDArray[np.int64], step: int, places: Sequence[int]) -> Given:
        # One clip a call: where a stretch starts must not hang on which process reads it.
        randoms = (rng(self._seed, "training.crop", step, place) for place in places)
        clips = [
            torch.from_numpy(self._features.states(row, self._crop, random)[0][0])
            for row, random in zip(rows[:, None], randoms, strict=True)
        ]
        lengths = torch.tensor([len(clip) for clip in clips])
        return pad_sequence(clips, batch_first=True), torch.arange(int(lengths.max())) < lengths[:, None]


class AudioStretches(Inputs):
    """The audio of a stretch; in a step some speakers are heard as somebody else, some in another room.

    Parameters
    ----------
    speakers
        Shape (cells,): who speaks in each row of the corpus. All cells of one are warped alike in a step,
        so that the labels stay true.
    fresh
        What makes conditions anew, where the settings ask for it.
    """

    at_once = 64

    def __init__(
        self,
        waves: Waves,
        speakers: NDArray[np.int64],
        training: TrainingSettings,
        encoder: EncoderSettings,
        fresh: FreshConditions | None,
        seed: int,
    ) -> None:
        self._fresh = fresh
        self._waves, self._speakers, self._settings, self._seed = waves, speakers, encoder, seed
        self._length = round(training.crop_seconds * SAMPLE_RATE)

    def plain(self, rows: NDArray[np.int64]) -> Given:
        return [self._waves.read(int(row), self._length) for row in rows]

    def drawn(self, rows: NDArray[np.int64], step: int, places: Sequence[int]) -> Given:
        return [self._one(int(row), step, place) for row, place in zip(rows, places, strict=True)]

    def _one(self, row: int, step: int, place: int) -> Waveform:
        factor = self._warp(int(self._speakers[row]), step)
        length = round(self._length * factor)
        clip = self._heard(row, step, place)
        start = int(rng(self._seed, "training.crop", step, place).integers(max(0, len(clip) - length) + 1))
        wave = clip[start : start + length]
        return wave if factor == 1 else soxr.resample(wave, SAMPLE_RATE * factor, SAMPLE_RATE, "MQ")

    def _heard(self, row: int, step: int, place: int) -> Waveform:
        """Read a clip as the corpus has it, or its dry copy under another condition."""
        random = rng(self._seed, "training.condition", step, place)
        if not self._fresh or self._fresh.dry[row] < 0 or random.random() >= self._settings.fresh_conditions:
            return self._waves.read(row)
        return self._fresh.disturb(self._waves.read(int(self._fresh.dry[row])), random)

    def _warp(self, speaker: int, step: int) -> float:
        """Draw how much faster a speaker is played in a step; 1 leaves the voice as it is.

        Speed perturbation with new labels (Yamamoto et al. 2019, *Speaker Augmentation and Bandwidth
        Extension for Deep Speaker Embedding*).
        """
        random = rng(self._seed, "training.warp", step, speaker)
        if random.random() >= self._settings.warp:
            return 1.0
        return float(random.uniform(*self._settings.warp_range))
