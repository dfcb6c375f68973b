import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from intervox.evaluation.representations import unit
from intervox.evaluation.verification import (
    Trials,
    bootstrap_rates,
    draw_trials,
    equal_error_rate,
    error_rates,
    interval,
    min_dcf,
    verify,
)


def rates(targets: list[float], impostors: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return error_rates(np.asarray(targets), np.asarray(impostors))


def test_error_rates_by_hand() -> None:
    # Thresholds between 0.4 and 0.6: one of two targets rejected, one of four impostors accepted.
    accept, reject = rates([0.4, 0.9], [0.1, 0.2, 0.3, 0.6])
    assert (0.25, 0.5) in set(zip(accept.tolist(), reject.tolist(), strict=True))
    # Between the points (0.25, 0) and (0.25, 0.5) the error rates cross at 0.25.
    assert equal_error_rate(accept, reject) == pytest.approx(0.25)


def test_perfect_chance_and_inverted_scores() -> None:
    assert equal_error_rate(*rates([1, 2], [-1, 0])) == 0
    assert equal_error_rate(*rates([0, 1], [0, 1])) == pytest.approx(0.5)
    assert equal_error_rate(*rates([-1, 0], [1, 2])) == 1
    assert min_dcf(*rates([1, 2], [-1, 0]), 0.01) == 0
    assert min_dcf(*rates([-1, 0], [1, 2]), 0.05) == pytest.approx(1)


@pytest.mark.parametrize("distance", [1.0, 2.0, 3.5])
def test_gaussian_scores_have_their_closed_form_rates(distance: float) -> None:
    random = np.random.default_rng(0)
    scores = random.normal(distance, 1, 200_000), random.normal(0, 1, 200_000)
    accept, reject = error_rates(*scores)
    assert equal_error_rate(accept, reject) == pytest.approx(norm.cdf(-distance / 2), abs=2e-3)
    thresholds = np.linspace(-3, distance + 3, 2000)
    for prior in (0.01, 0.05):
        costs = prior * norm.cdf(thresholds - distance) + (1 - prior) * norm.sf(thresholds)
        assert min_dcf(accept, reject, prior) == pytest.approx(costs.min() / prior, abs=0.02)


def labelled(speakers: int, contents: int, repeats: int = 2) -> tuple[np.ndarray, np.ndarray]:
    grid = [(s, c) for s in range(speakers) for c in range(contents) for _ in range(repeats)]
    return np.array([s for s, _ in grid]), np.array([c for _, c in grid])


@pytest.mark.parametrize("limit", [100, 10**6])
def test_trials_keep_to_their_strata(limit: int) -> None:
    who, what = labelled(6, 5)
    strata = draw_trials(who, what, limit, 0)
    assert set(strata) == {"all", "different_text", "same_text_impostors"}
    for name, trials in strata.items():
        for pairs, same in ((trials.targets, True), (trials.impostors, False)):
            assert 0 < len(pairs) <= limit
            assert len(np.unique(np.sort(pairs, axis=1), axis=0)) == len(pairs)
            assert (pairs[:, 0] != pairs[:, 1]).all()
            assert ((who[pairs[:, 0]] == who[pairs[:, 1]]) == same).all()
            texts_agree = what[pairs[:, 0]] == what[pairs[:, 1]]
            if name == "different_text" or (name == "same_text_impostors" and same):
                assert not texts_agree.any()
            elif name == "same_text_impostors":
                assert texts_agree.all()
    if limit == 10**6:
        assert len(strata["all"].targets) == 6 * 45
        assert len(strata["all"].impostors) == 60 * 59 // 2 - 6 * 45


def test_a_corpus_without_shared_texts_has_no_same_text_stratum() -> None:
    strata = draw_trials(np.repeat(np.arange(4), 3), np.arange(12), 1000, 0)
    assert set(strata) == {"all", "different_text"}


def test_a_representation_of_words_fails_only_against_same_text_impostors() -> None:
    """The planted failure that the strata exist for."""
    random = np.random.default_rng(0)
    who, what = labelled(20, 8)
    voice, word = random.normal(size=(20, 30)), random.normal(size=(8, 30))
    vectors = unit(voice[who] + 3 * word[what] + 0.2 * random.normal(size=(len(who), 30)))
    result = verify(vectors, draw_trials(who, what, 10**6, 0), who, 0, 0)
    assert result["different_text"]["eer"] < 0.45
    assert result["same_text_impostors"]["eer"] > 0.9


def test_the_interval_covers_and_narrows_with_more_speakers() -> None:
    widths = []
    for speakers in (8, 80):
        random = np.random.default_rng(1)
        who = np.repeat(np.arange(speakers), 6)
        vectors = unit(random.normal(size=(speakers, 12))[who] + random.normal(size=(len(who), 12)))
        result = verify(vectors, draw_trials(who, np.arange(len(who)), 10**5, 0), who, 100, 0)["all"]
        low, high = result["eer_interval"]
        assert low <= result["eer"] <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_bootstrap_weighs_trials_by_their_speakers() -> None:
    # One speaker always fails, one never does: resampling two speakers gives 0, about 1/2, and 1.
    scores = np.array([-1.0, -1.0, 1.0, 1.0]), np.zeros(1)
    trials = Trials(np.array([[0, 1], [0, 1], [2, 3], [2, 3]]), np.array([[0, 2]]))
    bounds = interval(bootstrap_rates(scores, trials, np.array([0, 0, 1, 1]), 200, 0))
    # Without both speakers there is no impostor, so only the mixed draw counts.
    assert bounds == pytest.approx([0.5, 0.5], abs=0.01)




def test_metrics_are_plain_json(tmp_path: Path) -> None:
    who, what = labelled(5, 4)
    vectors = unit(np.random.default_rng(0).normal(size=(len(who), 6)))
    result = verify(vectors, draw_trials(who, what, 100, 0), who, 10, 0)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
