"""Error rates, costs and information against closed forms and against other people's programs."""

import numpy as np
import pytest
from llreval.pav_rocch import PAV, ROCCH
from llreval.quick_eval import tarnon_2_eer_cllr_mincllr
from llreval.utils import tarnon_2_scoreslabels
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.metrics import det_curve, roc_curve

from intervox.metrics.detection import Scores, cllr, equal_error_rate, error_rates, min_cllr, min_dcf

Floats = NDArray[np.float64]


def rates(targets: list[float], impostors: list[float]) -> tuple[Floats, Floats]:
    return error_rates(np.asarray(targets), np.asarray(impostors))


def gaussian_scores(distance: float, targets: int, impostors: int, seed: int = 0) -> tuple[Floats, Floats]:
    random = np.random.default_rng(seed)
    return random.normal(distance, 1, targets), random.normal(0, 1, impostors)


def test_error_rates_by_hand() -> None:
    # Thresholds between 0.4 and 0.6: one of two targets rejected, one of four impostors accepted.
    accept, reject = rates([0.4, 0.9], [0.1, 0.2, 0.3, 0.6])
    assert (0.25, 0.5) in set(zip(accept.tolist(), reject.tolist(), strict=True))
    # Between the points (0.25, 0) and (0.25, 0.5) the error rates cross at 0.25.
    assert equal_error_rate(accept, reject) == pytest.approx(0.25)


def test_perfect_chance_and_inverted_scores() -> None:
    perfect, chance, inverted = rates([1, 2], [-1, 0]), rates([0, 1], [0, 1]), rates([-1, 0], [1, 2])
    assert [equal_error_rate(*each) for each in (perfect, chance, inverted)] == pytest.approx([0, 0.5, 1])
    assert [min_dcf(*each, 0.05) for each in (perfect, chance, inverted)] == pytest.approx([0, 1, 1])
    assert [min_cllr(*each) for each in (perfect, chance, inverted)] == pytest.approx([0, 1, 1])
    assert min_dcf(*rates([0, 0], [0]), 0.01) == pytest.approx(1)
    assert equal_error_rate(*rates([0, 0], [0])) == pytest.approx(0.5)


@pytest.mark.parametrize("distance", [1.0, 2.0, 3.5])
def test_gaussian_scores_have_their_closed_form_figures(distance: float) -> None:
    """Two unit Gaussians, ``distance`` apart; the log-likelihood ratio of s is d (s - d / 2)."""
    scores = gaussian_scores(distance, 200_000, 200_000)
    accept, reject = error_rates(*scores)
    assert equal_error_rate(accept, reject) == pytest.approx(norm.cdf(-distance / 2), abs=2e-3)

    ratios = [distance * (score - distance / 2) for score in scores]
    for prior in (0.01, 0.05, 0.5):
        best = distance / 2 + np.log((1 - prior) / prior) / distance
        cost = prior * norm.cdf(best - distance) + (1 - prior) * norm.sf(best)
        expected = pytest.approx(cost / min(prior, 1 - prior), abs=0.02)
        assert min_dcf(accept, reject, prior) == expected

    # The ratios of targets are normal with mean d² / 2 and variance d², those of impostors mirrored.
    law = norm(distance**2 / 2, distance)
    cost, _ = quad(
        lambda ratio: law.pdf(ratio) * np.logaddexp(0, -ratio) / np.log(2), *law.ppf([1e-12, 1 - 1e-12])
    )
    assert cllr(*ratios) == pytest.approx(cost, abs=3e-3)
    assert min_cllr(accept, reject) == pytest.approx(cost, abs=3e-3)

    # One less Cllr is the information that a score has of the class: entropy less that within it.
    def mixture(score: float) -> float:
        return float(norm.pdf(score) + norm.pdf(score - distance)) / 2

    entropy, _ = quad(lambda score: -mixture(score) * np.log2(mixture(score)), -10, distance + 10)
    assert 1 - cost == pytest.approx(entropy - np.log2(2 * np.pi * np.e) / 2, abs=1e-6)


def test_cllr_by_hand() -> None:
    assert cllr(np.zeros(3), np.zeros(5)) == pytest.approx(1)
    # A ratio of 3 for the target and of 1/3 for the impostor: log2(4/3) each.
    assert cllr(np.log([3.0]), -np.log([3.0])) == pytest.approx(np.log2(4 / 3))
    assert cllr(np.array([-2000.0]), np.array([0.0])) == pytest.approx(1000 / np.log(2) + 0.5)


def test_only_the_order_of_scores_counts() -> None:
    targets, impostors = gaussian_scores(1.5, 3_000, 5_000)
    plain, warped = error_rates(targets, impostors), error_rates(np.exp(targets), np.exp(impostors))
    assert min_cllr(*plain) == pytest.approx(min_cllr(*warped), abs=1e-12)
    assert equal_error_rate(*plain) == pytest.approx(equal_error_rate(*warped), abs=1e-12)


def stored(scores: tuple[Floats, Floats], decimals: int, kind: type[np.floating]) -> tuple[Scores, Scores]:
    return scores[0].round(decimals).astype(kind), scores[1].round(decimals).astype(kind)


SAMPLES: dict[str, tuple[Scores, Scores]] = {
    "continuous": gaussian_scores(1.5, 700, 1_100),
    "many ties": stored(gaussian_scores(1.5, 700, 1_100), 1, np.float64),
    "few targets": gaussian_scores(2, 20, 2_000),
    "inverted": gaussian_scores(-1, 300, 300),
    "single precision": stored(gaussian_scores(1, 500, 500), 9, np.float32),
}
each_sample = pytest.mark.parametrize("sample", SAMPLES)


@each_sample
def test_rates_agree_with_scikit_learn(sample: str) -> None:
    targets, impostors = SAMPLES[sample]
    labels = np.repeat([True, False], [len(targets), len(impostors)])
    accept, reject = error_rates(targets, impostors)
    points = set(zip(accept.tolist(), reject.tolist(), strict=True))
    theirs = det_curve(labels, np.concatenate([targets, impostors]))
    assert set(zip(theirs[0].tolist(), theirs[1].tolist(), strict=True)) <= points

    # pyannote.metrics 4.2, binary_classification.det_curve: the mean of the four rates around the crossing.
    false, true, _ = roc_curve(labels, np.concatenate([targets, impostors]), drop_intermediate=False)
    at = np.flatnonzero(false > 1 - true)[0]
    around = (false[at - 1] + false[at] + 2 - true[at - 1] - true[at]) / 4
    step = 1 / min(len(targets), len(impostors))
    assert equal_error_rate(accept, reject) == pytest.approx(around, abs=step)


@each_sample
def test_rates_agree_with_speechbrain(sample: str) -> None:
    """SpeechBrain 1.1, ``metric_stats.EER`` and ``minDCF``: every score and every midpoint is tried."""
    targets, impostors = SAMPLES[sample]
    scores = np.unique(np.concatenate([targets, impostors]))
    thresholds = np.sort(np.concatenate([scores, (scores[1:] + scores[:-1]) / 2]))
    rejected = (targets <= thresholds[:, None]).mean(axis=1)
    accepted = (impostors > thresholds[:, None]).mean(axis=1)
    nearest = np.argmin(np.abs(accepted - rejected))
    accept, reject = error_rates(targets, impostors)
    step = 1 / min(len(targets), len(impostors)) if sample != "many ties" else 0.02
    eer = (accepted[nearest] + rejected[nearest]) / 2
    assert equal_error_rate(accept, reject) == pytest.approx(eer, abs=step)
    for prior in (0.01, 0.05):
        # Theirs is not normalised, and never tries to accept everything: never the best at these priors.
        cost = (prior * rejected + (1 - prior) * accepted).min()
        assert min_dcf(accept, reject, prior) == pytest.approx(cost / prior, abs=1e-9)


@each_sample
def test_costs_agree_with_the_script_of_the_voxceleb_recipes(sample: str) -> None:
    """``compute_min_dcf.py`` of Kaldi's sre16 and voxceleb recipes: one pass over the sorted scores."""
    targets, impostors = SAMPLES[sample]
    labelled = sorted([(score, 1) for score in targets] + [(score, 0) for score in impostors])
    misses, accepts, best = 0, len(impostors), {0.01: np.inf, 0.05: np.inf}
    for score, after in zip(labelled, [*labelled[1:], (None, 0)], strict=True):
        misses += score[1]
        accepts -= 1 - score[1]
        if score[0] == after[0]:  # The script would part equal scores; no threshold can.
            continue
        for prior in best:
            cost = prior * misses / len(targets) + (1 - prior) * accepts / len(impostors)
            best[prior] = min(best[prior], cost / min(prior, 1 - prior))
    rates = error_rates(targets, impostors)
    assert {prior: min_dcf(*rates, prior) for prior in best} == pytest.approx(best)


@each_sample
def test_information_agrees_with_brummer_s_own_program(sample: str) -> None:
    """``llreval`` (PYLLR), which has the EER of the ROC's convex hull."""
    targets, impostors = (score.astype(np.float64) for score in SAMPLES[sample])
    hull_eer, their_cllr, their_min = tarnon_2_eer_cllr_mincllr(targets, impostors)
    accept, reject = error_rates(targets, impostors)
    assert cllr(targets, impostors) == pytest.approx(their_cllr)
    assert min_cllr(accept, reject) == pytest.approx(their_min, abs=1e-9)
    assert hull_eer - 1e-4 <= equal_error_rate(accept, reject)
    assert hull_eer == pytest.approx(min(0.5, equal_error_rate(accept, reject)), abs=0.03)

    priors = np.array([0.01, 0.05])
    scores, labels = tarnon_2_scoreslabels(targets, impostors)
    least = ROCCH(PAV(scores, labels)).Bayes_error_rate(np.log(priors / (1 - priors)))
    assert [min_dcf(accept, reject, prior) for prior in priors] == pytest.approx(least / priors)
