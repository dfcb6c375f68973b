"""From protocols and held-out cells to test sets: degraded copies, streams and frames, all extracted."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from intervox.audio import Waveform, duration_seconds
from intervox.backbones.base import Backbone
from intervox.clips.corpus import Corpus, CorpusSplit
from intervox.clips.labels import Clips
from intervox.clips.source import ClipSource, Recordings, Transformed, file_stamps
from intervox.corpus.acoustics.conditions import apply_condition, draw_condition
from intervox.corpus.acoustics.rooms import Acoustics, load_acoustics
from intervox.evaluation import SYNTHETIC
from intervox.evaluation.protocols import Protocol
from intervox.evaluation.streams import StreamWindows, compose_streams
from intervox.evaluation.test_sets import (
    CLEAN,
    CROSS_CONDITION,
    EVALUATION_SEED,
    Listening,
    SeverityGrid,
    Spoken,
    TestSet,
    View,
    draw,
    has_keywords,
)
from intervox.features.encoding import Encoder
from intervox.features.extraction import extract
from intervox.features.store import Features, extract_frames
from intervox.metrics.abx import draw_grids
from intervox.metrics.trials import TrialList
from intervox.parallel import Pool
from intervox.recipe import EvaluationSettings, FeatureSettings
from intervox.recipe.corpus import ConditionSettings
from intervox.recipe.engines import Split
from intervox.seeds import rng
from intervox.storage import stable_hash

SCHEMA_VERSION = 1

DEGRADED = ConditionSettings(
    clean=0, padding=0, tilt=0, clipping=0, codec=0, microphone=0, packet_loss=0,
    room=1, rooms=64, noise=1, snr_db=(10, 30), band=1, low_hz=(50, 300), high_hz=(3400, 7500),
    level=1, level_dbfs=(-32, -1),
)  # fmt: skip
"""What cross-condition trials do to every clip, each with its own draw and rooms unseen in training."""

_OWN_LABELS = ("speaker", "content", "session", "language", "text")


@dataclass(frozen=True)
class Source:
    """Clips to be measured, before any encoder has seen them."""

    name: str
    licence: str
    source: ClipSource
    clips: Clips
    lists: Mapping[str, TrialList] = field(default_factory=dict)

    @property
    def human(self) -> bool:
        """Whether people were recorded."""
        return self.name != SYNTHETIC


def sources(protocols: Sequence[Protocol]) -> Iterator[Source]:
    """Yield what every protocol has to be measured."""
    for protocol in protocols:
        recordings = Recordings([row.path for row in protocol.rows])
        clips = protocol_clips(protocol)
        yield Source(protocol.name, protocol.licence, recordings, clips, protocol.lists)


def protocols_key(protocols: Sequence[Protocol]) -> str:
    """Hash all that is measured on: which recordings, what is said of them, and the official trials."""
    return stable_hash(
        [
            [
                protocol.name,
                protocol.licence,
                file_stamps([row.path for row in protocol.rows]),
                [repr(row) for row in protocol.rows],
                [
                    [name, *(sha256(part.tobytes()).hexdigest() for part in vars(trials).values())]
                    for name, trials in protocol.lists.items()
                ],
            ]
            for protocol in protocols
        ]
    )


def protocol_clips(protocol: Protocol) -> Clips:
    """Take the labels of a protocol's rows, and the durations from the files' headers."""
    rows = protocol.rows
    own = {name: [getattr(row, name) for row in rows] for name in _OWN_LABELS}
    further = [dict(row.labels) for row in rows]
    names = sorted({name for labels in further for name in labels} - set(own))
    labels = {name: np.array(values) for name, values in own.items()}
    labels |= {name: np.array([labels.get(name, "") for labels in further]) for name in names}
    return Clips(
        np.array([str(row.path) for row in rows]),
        {name: values for name, values in labels.items() if (values != "").any()},
        np.array([duration_seconds(row.path) for row in rows]),
        np.array([row.split for row in rows]),
    )


def load_test_sets(
    found: Iterable[Source],
    encoders: Mapping[str, Backbone | Encoder],
    settings: EvaluationSettings,
    features: FeatureSettings,
    folder: Path,
    frames: bool = False,
    pool: Pool | None = None,
) -> list[TestSet]:
    """Extract, or read from the cache, every source under every condition with every encoder.

    Parameters
    ----------
    encoders
        Name that representations use to what turns waveforms into features; the model's own backbone
        first, where there is one.
    folder
        Where the features go, in one folder an encoder's fingerprint, source and condition.
    frames
        Whether the first keeps every frame of all that is measured, for a model that reads them.
    pool
        Where clips are encoded; see ``extract``.
    """
    found = list(found)
    rooms = folder / next(iter(encoders.values())).fingerprint
    acoustics = load_acoustics(DEGRADED, EVALUATION_SEED, rooms)
    # Running speech to put between keywords: utterances that are no keywords themselves.
    speech = next((s.clips for s in found if s.human and not has_keywords(s.clips)), None)
    loader = _Loader(encoders, settings, features, folder, frames, acoustics, speech, pool)
    return [loader.load(source) for source in found]


@dataclass(frozen=True)
class _Loader:
    """What all test sets of one evaluation share."""

    encoders: Mapping[str, Backbone | Encoder]
    settings: EvaluationSettings
    features: FeatureSettings
    folder: Path
    frames: bool
    acoustics: Acoustics
    speech: Clips | None
    pool: Pool | None

    def load(self, given: Source) -> TestSet:
        grid = SeverityGrid(given.clips, self.settings.severities, DEGRADED.rooms, EVALUATION_SEED)
        parts = {CLEAN: given.source, CROSS_CONDITION: _degraded(given.source, self.acoustics)}
        if given.human and grid.names and len(grid.rows):
            parts["severities"] = grid.source(self.acoustics)
        tables = {part: self._extract(source, given.name, part) for part, source in parts.items()}
        good = _readable(tables[CLEAN]) & _readable(tables[CROSS_CONDITION])
        kept = np.flatnonzero(good)
        clips = given.clips.take(kept)
        views = {part: View(np.arange(len(kept)), tables[part], kept) for part in (CLEAN, CROSS_CONDITION)}
        if "severities" in tables:
            views |= _severity_views(grid, good, tables["severities"])
        lists = {name: trials.take(good) for name, trials in given.lists.items()}
        return TestSet(
            given.name,
            given.licence,
            clips,
            views,
            draw(clips, self.settings.max_trials, lists),
            len(given.clips) - len(kept),
            self._listening(given, clips),
            self._spoken(given, clips, kept),
        )

    def _extract(self, source: ClipSource, name: str, part: str) -> dict[str, Features]:
        title = f"{name}, {part.replace('_', ' ')}"
        first = next(iter(self.encoders.values())).fingerprint
        return {
            encoder_name: extract(
                source,
                encoder,
                self.features,
                self.folder / encoder.fingerprint / name / part,
                title,
                self.frames and encoder.fingerprint == first,
                self.pool,
            )
            for encoder_name, encoder in self.encoders.items()
        }

    def _listening(self, given: Source, clips: Clips) -> Listening | None:
        seconds = 60 * self.settings.running_minutes
        if not seconds or not given.human or not has_keywords(clips):
            return None
        composed = compose_streams(clips, EVALUATION_SEED, self.speech, seconds)
        windows = StreamWindows(composed.streams)
        if not windows.clip_count:
            return None
        every = np.arange(windows.clip_count)
        return Listening(composed, windows, View(every, self._extract(windows, given.name, "streams"), every))

    def _spoken(self, given: Source, clips: Clips, kept: NDArray[np.int64]) -> Spoken | None:
        backbones = {name: one for name, one in self.encoders.items() if isinstance(one, Backbone)}
        grids = draw_grids(clips.speakers, clips.contents, rng(EVALUATION_SEED, "abx.grids"))
        if not self.settings.separation or not grids or not backbones:
            return None
        cells = np.unique(np.concatenate([grid.clips.ravel() for grid in grids]))
        chosen = cells[cells >= 0]
        rows = kept[chosen].tolist()
        return Spoken(
            grids,
            chosen,
            {
                name: extract_frames(
                    given.source, rows, one, self.folder / one.fingerprint / given.name / "frames"
                )
                for name, one in backbones.items()
            },
        )


def _severity_views(
    grid: SeverityGrid, good: NDArray[np.bool_], tables: Mapping[str, Features]
) -> dict[str, View]:
    """Leave out, in all conditions, the clips that could not be read in one of them."""
    number = np.cumsum(good) - 1
    readable = _readable(tables).reshape(len(grid.names), -1).all(axis=0)
    chosen = np.flatnonzero(good[grid.rows] & readable)
    rows = number[grid.rows[chosen]]
    return {
        name: View(rows, tables, index * len(grid.rows) + chosen) for index, name in enumerate(grid.names)
    }


def _readable(tables: Mapping[str, Features]) -> NDArray[np.bool_]:
    """Say which clips every encoder could read."""
    return np.asarray(np.min([table.frames for table in tables.values()], axis=0) > 0)


def _degraded(source: ClipSource, acoustics: Acoustics) -> Transformed:
    """Give every clip its own room, noise, band and level."""
    key = stable_hash([SCHEMA_VERSION, EVALUATION_SEED, DEGRADED.model_dump(mode="json")])
    return Transformed(source, lambda clip, wave: _degrade(clip, wave, acoustics), key)


def _degrade(clip: int, wave: Waveform, acoustics: Acoustics) -> Waveform:
    random = rng(EVALUATION_SEED, "cross_condition.clip", clip)
    condition = draw_condition(DEGRADED, random, EVALUATION_SEED)
    return apply_condition(wave, condition, acoustics, random)


def heard_twice(given: Source, chosen: Sequence[int], folder: Path) -> tuple[list[Waveform], list[Waveform]]:
    """Load some clips of a source as they are, and as degraded as an evaluation degrades them.

    Parameters
    ----------
    folder
        Where the simulated rooms are kept.
    """
    acoustics = load_acoustics(DEGRADED, EVALUATION_SEED, folder)
    wanted = set(chosen)
    found: tuple[list[Waveform], list[Waveform]] = [], []
    for index in range(given.source.shard_count):
        for clip in given.source.load_shard(index):
            if clip.cell_id in wanted:
                assert clip.wave is not None, "the caller chose clips that have sound"
                found[0].append(clip.wave)
                found[1].append(_degrade(clip.cell_id, clip.wave, acoustics))
    return found


def held_out(corpus: Corpus, split: Split = "test", name: str = SYNTHETIC) -> Source | None:
    """Take the corpus' cells of a split, with every label that its plan has; None without any."""
    cells = corpus.cells.filter(pc.field("split") == split)
    if not cells.num_rows:
        return None
    known = ("speaker", "content", "text", "engine", "kind", "language", *corpus.factors)
    labels = {label: np.array(cells[label].to_pylist()) for label in known}
    labels = {label: values for label, values in labels.items() if (values != "").any()}
    source = CorpusSplit(corpus, split)
    clips = Clips(
        np.array([f"cell {cell}" for cell in cells["cell_id"].to_pylist()]),
        labels,
        source.durations(),
        np.full(cells.num_rows, split),
    )
    return Source(name, "synthesised", source, clips)
