"""Near-duplicate voices: known answers from made-up voices, and one small real audition."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from intervox.corpus.casting import (
    cast_voices,
    effective_number,
    near_duplicates,
    voice_distances,
    voice_similarities,
)
from intervox.corpus.plan.people import all_speakers
from intervox.corpus.render.synthesis import synthesise
from intervox.parallel import Pool
from intervox.recipe.corpus import (
    BlockSettings,
    CastingSettings,
    ConditionSettings,
    CorpusRecipe,
    TextSettings,
)
from intervox.recipe.engines import EspeakSettings


def table(voices: int, twins: int, texts: int = 6, noise: float = 0.3) -> NDArray[np.float32]:
    """Made-up layer means: every voice and text has its own place, the last ``twins`` a double's."""
    random = np.random.default_rng(0)
    place = random.normal(size=(voices, 1, 40))
    place[voices - twins :] = place[:twins]
    text = 2 * random.normal(size=(1, texts, 40))
    means = place + text + noise * random.normal(size=(voices, texts, 40))
    return means.astype(np.float32)


def test_distances_are_zero_between_doubles_and_large_between_others() -> None:
    distances = voice_distances(voice_similarities(table(40, twins=5)))
    np.testing.assert_allclose(distances, distances.T, atol=1e-6)
    np.testing.assert_allclose(np.diag(distances), 0, atol=1e-6)
    doubles = [distances[index, 35 + index] for index in range(5)]
    assert max(np.abs(doubles)) < 0.01
    others = distances[:35, :35][np.triu_indices(35, 1)]
    assert others.min() > 0.05


def test_doubles_are_grouped_and_nobody_else() -> None:
    groups = near_duplicates(voice_distances(voice_similarities(table(40, twins=5))), 0.05)
    assert len(set(groups)) == 35
    assert all(groups[index] == groups[35 + index] for index in range(5))


def test_a_chain_of_like_voices_is_not_one_voice() -> None:
    # a and b are alike, b and c are alike, a and c are not.
    distances = np.array([[0, 0.02, 0.2], [0.02, 0, 0.03], [0.2, 0.03, 0]])
    assert len(set(near_duplicates(distances, 0.05))) == 2


@pytest.mark.parametrize(("voices", "copies"), [(7, 1), (7, 3), (1, 5)])
@pytest.mark.parametrize("steadiness", [1.0, 0.4])
def test_the_effective_number_counts_copies_once(voices: int, copies: int, steadiness: float) -> None:
    kind = np.repeat(np.arange(voices), copies)
    similarities = steadiness * (kind[:, None] == kind[None, :])
    assert effective_number(similarities) == pytest.approx(voices)


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_unrelated_voices_count_as_many_however_their_readings_vary(noise: float) -> None:
    random = np.random.default_rng(0)
    voices = random.normal(size=(20, 1, 200))
    means = voices + noise * random.normal(size=(20, 8, 200))
    assert 17 < effective_number(voice_similarities(means.astype(np.float32))) <= 20


RECIPE = CorpusRecipe(
    engines=(EspeakSettings(voices=8),),
    texts=TextSettings(count=80),
    train=BlockSettings(blocks=2, speakers=3, contents=3),
    test=BlockSettings(blocks=0),
    conditions=ConditionSettings(clean=1),
    casting=CastingSettings(texts=4, min_distance=0.6),  # groups eight voices into five or six
    shard_size=32,
)


def test_an_audition_drops_voices_and_measures_the_rest(tmp_path: Path) -> None:
    cast = cast_voices(RECIPE, 0, tmp_path / "casting", Pool(1))
    speakers = [speaker.label for speaker in all_speakers(RECIPE.engines[0])]
    assert set(cast.labels) == set(speakers)
    kept = {label for label in cast.labels.values() if label}
    assert cast.figures.distinct == len(kept) < len(speakers)
    dropped = sum(len(group) - 1 for group in cast.figures.near_duplicates)
    assert dropped == len(speakers) - len(kept)
    assert len(cast.figures.dropped) == dropped
    folder = tmp_path / "corpus"
    corpus = synthesise(RECIPE, 0, folder, Pool(1), cast)
    assert set(corpus.cells["speaker"].to_pylist()) <= kept
    distances = corpus.read_shard(0, ["voice_distance"])["voice_distance"].to_pylist()
    assert all(0 <= distance < 1 for distance in distances)
    waves = [clip.wave for clip in corpus.load_shard(0) if clip.wave is not None]
    others = sorted(kept)[::-1]
    own = corpus.cells["speaker"].to_pylist()
    wrong = [next(other for other in others if other != name) for name in own]
    assert np.mean(distances) < np.mean(cast.space.distances(waves, wrong[: len(waves)]))  # type: ignore[arg-type]
