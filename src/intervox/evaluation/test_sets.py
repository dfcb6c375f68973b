"""Test sets: a protocol's clips, their labels and trials, and their features under every condition."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol as Interface

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from intervox.audio import Waveform, duration_seconds
from intervox.corpus.acoustics import Acoustics, load_acoustics
from intervox.corpus.conditions import apply_condition, draw_condition
from intervox.corpus.store import ClipSource, Corpus, CorpusSplit, Recordings, Transformed
from intervox.evaluation.clips import Clips
from intervox.evaluation.protocols import Protocol
from intervox.evaluation.severities import condition_at
from intervox.evaluation.trials import Trials, draw_trials
from intervox.features.extraction import Encoder, extract
from intervox.manifest import Row
from intervox.recipe import EvaluationSettings, FeatureSettings, SeveritySettings
from intervox.recipe_corpus import ConditionSettings
from intervox.storage import stable_hash

SCHEMA_VERSION = 1
SYNTHETIC = "synthetic"
CLEAN = "clean"
CROSS_CONDITION = "cross_condition"
EVALUATION_SEED = 1_234
"""One seed for every run: the trials, rooms and noises of two runs are the same, so they compare."""

DEGRADED = ConditionSettings(
    clean=0, padding=0, tilt=0, clipping=0, codec=0, microphone=0, packet_loss=0,
    room=1, rooms=64, noise=1, snr_db=(10, 30), band=1, low_hz=(50, 300), high_hz=(3400, 7500),
    level=1, level_dbfs=(-32, -1),
)  # fmt: skip
"""What cross-condition trials do to every clip, each with its own draw and rooms unseen in training."""

Means = NDArray[np.float32]
"""Shape (clips, layers, dim)."""


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
    """

    name: str
    licence: str
    clips: Clips
    views: dict[str, View]
    trials: dict[str, Trials]
    failed: int = 0

    @property
    def human(self) -> bool:
        """Whether people were recorded."""
        return self.name != SYNTHETIC

    @property
    def whole(self) -> list[str]:
        """Conditions that every clip was put under."""
        return [name for name, view in self.views.items() if len(view.rows) == len(self.clips)]

    @property
    def has_keywords(self) -> bool:
        """Whether contents are said by several speakers, often enough to learn them."""
        contents = len(np.unique(self.clips.contents))
        return len(np.unique(self.clips.speakers)) > 1 and 1 < contents <= len(self.clips) / 3

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


@dataclass(frozen=True)
class Source:
    """Clips to be measured, before any encoder has seen them."""

    name: str
    licence: str
    source: ClipSource
    clips: Clips
    lists: Mapping[str, object] = field(default_factory=dict)


def sources(corpus: Corpus | None, protocols: Sequence[Protocol]) -> Iterator[Source]:
    """Yield the corpus' held-out cells and every protocol."""
    if corpus and (held_out := _held_out(corpus)):
        yield held_out
    for protocol in protocols:
        paths = [row.path for row in protocol.rows]
        clips = protocol_clips(protocol)
        yield Source(protocol.name, protocol.licence, Recordings(paths), clips, protocol.lists)


def protocol_clips(protocol: Protocol) -> Clips:
    """Take the labels of a protocol's rows, and the durations from the files' headers."""
    rows = protocol.rows
    factors = {"speaker", "content", "session", "language"} | {name for row in rows for name, _ in row.labels}
    known = [dict(row.labels) | _own_labels(row) for row in rows]
    labels = {factor: np.array([values.get(factor, "") for values in known]) for factor in sorted(factors)}
    return Clips(
        np.array([str(row.path) for row in rows]),
        {factor: values for factor, values in labels.items() if (values != "").any()},
        np.array([duration_seconds(row.path) for row in rows]),
        np.array([row.split for row in rows]),
    )


def load_test_sets(
    found: Iterable[Source],
    encoders: Mapping[str, Encoder],
    settings: EvaluationSettings,
    features: FeatureSettings,
    folder: Path,
) -> list[TestSet]:
    """Extract, or read from the cache, every source under every condition with every encoder.

    Parameters
    ----------
    encoders
        Name that representations use to what turns waveforms into features.
    folder
        Where the features go, in one folder an encoder's fingerprint, source and condition.
    """
    rooms = folder / next(iter(encoders.values())).fingerprint
    acoustics = load_acoustics(DEGRADED, EVALUATION_SEED, rooms)
    return [_test_set(source, encoders, settings, features, folder, acoustics) for source in found]


def _test_set(
    given: Source,
    encoders: Mapping[str, Encoder],
    settings: EvaluationSettings,
    features: FeatureSettings,
    folder: Path,
    acoustics: Acoustics,
) -> TestSet:
    curves = _SeverityGrid(given.clips, settings.severities) if isinstance(given.source, Recordings) else None
    parts = {CLEAN: given.source, CROSS_CONDITION: _degraded(given.source, acoustics)}
    if curves and curves.names:
        parts["severities"] = curves.source(acoustics)
    tables = {
        part: {
            name: extract(source, encoder, features, folder / encoder.fingerprint / given.name / part,
                          f"{given.name}, {part.replace('_', ' ')}")
            for name, encoder in encoders.items()
        }
        for part, source in parts.items()
    }  # fmt: skip
    good = np.logical_and.reduce(
        [table.frames > 0 for part in (CLEAN, CROSS_CONDITION) for table in tables[part].values()]
    )
    kept = np.flatnonzero(good)
    every = np.arange(len(kept))
    views = {part: View(every, tables[part], kept) for part in (CLEAN, CROSS_CONDITION)}
    if "severities" in tables and curves:
        readable = np.logical_and.reduce([table.frames > 0 for table in tables["severities"].values()])
        views |= curves.views(good, readable, tables["severities"])
    clips = given.clips.take(kept)
    lists = {name: trials.take(good) for name, trials in given.lists.items()}
    trials = draw_trials(clips, settings.max_trials, EVALUATION_SEED, lists)
    return TestSet(given.name, given.licence, clips, views, trials, len(given.clips) - len(kept))


def _degraded(source: ClipSource, acoustics: Acoustics) -> Transformed:
    """Give every clip its own room, noise, band and level."""

    def degrade(clip: int, wave: Waveform) -> Waveform:
        random = np.random.default_rng([EVALUATION_SEED, clip])
        condition = draw_condition(DEGRADED, random, EVALUATION_SEED)
        return apply_condition(wave, condition, acoustics, random)

    key = stable_hash([SCHEMA_VERSION, EVALUATION_SEED, DEGRADED.model_dump(mode="json")])
    return Transformed(source, degrade, key)


class _SeverityGrid:
    """Some clips of a set under each disturbance at each severity, as one source.

    Attributes
    ----------
    names
        Conditions, such as ``noise@0.50``; clip i of condition k is clip k * len(rows) + i of the source.
    rows
        Shape (chosen,): clips of the set, ascending.
    """

    def __init__(self, clips: Clips, settings: SeveritySettings) -> None:
        self._clips = clips
        self._grid = [(kind, level) for kind in settings.disturbances for level in settings.levels]
        self.names = [f"{kind}@{level:.2f}" for kind, level in self._grid]
        self.rows = _few_speakers(clips.speakers, settings.clips)

    def source(self, acoustics: Acoustics) -> Transformed:
        paths = [Path(self._clips.paths[row]) for _ in self._grid for row in self.rows]

        def degrade(clip: int, wave: Waveform) -> Waveform:
            index, chosen = divmod(clip, len(self.rows))
            kind, level = self._grid[index]
            random = np.random.default_rng([EVALUATION_SEED, index, chosen])
            condition = condition_at(kind, level, random, DEGRADED.rooms, EVALUATION_SEED)
            return apply_condition(wave, condition, acoustics, random)

        key = [SCHEMA_VERSION, EVALUATION_SEED, self.names, DEGRADED.rooms]
        return Transformed(Recordings(paths), degrade, key)

    def views(
        self, good: NDArray[np.bool_], readable: NDArray[np.bool_], tables: Mapping[str, FeatureTable]
    ) -> dict[str, View]:
        """Leave out, in all conditions, the clips that could not be read in one of them."""
        number = np.cumsum(good) - 1
        usable = good[self.rows] & readable.reshape(len(self.names), -1).all(axis=0)
        chosen = np.flatnonzero(usable)
        rows = number[self.rows[chosen]]
        return {
            name: View(rows, tables, index * len(self.rows) + chosen) for index, name in enumerate(self.names)
        }


def _few_speakers(speakers: NDArray[np.str_], wanted: int) -> NDArray[np.int64]:
    """Choose about ``wanted`` clips: a few speakers with about as many clips each, at least eight where there are."""
    random = np.random.default_rng([EVALUATION_SEED, 9])
    names, who, counts = np.unique(speakers, return_inverse=True, return_counts=True)
    several = random.permutation(np.flatnonzero(counts > 1))
    people = several[: max(2, wanted // 8)]
    each = -(-wanted // max(1, len(people)))
    picks = [random.permutation(np.flatnonzero(who == person))[:each] for person in people]
    return np.sort(np.concatenate([*picks, np.zeros(0, np.int64)]))


def _held_out(corpus: Corpus) -> Source | None:
    """Take the corpus' test cells, with every label that its plan has."""
    cells = corpus.cells.filter(pc.field("split") == "test")
    if not cells.num_rows:
        return None
    names = ("speaker", "content", "engine", "kind", "language")
    labels = {name: np.array(cells[name].to_pylist()) for name in names if name in cells.column_names}
    source = CorpusSplit(corpus, "test")
    clips = Clips(
        np.array([f"cell {cell}" for cell in cells["cell_id"].to_pylist()]),
        labels,
        source.durations(),
        np.full(cells.num_rows, "test"),
    )
    return Source(SYNTHETIC, "synthesised", source, clips)


def _own_labels(row: Row) -> dict[str, str]:
    return {
        "speaker": row.speaker, "content": row.content, "session": row.session, "language": row.language
    }  # fmt: skip
