"""Conditions that are drawn anew in every step."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from intervox.clips.corpus import Corpus
from intervox.corpus.acoustics.conditions import condition_bank
from intervox.errors import IntervoxError
from intervox.features.waves import Waves, decode
from intervox.recipe import Recipe
from intervox.recipe.corpus import ConditionSettings, CorpusRecipe
from intervox.recipe.training import EncoderSettings, TrainingSettings
from intervox.training.fresh import FreshConditions
from intervox.training.inputs import AudioStretches
from tests.support.corpora import tone_rows, write_corpus

QUIET = ConditionSettings(count=6, room=0, noise=0, microphone=0, band=0, tilt=0, padding=0, level=1)
"""Conditions that change the level alone: what was done to a clip is seen in its peak."""


def recipe(conditions: ConditionSettings = QUIET) -> Recipe:
    return Recipe(corpus=CorpusRecipe(conditions=conditions))


def plan(seeds: list[int], conditions: list[str]) -> pa.Table:
    return pa.table({"seed": pa.array(seeds, pa.int64()), "condition": conditions})


def test_a_rendition_is_known_by_its_seed(tmp_path: Path) -> None:
    cells = plan(
        [7, 7, 7, 9, 9, 4], ["level:-3dBFS", "clean", "level:-9dBFS", "clean", "clean", "level:-1dBFS"]
    )
    fresh = FreshConditions(cells, recipe(), tmp_path)
    assert fresh.dry.tolist() == [1, -1, 1, -1, -1, -1]


def test_without_dry_copies_there_is_nothing_to_disturb(tmp_path: Path) -> None:
    for conditions in (["level:-3dBFS", "level:-9dBFS"], ["clean", "clean"]):
        with pytest.raises(IntervoxError, match=r"needs a dry copy .* corpus\.dry_copy: true"):
            FreshConditions(plan([1, 2], conditions), recipe(), tmp_path)


@pytest.fixture
def waves(tmp_path: Path) -> Waves:
    return decode(Corpus(write_corpus(tmp_path / "corpus", tone_rows())), tmp_path / "waves")


def peaks(waves: Waves, fresh: FreshConditions, share: float, step: int) -> np.ndarray:
    """The peaks of the first four cells, of which the second is the dry copy of the first and third."""
    settings = EncoderSettings(fresh_conditions=share)
    inputs = AudioStretches(
        waves, np.zeros(24, np.int64), TrainingSettings(crop_seconds=9), settings, fresh, 0
    )
    found = inputs.drawn(np.arange(4), step, range(4))
    assert isinstance(found, list)
    return np.array([np.abs(wave).max() for wave in found])


def test_disturbed_cells_are_made_anew_and_dry_ones_stay(waves: Waves, tmp_path: Path) -> None:
    fresh = FreshConditions(plan([7, 7, 7, 9], ["x", "clean", "y", "clean"]), recipe(), tmp_path)
    own = np.array([np.abs(waves.read(row)).max() for row in range(4)])
    np.testing.assert_array_equal(peaks(waves, fresh, 0.0, 0), own)
    bank = {round(10 ** (c.level / 20), 3) for c in condition_bank(QUIET, 0)[1:] if c.level is not None}
    seen: list[set[float]] = [set(), set()]
    for step in range(12):
        found = peaks(waves, fresh, 1.0, step)
        np.testing.assert_array_equal(found, peaks(waves, fresh, 1.0, step))
        np.testing.assert_array_equal(found[[1, 3]], own[[1, 3]])
        for place, peak in enumerate(found[[0, 2]]):
            seen[place].add(round(float(peak), 3))
    assert all(1 < len(levels) <= len(bank) for levels in seen)
    assert all(min(abs(level - one) for one in bank) < 2e-3 for levels in seen for level in levels)
