"""Trials that ask for one factor alone."""

import numpy as np
import pytest

from intervox.metrics.trials import draw_factor_trials

UNKNOWN = -1


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_trials_differ_in_the_other_factors() -> None:
    """With few cells every pair of the kind is drawn, and no other."""
    speaker = np.array([0, 0, 0, 1, 1, 1, UNKNOWN])
    content = np.array([0, 1, 1, 0, 2, 2, 0])
    labels = {"speaker": speaker, "content": content}
    trials = draw_factor_trials(labels, "speaker", ["content"], 1000, generator())
    assert sorted(trials.targets.tolist()) == [[0, 1], [0, 2], [3, 4], [3, 5]]
    assert sorted(trials.impostors.tolist()) == [
        [0, 4], [0, 5], [1, 3], [1, 4], [1, 5], [2, 3], [2, 4], [2, 5]
    ]  # fmt: skip


def test_a_factor_that_hangs_on_another_is_not_asked_to_differ() -> None:
    speaker = np.repeat(np.arange(4), 3)
    labels = {"speaker": speaker, "language": speaker // 2}
    trials = draw_factor_trials(labels, "speaker", ["language"], 1000, generator())
    assert len(trials.targets) == 12
    # A language's own targets are of two speakers, though.
    trials = draw_factor_trials(labels, "language", ["speaker"], 1000, generator())
    assert (speaker[trials.targets[:, 0]] != speaker[trials.targets[:, 1]]).all()


def test_drawn_pairs_are_equally_likely() -> None:
    """Of a class of 30 cells and one of 10, 435 to 45 pairs, as of their numbers."""
    kind = np.repeat([0, 1], [30, 10])
    shares = []
    for seed in range(40):
        trials = draw_factor_trials({"speaker": kind}, "speaker", [], 100, generator(seed))
        assert len(np.unique(trials.targets, axis=0)) == len(trials.targets) == 100
        assert (kind[trials.targets[:, 0]] == kind[trials.targets[:, 1]]).all()
        assert (kind[trials.impostors[:, 0]] != kind[trials.impostors[:, 1]]).all()
        shares.append(np.mean(kind[trials.targets[:, 0]] == 0))
    assert float(np.mean(shares)) == pytest.approx(435 / 480, abs=0.02)
    again = draw_factor_trials({"speaker": kind}, "speaker", [], 100, generator(39))
    np.testing.assert_array_equal(again.targets, trials.targets)
