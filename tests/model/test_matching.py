"""Whether two clips say the same: alignment, metric, calibration and answers."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from intervox.audio import SAMPLE_RATE
from intervox.errors import IntervoxError
from intervox.evaluation.matching import fit_matching
from intervox.model.matching import Matching, Spoken, best_path, pooled_steps, speech_activity
from intervox.model.model import SubspaceModel

DIM = 16


def brute(similarity: np.ndarray) -> float:
    """The least distance of a path, by the recursion as it is written."""
    n, m = similarity.shape
    costs = np.full((n + 1, m + 1), np.inf)
    costs[0, 0] = 0
    for i in range(n):
        for j in range(m):
            own = 1 - similarity[i, j]
            costs[i + 1, j + 1] = min(costs[i, j] + 2 * own, costs[i, j + 1] + own, costs[i + 1, j] + own)
    return float(costs[n, m])


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (6, 1), (7, 11), (20, 13)])
def test_the_path_is_the_best_one(shape: tuple[int, int]) -> None:
    similarity = np.random.default_rng(sum(shape)).uniform(-1, 1, shape).astype(np.float32)
    path = best_path(similarity)
    assert path[0].tolist() == [0, 0]
    assert path[-1].tolist() == [shape[0] - 1, shape[1] - 1]
    cost = 2 * (1 - similarity[0, 0])
    for before, after in pairwise(path):
        step = tuple(after - before)
        assert step in {(1, 0), (0, 1), (1, 1)}
        cost += sum(step) * (1 - similarity[tuple(after)])
    assert cost == pytest.approx(brute(similarity), rel=1e-5)


def test_silence_and_steady_sounds_are_not_speech() -> None:
    random = np.random.default_rng(0)
    noise = random.normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    wave = np.concatenate([0.001 * noise, noise, 0.001 * noise])
    activity = speech_activity(wave, 30)
    assert activity[:9].max() < 0.1
    assert activity[11:19].min() > 0.9
    assert activity[21:].max() < 0.1
    tone = np.sin(np.arange(SAMPLE_RATE) / 5).astype(np.float32)
    for steady in (noise, tone):
        assert speech_activity(steady, 10).tolist() == [0.0] * 10
        # Of a quarter of a second the level says nothing.
        assert speech_activity(steady[:4_000], 3).tolist() == [1.0] * 3


def test_steps_average_frames() -> None:
    frames = np.arange(18, dtype=np.float32).reshape(9, 2)
    steps = pooled_steps(frames)
    assert steps.shape == (2, 2)
    np.testing.assert_allclose(steps[0], frames[:5].mean(axis=0))
    assert pooled_steps(frames[:1]).shape == (1, 2)


class Voices:
    """A model whose clips are sequences of sounds; a voice moves all of them, and noise each."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(1)
        self.sounds = self.random.normal(0, 1, (40, DIM))

    def say(self, text: list[int], noise: float = 0.3) -> Spoken:
        """Each sound lasts three to five steps."""
        lengths = self.random.integers(3, 6, len(text))
        steps = np.repeat(self.sounds[text], lengths, axis=0) + self.random.normal(0, noise, DIM)
        steps = steps + self.random.normal(0, noise, steps.shape)
        steps = (steps / np.linalg.norm(steps, axis=1, keepdims=True)).astype(np.float32)
        mean = steps.mean(axis=0)
        seconds = 0.08 * len(steps)
        return Spoken(mean / np.linalg.norm(mean), steps, np.ones(len(steps), np.float32), seconds)

    def spoken(self, clips: list[Spoken]) -> list[Spoken]:
        return clips


@pytest.fixture(scope="module")
def voices() -> Voices:
    return Voices()


@pytest.fixture(scope="module")
def matching(voices: Voices) -> Matching:
    texts = [voices.random.integers(0, 40, size).tolist() for size in [2] * 20 + [10] * 40]
    contents = [str(number) for number in range(len(texts)) for _ in range(4)]
    clips = [[voices.say(texts[int(content)], noise) for content in contents] for noise in (0.3, 0.5)]
    found = fit_matching(voices, clips[0], clips[1], contents, draws=200)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_sentences_are_told_apart_and_partly_shared_ones_are_found(
    voices: Voices, matching: Matching
) -> None:
    order = voices.random.permutation(40).tolist()
    text, other = order[:12], order[12:24]
    reference = voices.say(text)
    assert matching.match(reference, voices.say(text)).answer == "same"
    assert matching.match(reference, voices.say(other)).answer == "different"
    mixed = voices.say([*text[:8], *other[8:]])
    found = matching.match(reference, mixed)
    assert found.answer == "partly"
    assert found.share == pytest.approx(8 / 12, abs=0.15)
    (begin, _), (_, end) = found.differences[0].second, found.differences[-1].second
    assert begin == pytest.approx(mixed.seconds * 8 / 12, abs=0.6)
    assert end == pytest.approx(mixed.seconds, abs=0.3)


def test_words_are_the_same_or_not(voices: Voices, matching: Matching) -> None:
    assert matching.match(voices.say([1, 2]), voices.say([1, 2])).answer == "same"
    assert matching.match(voices.say([1, 2]), voices.say([3, 4])).answer == "different"


def test_what_cannot_be_compared_is_said(voices: Voices, matching: Matching) -> None:
    long, short = voices.say(list(range(30))), voices.say([1, 2, 3])
    found = matching.match(long, short)
    assert found.answer == "unclear"
    assert "intervox spot" in found.reason
    silent = short._replace(activity=np.full(len(short.steps), 0.001, np.float32))
    assert "hardly any speech" in matching.match(silent, short).reason
    assert "single words" in matching._replace(sentences=()).match(long, long).reason


def test_a_corpus_of_one_text_teaches_nothing(voices: Voices) -> None:
    clips = [voices.say([1, 2]) for _ in range(4)]
    assert fit_matching(voices, clips, clips, ["a"] * 4) is None  # type: ignore[arg-type]


def test_a_model_keeps_its_matching(matching: Matching, tmp_path: Path) -> None:
    subspaces = {"content": {"factor": "content", "dim": DIM}}
    model = SubspaceModel("bundled:whisper-tiny.en", 2, 4, subspaces)
    with pytest.raises(IntervoxError, match="can't match words yet"):
        model.match(np.zeros(9), np.zeros(9))
    key = model.key
    model.matching = matching
    assert model.key == key
    model.save_pretrained(tmp_path)
    again = SubspaceModel.from_pretrained(tmp_path).matching
    assert again is not None
    for kept, made in zip(again, matching, strict=True):
        np.testing.assert_array_equal(kept, made)
