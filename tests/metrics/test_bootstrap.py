"""The bootstrap over speakers: what it weighs, that it pairs, and that its p-values are honest."""

from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from intervox.metrics.bootstrap import (
    BOOTSTRAP_BINS,
    Comparison,
    Missing,
    SpeakerResamples,
    compare_systems,
    interval,
)
from intervox.metrics.detection import equal_error_rate, error_rates
from intervox.metrics.trials import Trials
from intervox.seeds import rng
from tests.support.intervals import ends

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
    rates: list[float] = []
    count = who.max() + 1
    draws = (np.bincount(random.integers(count, size=count), minlength=count) for _ in range(repeats))
    for drawn in (np.ones(count), *draws):
        low = np.zeros((2, BOOTSTRAP_BINS + 1))
        for rank, pair in zip(ranks, np.concatenate([trials.targets, trials.impostors]), strict=True):
            target = who[pair[0]] == who[pair[1]]
            low[0 if target else 1, rank + 1] += drawn[who[pair[0]]] * (1 if target else drawn[who[pair[1]]])
        low = np.cumsum(low, axis=1)
        if low[:, -1].all():
            reject, fallen = low / low[:, -1:]
            rates.append(equal_error_rate(1 - fallen, reject))
    offset = rates[0] - equal_rate(scores)
    return [min(max(rate - offset, 0), 1) for rate in rates[1:]]


def test_resamples_are_their_definition() -> None:
    random = np.random.default_rng(0)
    who = np.repeat(np.arange(5), 4)
    trials = every_pair(who)
    scores = noisy_scores(trials, who, np.linspace(0, 3, 5), random)
    found = bootstrap_rates(scores, trials, who.astype(str), 20, 7)
    assert found == pytest.approx(by_loops(scores, trials, who, 20, 7), abs=1e-9)


@pytest.mark.parametrize(("speakers", "too_few"), [(2, True), (4, True), (5, False)])
def test_a_handful_of_speakers_has_no_interval(speakers: int, too_few: bool) -> None:
    who = np.repeat(np.arange(speakers), 4)
    trials = every_pair(who)
    scores = noisy_scores(trials, who, np.full(speakers, 1.0), np.random.default_rng(0))
    rates = SpeakerResamples(who, 100, rng(0, "bootstrap")).equal_error_rates(scores, trials)
    assert np.isnan(rates).all() == too_few
    found = compare_systems(scores, (scores[0] - 1, scores[1]), trials, who, 100, rng(0, "bootstrap"))
    assert (found.interval == "too few groups") == (found.p is None) == too_few


def test_equal_scores_are_chance_in_every_resample() -> None:
    who = np.repeat(np.arange(8), 4)
    trials = every_pair(who)
    scores = np.ones(len(trials.targets)), np.ones(len(trials.impostors))
    rates = bootstrap_rates(scores, trials, who, 50, 0)
    assert rates == pytest.approx(0.5)
    assert interval(0.5, rates) == "all resamples equal"


@pytest.mark.parametrize("seed", range(30))
def test_an_interval_holds_its_estimate_or_is_none(seed: int) -> None:
    """Few speakers or many, coarse scores or fine: ties, perfect and useless scores among them."""
    random = np.random.default_rng([seed, 3])
    speakers = int(random.integers(2, 15))
    who = np.repeat(np.arange(speakers), random.integers(2, 5))
    trials = every_pair(who)
    steps = random.choice([0.01, 1, 5, 1e6])
    voices = random.normal(random.choice([-2, 0, 2, 20]), 1, speakers)
    targets, impostors = noisy_scores(trials, who, voices, random)
    scores = np.round(targets / steps), np.round(impostors / steps)
    estimate = equal_rate(scores)
    resampled = SpeakerResamples(who, 100, rng(seed, "bootstrap")).equal_error_rates(scores, trials)
    found = interval(estimate, resampled)
    if isinstance(found, tuple):
        assert found[0] < found[1]
        assert found[0] <= round(estimate, 5) <= found[1]
    else:
        assert found in get_args(Missing)
        assert speakers < 5 or found != "too few groups"


def test_a_shifted_bootstrap_is_no_interval() -> None:
    assert interval(0.5, np.linspace(0.6, 0.8, 50)) == "resamples miss the estimate"


def test_few_draws_or_none() -> None:
    scores = np.ones(1), np.zeros(1)
    trials = Trials(np.array([[0, 1]]), np.array([[0, 2]]))
    assert len(bootstrap_rates(scores, trials, np.array([0, 0, 1]), 0, 0)) == 0
    assert interval(0.0, np.zeros(0)) is None


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
        low, high = ends(interval(equal_rate(scores), bootstrap_rates(scores, sample, few, 100, seed)))
        covered += low <= truth <= high
    assert 85 <= covered <= 100


def compared(seed: int, advantage: float) -> float:
    random = np.random.default_rng([seed, 2])
    who = np.repeat(np.arange(40), 4)
    trials = every_pair(who)
    voices = random.normal(2, 0.7, 40)
    first = noisy_scores(trials, who, voices + 0.5 * random.normal(size=40) + advantage, random)
    second = noisy_scores(trials, who, voices + 0.5 * random.normal(size=40), random)
    found = compare_systems(first, second, trials, who, 199, rng(seed, "bootstrap"))
    low, high = ends(found.interval)
    assert found.p is not None
    assert low <= found.difference <= high
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
    assert found == Comparison(0, "all resamples equal", None)
