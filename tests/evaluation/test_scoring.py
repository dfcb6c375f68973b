"""Scorers against their definitions, and against a model whose likelihoods are known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

from intervox.evaluation.systems import CHUNK, PLDA_SHRINKAGE, as_norm, centred, plda, speaker_cohort
from intervox.metrics.detection import cllr, equal_error_rate, error_rates
from intervox.metrics.vectors import cosine, unit
from intervox.model.closed_form import fit_lda

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


def pairs_of(clips: int, count: int, seed: int = 0) -> Numbers:
    return np.random.default_rng(seed).integers(clips, size=(count, 2))


def test_a_cosine_is_that_of_its_pair_in_any_chunk() -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(50, 7)))
    pairs = pairs_of(50, 2 * CHUNK + 3)
    assert cosine(vectors, pairs) == pytest.approx((vectors @ vectors.T)[tuple(pairs.T)], abs=1e-6)
    assert len(cosine(vectors, pairs[:0])) == 0


def test_centring_takes_away_what_all_vectors_share() -> None:
    random = np.random.default_rng(0)
    who, shared = np.repeat(np.arange(20), 5), 3 * random.normal(size=12)
    vectors = unit(shared + random.normal(size=(20, 12))[who] + 0.3 * random.normal(size=(100, 12)))
    pairs = pairs_of(100, 500)
    mean = vectors.mean(axis=0)
    expected = unit(vectors - mean)
    assert centred(mean)(vectors, pairs) == pytest.approx((expected @ expected.T)[tuple(pairs.T)], abs=1e-6)


def test_as_norm_is_its_definition() -> None:
    random = np.random.default_rng(0)
    vectors, cells = unit(random.normal(size=(30, 6))), unit(random.normal(size=(80, 6)))
    speakers = np.repeat(np.arange(20), 4).astype(str)
    norm = as_norm(speaker_cohort(cells, speakers), top=7)
    for pair, score in zip(pairs_of(30, 40), norm(vectors, pairs_of(30, 40)), strict=True):
        cohort = [unit(cells[speakers == name].mean(axis=0)) for name in np.unique(speakers)]
        plain = vectors[pair[0]] @ vectors[pair[1]]
        halves = []
        for side in pair:
            nearest = sorted((float(vectors[side] @ entry) for entry in cohort), reverse=True)[:7]
            halves.append((plain - np.mean(nearest)) / np.std(nearest))
        assert score == pytest.approx(np.mean(halves), rel=1e-4)


def test_as_norm_makes_conditions_comparable() -> None:
    """Clips of a channel that lies near the cohort score high with anyone; normalised ones do not."""
    random = np.random.default_rng(0)
    voices, channel = random.normal(size=(60, 24)), 4 * random.normal(size=24)
    who = np.repeat(np.arange(60), 6)
    noisy = np.arange(360) % 2 == 1
    vectors = unit(voices[who] + noisy[:, None] * channel + 0.7 * random.normal(size=(360, 24)))
    cohort = np.repeat([0.0, 1.0], 100)[:, None] * channel + random.normal(size=(200, 24))
    pairs = np.argwhere(np.triu(np.ones((360, 360), bool), 1))
    pairs = pairs[noisy[pairs[:, 0]] == noisy[pairs[:, 1]]]
    same = who[pairs[:, 0]] == who[pairs[:, 1]]
    plain, normed = (
        equal_error_rate(*error_rates(scores[same], scores[~same]))
        for scores in (cosine(vectors, pairs), as_norm(unit(cohort), 50)(vectors, pairs))
    )
    assert normed < plain - 0.03


def two_covariances(dim: int) -> tuple[Floats, Floats]:
    random = np.random.default_rng(3)
    first, second = random.normal(size=(2, dim, dim))
    return first @ first.T, 0.5 * second @ second.T + 0.2 * np.eye(dim)


def draw_clips(
    between: Floats, within: Floats, speakers: int, each: int, seed: int
) -> tuple[Floats, Numbers]:
    random = np.random.default_rng(seed)
    dim = len(between)
    voices = random.multivariate_normal(np.ones(dim), between, speakers)
    who = np.repeat(np.arange(speakers), each)
    return voices[who] + random.multivariate_normal(np.zeros(dim), within, len(who)), who


def true_ratios(between: Floats, within: Floats, first: Floats, second: Floats) -> Floats:
    total, mean = between + within, np.ones(2 * len(between))
    same = np.block([[total, between], [between, total]])
    both = np.concatenate([first, second], axis=1)
    either = multivariate_normal(mean[: len(between)], total)
    ratios = multivariate_normal(mean, same).logpdf(both) - either.logpdf(first) - either.logpdf(second)
    return np.asarray(ratios)


def test_plda_finds_the_likelihood_ratio_of_the_model_that_made_the_data() -> None:
    between, within = two_covariances(4)
    cells, labels = draw_clips(between, within, 1_500, 12, 0)
    model = plda(cells.astype(np.float32), labels.astype(str))
    clips, who = draw_clips(between, within, 120, 5, 1)
    pairs = pairs_of(len(clips), 60_000)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    same = who[pairs[:, 0]] == who[pairs[:, 1]]
    found = model(clips.astype(np.float32), pairs)
    true = true_ratios(between, within, clips[pairs[:, 0]], clips[pairs[:, 1]])
    assert np.corrcoef(found, true)[0, 1] > 0.995
    # Ratios of the right model are calibrated; those found are nearly so.
    assert cllr(found[same], found[~same]) == pytest.approx(cllr(true[same], true[~same]), abs=0.03)


def test_plda_is_the_ratio_of_its_own_gaussians() -> None:
    between, within = two_covariances(3)
    cells, labels = draw_clips(between, within, 200, 6, 0)
    model = plda(cells.astype(np.float32), labels.astype(str))
    pairs = pairs_of(len(cells), 30)
    numbers = np.unique(labels.astype(str), return_inverse=True)[1]
    directions = fit_lda(cells.astype(np.float32), numbers, 3, PLDA_SHRINKAGE)
    points = cells @ directions.weight.T + directions.bias + 1  # ``true_ratios`` has a mean of one.
    psi = np.diag(directions.reliability / (1 - directions.reliability)).astype(np.float64)
    expected = true_ratios(psi, np.eye(3), points[pairs[:, 0]], points[pairs[:, 1]])
    assert model(cells.astype(np.float32), pairs) == pytest.approx(expected, rel=1e-3, abs=1e-3)
