"""Test sets: a protocol's clips, their labels and trials, and their features under every condition."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from intervox.evaluation.abx import Grid
from intervox.evaluation.clips import Clips
from intervox.evaluation.streams import StreamSet, StreamWindows
from intervox.evaluation.trials import Trials
from intervox.evaluation.vectors import Means
from intervox.features.frames import Frames

CLEAN = "clean"
CROSS_CONDITION = "cross_condition"
EVALUATION_SEED = 1_234
"""One seed for every run: the trials, rooms and noises of two runs are the same, so they compare."""


class FeatureTable(Interface):
    """Features of clips: those in a folder, or any with the same way to read rows."""

    def rows(self, indices: NDArray[np.integer]) -> Means:
        """Return the features of some clips, shape (indices, layers, dim)."""


@dataclass(frozen=True)
class View:
    """Clips of a test set under one condition.

    Attributes
    ----------
    rows
        Shape (view,): which clips of the set, in ascending order.
    features, stored
        Encoder name to its features, and the row of each of the view's clips in all of them.
    """

    rows: NDArray[np.int64]
    features: Mapping[str, FeatureTable]
    stored: NDArray[np.int64]


@dataclass(frozen=True)
class Listening:
    """Streams of a keyword corpus, and windows of them under the first encoder."""

    composed: StreamSet
    windows: StreamWindows
    view: View


@dataclass(frozen=True)
class Spoken:
    """Every frame of the clips of some crossed grids, for ABX.

    Attributes
    ----------
    clips
        Clips of the set, ascending.
    frames
        One array (frames, layers, dim) for each of them.
    """

    grids: list[Grid]
    clips: NDArray[np.int64]
    frames: list[Frames]


@dataclass(frozen=True)
class TestSet:
    """A protocol ready to be measured.

    Attributes
    ----------
    name, licence
        As in ``metrics.json``.
    clips
        Labels of the clips that could be read.
    views
        Condition to view: ``clean``, ``cross_condition``, and ``<disturbance>@<severity>`` on some
        of the clips.
    trials
        Stratum to trials; the same for all conditions that have all clips.
    failed
        Clips that could not be read.
    listening, spoken
        What running speech and ABX are measured on; None where that can't be done.
    """

    name: str
    licence: str
    clips: Clips
    views: dict[str, View]
    trials: dict[str, Trials]
    failed: int = 0
    listening: Listening | None = None
    spoken: Spoken | None = None

    @property
    def whole(self) -> list[str]:
        """Conditions that every clip was put under, but for those of a severity curve."""
        return [
            name for name, view in self.views.items() if "@" not in name and len(view.rows) == len(self.clips)
        ]

    @property
    def severities(self) -> dict[str, View]:
        """Conditions of one disturbance at one severity, all of the same few clips."""
        return {name: view for name, view in self.views.items() if "@" in name}

    @property
    def has_keywords(self) -> bool:
        """Whether contents are said by several speakers, often enough to learn them."""
        return has_keywords(self.clips)

    def about(self) -> dict[str, object]:
        """Describe the set for ``metrics.json``."""
        languages = np.unique(self.clips.labels.get("language", np.array([], str)))
        return {
            "clips": len(self.clips),
            "failed": self.failed,
            "speakers": len(np.unique(self.clips.speakers)),
            "contents": len(np.unique(self.clips.contents)),
            "hours": round(float(self.clips.duration.sum()) / 3600, 3),
            "languages": [str(language) for language in languages if language],
            "licence": self.licence,
        }


def has_keywords(clips: Clips) -> bool:
    """Say whether contents are said by several speakers, often enough to learn them."""
    contents = len(np.unique(clips.contents))
    return len(np.unique(clips.speakers)) > 1 and 1 < contents <= len(clips) / 3
