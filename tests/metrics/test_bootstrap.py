"""The bootstrap over speakers: what it weighs, that it pairs, and that its p-values are honest."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from intervox.metrics.bootstrap import (
    BOOTSTRAP_BINS,
    Comparison,
    SpeakerResamples,
    compare_systems,
    interval,
)
from intervox.metrics.detection import equal_error_rate, error_rates
from intervox.metrics.trials import Trials
from intervox.seeds import rng

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


def every_pair(who: Numbers) -> Trials:
    pairs = np.argwhere(np.triu(np.ones((len(who), len(who)), bool), 1))
    same = who[pairs[:, 0]] == who[pairs[:, 1]]
    return Trials(pairs[same], pairs[~same])


def noisy_scores(
    trials: Trials, who: Numbers, quality: Floats, random: np.random.Generator
) -> tuple[Floats, Floats]:
    """Targets are as far from the impostors as their speaker is good."""
    targets = quality[who[trials.targets[:, 0]]] + random.normal(size=len(trials.targets))
    return targets, random.normal(size=len(trials.impostors))


def equal_rate(scores: tuple[Floats, Floats]) -> float:
    return equal_error_rate(*error_rates(*scores))


def bootstrap_rates(
    scores: tuple[Floats, Floats], trials: Trials, speakers: NDArray[Any], repeats: int, seed: int
) -> Floats:
    rates = SpeakerResamples(speakers, repeats, rng(seed, "bootstrap")).equal_error_rates(scores, trials)
    return rates[~np.isnan(rates)]


def by_loops(
    scores: tuple[Floats, Floats], trials: Trials, who: Numbers, repeats: int, seed: int
) -> list[float]:
    """The definition, trial by trial."""
    random = rng(seed, "bootstrap")
    pooled = np.concatenate(scores)
    ranks = np.argsort(np.argsort(pooled, kind="stable")) * BOOTSTRAP_BINS // len(pooled)
    rates = []
    for _ in range(repeats):
        drawn = np.bincount(random.integers(who.max() + 1, size=who.max() + 1), minlength=who.max() + 1)
        low = np.zeros((2, BOOTSTRAP_BINS + 1))
        for rank, pair in zip(ranks, np.concatenate([trials.targets, trials.impostors]), strict=True):
            target = who[pair[0]] == who[pair[1]]
            low[0 if target else 1, rank + 1] += drawn[who[pair[0]]] * (1 if target else drawn[who[pair[1]]])
        low = np.cumsum(low, axis=1)
        if low[:, -1].all():
            reject, fallen = low / low[:, -1:]
            rates.append(equal_error_rate(1 - fallen, reject))
    return rates


def test_resamples_are_their_definition() -> None:
    random = np.random.default_rng(0)
    who = np.repeat(np.arange(5), 4)
    trials = every_pair(who)
    scores = noisy_scores(trials, who, np.linspace(0, 3, 5), random)
    found = bootstrap_rates(scores, trials, who.astype(str), 20, 7)
    assert found == pytest.approx(by_loops(scores, trials, who, 20, 7), abs=1e-9)


def test_bootstrap_weighs_trials_by_their_speakers() -> None:
    # One speaker always fails, one never does: resampling two speakers gives 0, about 1/2, and 1.
    scores = np.array([-1.0, -1.0, 1.0, 1.0]), np.zeros(1)
    trials = Trials(np.array([[0, 1], [0, 1], [2, 3], [2, 3]]), np.array([[0, 2]]))
    speakers = np.array([0, 0, 1, 1])
    bounds = interval(bootstrap_rates(scores, trials, speakers, 200, 0))
    # Without both speakers there is no impostor, so only the mixed draw counts.
    assert bounds == pytest.approx([0.5, 0.5], abs=0.01)
    rates = SpeakerResamples(speakers, 200, rng(0, "bootstrap")).equal_error_rates(scores, trials)
    assert 60 < np.isnan(rates).sum() < 140


def test_few_draws_or_none() -> None:
    scores = np.ones(1), np.zeros(1)
    trials = Trials(np.array([[0, 1]]), np.array([[0, 2]]))
    assert len(bootstrap_rates(scores, trials, np.array([0, 0, 1]), 0, 0)) == 0
    assert interval(np.zeros(0)) is None
    lonely = Trials(np.array([[0, 1]]), np.array([[2, 3]]))
    rates = SpeakerResamples(np.array([0, 0, 1, 2]), 400, rng(0, "bootstrap")).equal_error_rates(
        scores, lonely
    )
    assert set(rates[~np.isnan(rates)]) == {0.0}


def test_blocks_of_repeats_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    who = np.repeat(np.arange(12), 5)
    trials = every_pair(who)
    scores = noisy_scores(trials, who, np.full(12, 2.0), np.random.default_rng(0))
    whole = bootstrap_rates(scores, trials, who, 30, 0)
    monkeypatch.setattr("intervox.metrics.bootstrap.HELD_WEIGHTS", 10_000)
    assert bootstrap_rates(scores, trials, who, 30, 0) == pytest.approx(whole, abs=1e-9)


def test_the_interval_covers_the_truth() -> None:
    """Speakers differ; the EER of all speakers there are lies in about 95 of 100 intervals."""
    population = np.random.default_rng(0).normal(2, 1, 4_000)
    who = np.repeat(np.arange(len(population)), 2)
    trials = Trials(
        np.arange(len(who)).reshape(-1, 2), np.stack([np.arange(7_999), np.arange(1, 8_000)], 1)[1::2]
    )
    truth = equal_rate(noisy_scores(trials, who, population, np.random.default_rng(1)))
    covered = 0
    for seed in range(100):
        random = np.random.default_rng([seed, 1])
        few = np.repeat(np.arange(40), 5)
        sample = every_pair(few)
        scores = noisy_scores(sample, few, random.choice(population, 40), random)
        bounds = interval(bootstrap_rates(scores, sample, few, 100, seed))
        assert bounds is not None
        covered += bounds[0] <= truth <= bounds[1]
    assert 85 <= covered <= 100


def compared(seed: int, advantage: float) -> float:
    random = np.random.default_rng([seed, 2])
    who = np.repeat(np.arange(40), 4)
    trials = every_pair(who)
    voices = random.normal(2, 0.7, 40)
    first = noisy_scores(trials, who, voices + 0.5 * random.normal(size=40) + advantage, random)
    second = noisy_scores(trials, who, voices + 0.5 * random.normal(size=40), random)
    found = compare_systems(first, second, trials, who, 199, rng(seed, "bootstrap"))
    assert found.interval is not None
    assert found.p is not None
    assert found.interval[0] <= found.difference <= found.interval[1]
    return found.p


def test_p_is_uniform_where_nothing_differs_and_small_where_something_does() -> None:
    null = np.array([compared(seed, 0) for seed in range(200)])
    assert 0.005 <= (null < 0.05).mean() <= 0.11
    assert (null < 0.5).mean() == pytest.approx(0.5, abs=0.11)
    real = np.array([compared(seed, 1.5) for seed in range(10)])
    assert (real <= 0.01).all()
    assert real.min() == pytest.approx(1 / 200)


def test_a_system_does_not_differ_from_itself() -> None:
    who = np.repeat(np.arange(6), 4)
    trials = every_pair(who)
    scores = noisy_scores(trials, who, np.full(6, 1.0), np.random.default_rng(0))
    found = compare_systems(scores, scores, trials, who, 50, rng(0, "bootstrap"))
    assert found == Comparison(0, (0, 0), 1)
