"""Test sets: a protocol's clips, their labels and trials, and their features under every condition."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from intervox.audio import Waveform
from intervox.clips.labels import Clips
from intervox.clips.manifest import UNKNOWN
from intervox.clips.source import Recordings, Transformed
from intervox.corpus.acoustics import disturbances as do
from intervox.corpus.acoustics.conditions import INAUDIBLE_SNR_DB, Condition, apply_condition
from intervox.corpus.acoustics.rooms import Acoustics, draw_room
from intervox.evaluation.findings import ProtocolAbout
from intervox.evaluation.protocols.base import why_no_keywords
from intervox.evaluation.streams import StreamSet, StreamWindows
from intervox.features.store import Frames
from intervox.metrics.abx import Grid
from intervox.metrics.trials import TrialList, Trials, draw_trials
from intervox.recipe import Disturbance, SeveritySettings
from intervox.recipe.corpus import CONDITION_BOUNDS
from intervox.seeds import rng

Means = NDArray[np.float32]
"""Features of clips, shape (clips, layers, dim)."""

CLEAN = "clean"
CROSS_CONDITION = "cross_condition"
EVALUATION_SEED = 1_234
"""One seed for every run: the trials, rooms and noises of two runs are the same, so they compare."""

SCHEMA_VERSION = 1
_NEAREST_ROOMS = 4
_ALL_MELS = float(np.log1p(8000 / 700))
_OPEN_BANDS = (0.005, 0.99)
"""Severities between which a band has a width and ends below 8 kHz, as its filter needs."""


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
        Backbone to one array (frames, layers, dim) for each of them.
    """

    grids: list[Grid]
    clips: NDArray[np.int64]
    frames: dict[str, list[Frames]]


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

    def about(self) -> ProtocolAbout:
        """Describe the set."""
        languages = np.unique(self.clips.labels.get("language", np.array([], str)))
        return ProtocolAbout(
            clips=len(self.clips),
            failed=self.failed,
            speakers=_known(self.clips.speakers),
            contents=_known(self.clips.contents),
            hours=round(float(self.clips.duration.sum()) / 3600, 3),
            languages=[str(language) for language in languages if language],
            licence=self.licence,
        )


def _known(values: NDArray[np.str_]) -> int:
    """Count different values, but for those that a manifest does not give."""
    return sum(not value.startswith(UNKNOWN) for value in np.unique(values).tolist())


def draw(clips: Clips, max_trials: int, lists: Mapping[str, TrialList] | None = None) -> dict[str, Trials]:
    """Form the trials of clips as every evaluation does; see ``draw_trials``."""
    return draw_trials(clips.labels, clips.duration, max_trials, partial(rng, EVALUATION_SEED), lists)


def has_keywords(clips: Clips) -> bool:
    """Say whether contents are said by several speakers, often enough to learn them."""
    return not why_no_keywords(clips.speakers.tolist(), clips.contents.tolist())


def condition_at(
    disturbance: Disturbance, severity: float, random: np.random.Generator, rooms: int, seed: int
) -> Condition:
    """Draw a condition of one disturbance whose severity is the one asked for.

    Parameters
    ----------
    disturbance
        Key of ``Condition.severities``.
    severity
        In (0, 1]; ``docs/conditions.md`` defines it. Rooms and codecs have the nearest that there is.
    random
        Draws what severity leaves open: colours, edges, which room.
    rooms, seed
        Of the bank that ``load_acoustics`` simulates.
    """
    if disturbance == "room":
        bank = [draw_room(seed, index) for index in range(rooms)]
        distances = [abs(room.severity - severity) for room in bank]
        return Condition(room=bank[int(random.choice(np.argsort(distances)[:_NEAREST_ROOMS]))])
    return _DRAWS[disturbance](severity, random)


def _noise(severity: float, random: np.random.Generator) -> Condition:
    snr = INAUDIBLE_SNR_DB - severity * (INAUDIBLE_SNR_DB - CONDITION_BOUNDS["snr_db"][0])
    return Condition(noise=str(random.choice(list(do.NOISE_EXPONENTS))), snr_db=float(snr))


def _band(severity: float, random: np.random.Generator) -> Condition:
    """Take the lost part of the mel scale from the top alone, or from both ends."""
    lost = float(np.clip(severity, *_OPEN_BANDS)) * _ALL_MELS
    below = float(random.uniform(0, min(0.25 * lost, np.log1p(300 / 700))))
    low, high = 700 * np.expm1([below, _ALL_MELS - (lost - below)])
    return Condition(band=(max(float(low), 1.0), float(high)))


def _clipping(severity: float, _random: np.random.Generator) -> Condition:
    return Condition(clipped_share=severity**2 * CONDITION_BOUNDS["clipped_share"][1])


def _codec(severity: float, _random: np.random.Generator) -> Condition:
    return Condition(codec=min(do.CODECS, key=lambda name: abs(do.CODECS[name].severity - severity)))


def _packet_loss(severity: float, random: np.random.Generator) -> Condition:
    concealment = do.CONCEALMENTS[int(random.integers(len(do.CONCEALMENTS)))]
    return Condition(lost_share=severity * CONDITION_BOUNDS["lost_share"][1], concealment=concealment)


_DRAWS: dict[str, Callable[[float, np.random.Generator], Condition]] = {
    "noise": _noise,
    "band": _band,
    "clipping": _clipping,
    "codec": _codec,
    "packet_loss": _packet_loss,
}


class SeverityGrid:
    """Some clips of a set under each disturbance at each severity, as one source.

    Attributes
    ----------
    names
        Conditions, such as ``noise@0.50``; clip i of condition k is clip k * len(rows) + i of the source.
    rows
        Shape (chosen,): clips of the set, ascending.
    """

    def __init__(self, clips: Clips, settings: SeveritySettings, rooms: int, seed: int) -> None:
        self._clips, self._rooms, self._seed = clips, rooms, seed
        # Rounded as named: equal names are one condition.
        levels = dict.fromkeys(round(level, 2) for level in settings.levels)
        self._grid = [(kind, level) for kind in dict.fromkeys(settings.disturbances) for level in levels]
        self.names = [f"{kind}@{level:.2f}" for kind, level in self._grid]
        self.rows = _few_speakers(clips.speakers, settings.clips, seed)

    def source(self, acoustics: Acoustics) -> Transformed:
        """Degrade the clips' recordings, condition after condition."""
        paths = [Path(self._clips.paths[row]) for _ in self._grid for row in self.rows]

        def degrade(clip: int, wave: Waveform) -> Waveform:
            index, chosen = divmod(clip, len(self.rows))
            kind, level = self._grid[index]
            random = rng(self._seed, "severities.clip", index, chosen)
            condition = condition_at(kind, level, random, self._rooms, self._seed)
            return apply_condition(wave, condition, acoustics, random)

        key = [SCHEMA_VERSION, self._seed, self.names, self._rooms]
        return Transformed(Recordings(paths), degrade, key)


def _few_speakers(speakers: NDArray[np.str_], wanted: int, seed: int) -> NDArray[np.int64]:
    """Choose about ``wanted`` clips of a few speakers, eight or more of each where there are as many."""
    random = rng(seed, "severities.speakers")
    _, who, counts = np.unique(speakers, return_inverse=True, return_counts=True)
    several = random.permutation(np.flatnonzero(counts > 1))
    people = several[: max(2, wanted // 8)]
    each = -(-wanted // max(1, len(people)))
    picks = [random.permutation(np.flatnonzero(who == person))[:each] for person in people]
    return np.sort(np.concatenate([*picks, np.zeros(0, np.int64)]))
