"""What a cosine means: calibrated probability, threshold and decision."""

import numpy as np
import pytest

from intervox.errors import IntervoxError
from intervox.model.decision import Calibration
from intervox.model.model import SubspaceModel

LINE = Calibration(20.0, -10.0)


def test_probabilities_follow_the_line_and_the_prior() -> None:
    np.testing.assert_allclose(LINE.probability([[0.5], [0.6]]), [[0.5], [1 / (1 + np.exp(-2))]])
    odds = np.exp(2) * 0.01 / 0.99
    np.testing.assert_allclose(LINE.probability(0.6, prior=0.01), odds / (1 + odds))
    assert LINE.probability(-1e4) == 0
    assert LINE.probability(1e4) == 1


def test_the_score_of_log_odds_has_them() -> None:
    for log_odds in (-2.0, 0.0, 3.5):
        assert LINE.log_odds(LINE.score_at(log_odds)) == pytest.approx(log_odds)


def test_more_sound_moves_the_odds_of_both_clips_alike() -> None:
    timed = Calibration(20.0, -10.0, shorter=-1.0, longer=-0.5, accept_at=2.0)
    assert timed.log_odds(0.5) == pytest.approx(0)
    expected = -np.log(2) - 0.5 * np.log(8)
    assert timed.log_odds(0.5, 2.0, 8.0) == pytest.approx(expected)
    assert timed.log_odds(0.5, 8.0, 2.0) == pytest.approx(expected)
    np.testing.assert_allclose(timed.log_odds([0.5, 0.5], [1, 2], 8.0), [-0.5 * np.log(8), expected])
    assert timed.log_odds(0.5, 500.0, 500.0) == timed.log_odds(0.5, 20.0, 20.0)
    assert timed.score_at(None, 2.0, 8.0) == pytest.approx(0.5 + (2 - expected) / 20)


@pytest.mark.parametrize("prior", [0, 1, -0.2, 5])
def test_a_prior_is_a_probability(prior: float) -> None:
    with pytest.raises(IntervoxError, match="prior"):
        LINE.probability(0.5, prior=prior)


def test_the_operating_point_decides_unless_a_threshold_is_given() -> None:
    strict = LINE._replace(accept_at=2.0)
    found = strict.decide("speaker", 0.6, (1.0, 1.0))
    assert found.accepted
    assert found.threshold == pytest.approx(0.6)
    assert not strict.decide("speaker", 0.59, (1.0, 1.0)).accepted
    given = strict.decide("speaker", 0.6, (1.0, 1.0), threshold=0.7, name="Anna")
    assert (given.accepted, given.threshold, given.name) == (False, 0.7, "Anna")
    assert strict.decide("speaker", 0.3, (1.0, 1.0), threshold=0.3).accepted


def test_the_prior_moves_the_probability_and_not_the_decision() -> None:
    even, rare = (LINE.decide("speaker", 0.6, (1.0, 1.0), prior=prior) for prior in (0.5, 0.001))
    assert (even.accepted, even.threshold, even.prior) == (rare.accepted, rare.threshold, 0.5)
    assert even.probability > 0.8
    assert rare.probability < 0.01
    assert rare.prior == 0.001


def test_a_model_decides_by_the_calibration_of_a_subspace() -> None:
    model = SubspaceModel("bundled:whisper-tiny.en", 2, 4, {"speaker": {"factor": "speaker", "dim": 3}})
    with pytest.raises(IntervoxError, match="no calibration"):
        model.decide(0.7)
    with pytest.raises(IntervoxError, match="no subspace 'voice': this model has speaker"):
        model.decide(0.7, "voice")
    model.calibration = {"speaker": [20, -10]}
    assert model.decide(0.7) == LINE.decide("speaker", 0.7, (1.0, 1.0))
    assert model.decide(0.7, threshold=0.8, name="Anna").name == "Anna"
