import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from intervox.clips.labels import Clips
from intervox.evaluation.findings import Keywords
from intervox.evaluation.keywords import (
    draw_episodes,
    probe_correct,
    prototypes,
    shot_resamples,
    shots_correct,
    spot_keywords,
)
from intervox.metrics.bootstrap import SpeakerResamples, bootstrap_weights, interval
from intervox.metrics.trials import Trials
from intervox.metrics.vectors import unit
from intervox.seeds import rng
from tests.support.clips import grid
from tests.support.intervals import ends

CLIPS = grid(12, 6, repeats=4)


def planted(word: float, voice: float, noise: float, clips: Clips = CLIPS, dim: int = 20) -> np.ndarray:
    """Vectors that hold so much of the word, of the voice, and of neither."""
    random = np.random.default_rng(0)
    vectors = noise * random.normal(size=(len(clips), dim))
    for weight, labels in ((word, clips.contents), (voice, clips.speakers)):
        values, number = np.unique(labels, return_inverse=True)
        vectors += weight * random.normal(size=(len(values), dim))[number]
    return unit(vectors)


def accuracy(vectors: NDArray[np.float32], shots: int, episodes: int) -> float:
    found = shot_resamples(vectors, CLIPS, shots, episodes, 0, 0)
    assert found is not None
    return found[0]


def test_words_are_told_and_voices_are_no_words() -> None:
    words, voices = planted(1, 0, 0.1), planted(0, 1, 0.1)
    assert probe_correct(words, CLIPS)[1].all()
    assert accuracy(words, 1, 20) == pytest.approx(1, abs=0.01)
    assert probe_correct(voices, CLIPS)[1].mean() < 0.35
    assert accuracy(voices, 1, 50) == pytest.approx(1 / 6, abs=0.05)


def test_more_shots_help_where_voices_disturb() -> None:
    result = spot_keywords(planted(1, 1.5, 0.1), CLIPS, 50, 200, 0, probe=True, open_set=False)
    assert result.shot_1
    assert result.shot_5
    assert result.shot_10
    assert result.shot_1.accuracy < result.shot_5.accuracy < result.shot_10.accuracy
    for found in (result.shot_1, result.shot_5, result.shot_10):
        low, high = ends(found.interval)
        assert low < found.accuracy < high
        assert found.episodes == 50
    assert result.chance == pytest.approx(1 / 6, abs=1e-5)
    assert (
        Keywords.model_validate(json.loads(json.dumps(result.model_dump(mode="json"), allow_nan=False)))
        == result
    )
    assert shot_resamples(planted(1, 0, 1), CLIPS, 1000, 5, 10, 0) is None


def test_episodes_are_those_of_earlier_versions() -> None:
    """The draws that published figures rest on: halves of the speakers, then examples by keyword."""
    random = rng(3, "keywords.episodes", 5)
    names, speaker = np.unique(CLIPS.speakers, return_inverse=True)
    contents, label = np.unique(CLIPS.contents, return_inverse=True)
    episodes = draw_episodes(CLIPS, [contents] * 4, 5, rng(3, "keywords.episodes", 5))
    for _, examples, tested in episodes:
        enrolling = np.isin(speaker, random.permutation(len(names))[: len(names) // 2])
        for index, drawn in enumerate(examples):
            available = np.flatnonzero(enrolling & (label == index))
            np.testing.assert_array_equal(drawn, random.choice(available, 5, replace=False))
        np.testing.assert_array_equal(tested, np.flatnonzero(~enrolling))


def test_shots_against_nearest_centroids() -> None:
    vectors = planted(1, 1, 0.5)
    contents = np.unique(CLIPS.contents)
    answers = shots_correct(vectors, CLIPS, 5, 3, 0)
    draws = draw_episodes(CLIPS, [contents] * 3, 5, rng(0, "keywords.episodes", 5))
    for (tested, correct), (_, examples, _) in zip(answers, draws, strict=True):
        # Between unit vectors, the nearest centroid is the one with the largest cosine.
        nearest = cdist(vectors[tested], prototypes(vectors, examples)).argmin(axis=1)
        np.testing.assert_array_equal(correct, contents[nearest] == CLIPS.contents[tested])


def test_the_interval_is_over_speakers() -> None:
    """Two speakers whom nothing understands, among twelve: speakers decide how sure the figure is."""
    vectors = planted(1, 0, 0.01)
    unclear = np.isin(CLIPS.speakers, ["speaker 00", "speaker 01"])
    vectors[unclear] = planted(0, 0, 1)[unclear]
    result = spot_keywords(vectors, CLIPS, 1, 2_000, 0, probe=True, open_set=False)
    wrong = ~probe_correct(vectors, CLIPS)[1]
    deviation = np.sqrt(np.var(np.repeat([1, 0], [2, 10])) / 12) * wrong.mean() * 12 / 2
    low, high = ends(result.probe_interval)
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.2)


def test_an_official_split_is_used_where_it_holds_speakers_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intervox.evaluation.keywords.OFFICIAL_TEST", 10)
    vectors = planted(1, 0, 0.1)
    tested_speakers = CLIPS.speakers > "speaker 08"
    split = np.where(tested_speakers, "test", "train")
    apart = replace(CLIPS, split=split)
    np.testing.assert_array_equal(probe_correct(vectors, apart)[0], np.flatnonzero(tested_speakers))
    mixed = replace(CLIPS, split=np.where(np.arange(len(CLIPS)) % 2, "test", "train"))
    assert len(probe_correct(vectors, mixed)[0]) == len(CLIPS)
    unseen = replace(
        apart, split=np.where(CLIPS.contents == "word 00", np.where(tested_speakers, split, ""), split)
    )
    assert len(probe_correct(vectors, unseen)[0]) == len(CLIPS)


def test_folds_of_one_word_are_answered_with_it() -> None:
    who = np.repeat(["ann", "bob"], 6)
    clips = Clips(who, {"speaker": who, "content": who}, np.ones(12), np.full(12, ""))
    assert not probe_correct(np.eye(12, dtype=np.float32), clips)[1].any()


def test_speakers_are_drawn_as_in_verification() -> None:
    weights = bootstrap_weights(6, 200, rng(0, "bootstrap"))
    assert (weights.sum(axis=1) == 6).all()
    clips = np.arange(12)
    trials = Trials(clips.reshape(-1, 2), np.array([[0, 2], [4, 6], [8, 10]]))
    resamples = SpeakerResamples(clips // 2, 200, rng(0, "bootstrap"))
    rates = resamples.equal_error_rates((np.linspace(-1, 1, 6), np.zeros(3)), trials)
    # Only draws of both speakers of a pair have impostors.
    paired = (weights[:, ::2] * weights[:, 1::2]).any(axis=1)
    assert 0 < paired.sum() < 200
    assert (~np.isnan(rates) == paired).all()
    assert interval(0.0, np.empty(0)) is None
