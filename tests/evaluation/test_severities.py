"""Disturbances at an asked severity, and the clips that the curves are measured on."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import soundfile as sf

from intervox.clips.labels import Clips
from intervox.corpus.acoustics.conditions import apply_condition
from intervox.corpus.acoustics.rooms import load_acoustics
from intervox.evaluation.loading import DEGRADED
from intervox.evaluation.test_sets import SeverityGrid, condition_at
from intervox.recipe import Disturbance, SeveritySettings
from tests.conftest import Speech
from tests.support.clips import grid

TOLERANCE = {"room": 0.25, "codec": 0.2}
"""Of those that have only what there is; the others hit."""


@pytest.mark.parametrize("severity", [0.05, 0.25, 0.5, 0.75, 0.98])
@pytest.mark.parametrize("disturbance", get_args(Disturbance))
def test_a_condition_is_as_severe_as_asked(disturbance: Disturbance, severity: float) -> None:
    for seed in range(20):
        condition = condition_at(disturbance, severity, np.random.default_rng(seed), 64, 7)
        assert list(condition.severities) == [disturbance]
        assert condition.severities[disturbance] == pytest.approx(
            severity, abs=TOLERANCE.get(disturbance, 0.002)
        )


def test_of_all_rooms_the_nearest_are_drawn() -> None:
    found = {
        level: [
            condition_at("room", level, np.random.default_rng(seed), 64, 7).severity for seed in range(30)
        ]
        for level in (0.25, 0.5, 0.75)
    }
    means = [float(np.mean(values)) for values in found.values()]
    assert means == sorted(means)
    assert all(1 < len(set(values)) <= 4 for values in found.values())


@pytest.mark.parametrize("severity", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("disturbance", [name for name in get_args(Disturbance) if name != "room"])
def test_the_ends_can_be_applied(
    disturbance: Disturbance, severity: float, speech: Speech, tmp_path: Path
) -> None:
    dry = DEGRADED.model_copy(update={"room": 0})
    acoustics = load_acoustics(dry, 7, tmp_path)
    wave = speech(0.5, 1)
    for seed in range(5):
        random = np.random.default_rng(seed)
        condition = condition_at(disturbance, severity, random, 64, 7)
        found = apply_condition(wave, condition, acoustics, random)
        assert len(found) == len(wave)
        assert np.isfinite(found).all()


def people(counts: list[int]) -> Clips:
    """Speakers with so many clips each."""
    every = grid(len(counts), max(counts), 1)
    number = np.arange(len(every)) % max(counts)
    return every.take(np.flatnonzero(number < np.repeat(counts, max(counts))))


def rows_of(clips: Clips, wanted: int, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return SeverityGrid(clips, SeveritySettings(clips=wanted), 64, seed).rows


def test_few_speakers_with_several_clips_each() -> None:
    clips = people([1] * 10 + [20] * 30)
    rows = rows_of(clips, 80)
    speakers, counts = np.unique(clips.speakers[rows], return_counts=True)
    assert len(rows) == 80
    assert len(speakers) == 10
    assert (counts == 8).all()
    assert (np.diff(rows) > 0).all()
    assert rows.tolist() == rows_of(clips, 80).tolist() != rows_of(clips, 80, seed=1).tolist()


@pytest.mark.parametrize(
    ("counts", "people_chosen", "clips_chosen"),
    [([3, 3], 2, 6), ([2] * 5, 5, 10), ([1, 5], 1, 5), ([1, 1], 0, 0), ([40, 40, 40], 3, 80)],
)
def test_small_sets_give_what_they_have(counts: list[int], people_chosen: int, clips_chosen: int) -> None:
    clips = people(counts)
    rows = rows_of(clips, 80)
    assert len(np.unique(clips.speakers[rows])) == people_chosen
    assert len(rows) == pytest.approx(clips_chosen, abs=1)


@pytest.fixture
def recorded(tmp_path: Path, speech: Speech) -> Clips:
    clips = grid(3, 4, 1)
    paths = [tmp_path / f"{index}.wav" for index in range(len(clips))]
    for index, path in enumerate(paths):
        sf.write(path, speech(0.3, index), 16_000)
    return Clips(np.array([str(path) for path in paths]), clips.labels, clips.duration, clips.split)


def test_clips_come_condition_after_condition(recorded: Clips, tmp_path: Path) -> None:
    settings = SeveritySettings(disturbances=("noise", "band"), levels=(0.25, 0.75), clips=10)
    found = SeverityGrid(recorded, settings, 64, 7)
    assert found.names == ["noise@0.25", "noise@0.75", "band@0.25", "band@0.75"]
    source = found.source(load_acoustics(DEGRADED.model_copy(update={"room": 0}), 7, tmp_path))
    assert source.clip_count == 4 * len(found.rows)
    clips = [clip for index in range(source.shard_count) for clip in source.load_shard(index)]
    assert [clip.cell_id for clip in clips] == list(range(source.clip_count))
    distance = []
    for index, clip in enumerate(clips):
        clean, _ = sf.read(recorded.paths[found.rows[index % len(found.rows)]], dtype="float32")
        assert clip.wave is not None
        distance.append(1 - abs(np.corrcoef(clean, clip.wave)[0, 1]))
    light, heavy = np.reshape(distance, (4, -1))[:2]
    assert (light < 0.05).all()
    assert (heavy > light).all()


def test_keys_follow_the_settings(recorded: Clips, tmp_path: Path) -> None:
    acoustics = load_acoustics(DEGRADED.model_copy(update={"room": 0}), 7, tmp_path)

    def key(seed: int = 7, rooms: int = 64, **changes: object) -> str:
        settings = SeveritySettings.model_validate({"clips": 10} | changes)
        return str(SeverityGrid(recorded, settings, rooms, seed).source(acoustics).key)

    others = [
        key(seed=8),
        key(rooms=32),
        key(levels=(0.25, 0.5)),
        key(levels=(0.25, 0.5, 0.76)),
        key(disturbances=("noise", "room", "codec")),
        key(clips=30),
    ]
    assert key() == key()
    assert len({key(), *others}) == len(others) + 1


def test_levels_of_one_name_are_one_condition(recorded: Clips) -> None:
    settings = SeveritySettings(disturbances=("noise", "noise"), levels=(0.5, 0.501, 0.25))
    assert SeverityGrid(recorded, settings, 64, 7).names == ["noise@0.50", "noise@0.25"]
