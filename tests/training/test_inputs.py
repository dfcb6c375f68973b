"""What a step reads of its cells, and that it follows from seed, step and place alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from intervox.audio import Waveform
from intervox.clips.corpus import Corpus
from intervox.features.waves import Waves, decode
from intervox.recipe.training import EncoderSettings, TrainingSettings
from intervox.training.fresh import FreshConditions
from intervox.training.inputs import AudioStretches, FrameStretches, Given, Means
from tests.support.corpora import Row, tone_rows, write_corpus
from tests.support.crossed import crossed_corpus

LONG = 24_000


def states(given: Given) -> tuple[Tensor, Tensor]:
    """Return states and mask; all is real where there is no mask."""
    assert isinstance(given, tuple)
    found, mask = given
    return found, torch.ones(found.shape[:2], dtype=torch.bool) if mask is None else mask


def audio(given: Given) -> list[Waveform]:
    assert isinstance(given, list)
    return given


def test_means_are_those_of_the_features(tmp_path: Path) -> None:
    _, features = crossed_corpus(tmp_path / "features")
    rows = np.array([7, 3, 7])
    for given in (Means(features).plain(rows), Means(features).drawn(rows, 2, [0, 1, 2])):
        np.testing.assert_array_equal(states(given)[0], features.rows(rows))
        assert given[1] is None


def test_stretches_of_frames_follow_from_seed_step_and_place(tmp_path: Path) -> None:
    _, features = crossed_corpus(tmp_path / "features")
    inputs = FrameStretches(features, TrainingSettings(crop_seconds=0.08), 0)
    rows = np.arange(3, 40)
    places = [*range(len(rows))]
    found, mask = states(inputs.drawn(rows, 5, places))
    assert found.shape[1] == mask.shape[1] == 4
    assert mask.sum(dim=1).tolist() == np.minimum(features.frames[rows], 4).tolist()
    assert not torch.equal(found, states(inputs.drawn(rows, 6, places))[0])
    # The second of two processes reads what the only one has in these places.
    half, of_half = states(inputs.drawn(rows[18:], 5, places[18:]))
    assert torch.equal(half, found[18:])
    assert torch.equal(of_half, mask[18:])


def test_without_a_step_a_stretch_starts_with_the_clip(tmp_path: Path) -> None:
    _, features = crossed_corpus(tmp_path / "features")
    rows = np.arange(5)
    inputs = FrameStretches(features, TrainingSettings(crop_seconds=0.08), 0)
    for found, expected in zip(states(inputs.plain(rows)), features.states(rows, 4), strict=True):
        np.testing.assert_array_equal(found, expected)


def ramp(row: Row) -> NDArray[np.float32]:
    """A wave that says at every sample where in the clip it is."""
    length = 6000 if row["cell_id"] == 3 else LONG
    return np.asarray(np.arange(length) / (2 * LONG), np.float32)


@pytest.fixture(scope="module")
def ramps(tmp_path_factory: pytest.TempPathFactory) -> Waves:
    home = tmp_path_factory.mktemp("ramps")
    return decode(Corpus(write_corpus(home / "corpus", tone_rows(ramp))), home / "waves")


SPEAKERS = np.repeat(np.arange(12), 2)


def stretches(
    waves: Waves, seed: int = 0, crop: float = 0.5, fresh: FreshConditions | None = None, **encoder: Any
) -> AudioStretches:
    training = TrainingSettings(crop_seconds=crop)
    return AudioStretches(waves, SPEAKERS, training, EncoderSettings.model_validate(encoder), fresh, seed)


def read(inputs: AudioStretches, step: int) -> list[NDArray[np.float32]]:
    """The stretches of all cells that can be read, in one step."""
    places = [place for place in range(24) if place != 5]
    return audio(inputs.drawn(np.array(places), step, places))


def test_audio_is_cut_but_not_changed_without_a_warp(ramps: Waves) -> None:
    waves = read(stretches(ramps), 0)
    assert [len(wave) for wave in waves] == [6000 if place == 3 else 8000 for place in range(23)]
    starts = []
    for wave in waves:
        start = round(float(wave[0]) * 2 * LONG)
        np.testing.assert_allclose(wave, (start + np.arange(len(wave))) / (2 * LONG), atol=1e-4)
        starts.append(start)
    assert starts[3] == 0
    assert len(set(starts)) > 18
    assert min(starts) < 4000 < 10_000 < max(starts) <= LONG - 8000 + 1


def test_without_a_step_audio_starts_with_the_clip(ramps: Waves) -> None:
    first, second = audio(stretches(ramps, warp=1).plain(np.array([0, 3])))
    assert (len(first), len(second)) == (8000, 6000)
    assert abs(float(first[0])) < 1e-4


def test_audio_follows_from_seed_step_and_place(ramps: Waves) -> None:
    inputs = stretches(ramps, warp=0.5)
    waves = read(inputs, 3)
    for again in (read(inputs, 3), read(stretches(ramps, warp=0.5), 3)):
        assert all(np.array_equal(a, b) for a, b in zip(waves, again, strict=True))
    (alone,) = audio(inputs.drawn(np.array([8]), 3, [8]))
    np.testing.assert_array_equal(alone, waves[7])
    for other in (read(inputs, 4), read(stretches(ramps, seed=1, warp=0.5), 3)):
        assert not all(np.array_equal(a, b) for a, b in zip(waves, other, strict=True))


def factors(waves: list[NDArray[np.float32]]) -> NDArray[np.float64]:
    """How much faster each ramp rises than it was recorded."""
    slopes = [np.polyfit(np.arange(1000, len(w) - 1000), w[1000:-1000], 1)[0] * 2 * LONG for w in waves]
    return np.asarray(slopes)


def test_a_warped_speaker_is_warped_alike_in_all_cells_of_a_step(ramps: Waves) -> None:
    inputs = stretches(ramps, warp=0.5)
    speakers = np.delete(SPEAKERS, 5)
    seen = []
    for step in range(6):
        waves = read(inputs, step)
        # All are as long as an unwarped stretch, but the clip that is too short for one.
        lengths = np.delete([len(wave) for wave in waves], 3)
        assert set(lengths - 8000) <= {-1, 0, 1}
        found = factors(waves)
        for speaker in np.unique(speakers):
            assert np.ptp(found[speakers == speaker]) < 2e-3
        assert found.min() > 0.85
        assert found.max() < 1.17
        seen.append(np.abs(found - 1) > 5e-3)
    # Half of the speakers a step, others in another one.
    assert 0.3 < np.mean(seen) < 0.7
    assert any(not np.array_equal(seen[0], other) for other in seen[1:])


def test_no_speaker_is_warped_at_zero_and_all_are_at_one(ramps: Waves) -> None:
    np.testing.assert_allclose(factors(read(stretches(ramps), 1)), 1, atol=1e-3)
    twice = factors(read(stretches(ramps, warp=1, warp_range=(1.25, 1.25)), 1))
    np.testing.assert_allclose(twice, 1.25, atol=2e-3)


def test_a_clip_shorter_than_a_warped_stretch_is_heard_whole(ramps: Waves) -> None:
    waves = read(stretches(ramps, crop=2.0, warp=1, warp_range=(1.25, 1.25)), 0)
    assert abs(len(waves[0]) - LONG / 1.25) <= 1
    assert abs(len(waves[3]) - 6000 / 1.25) <= 1
