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


@pytest.mark.parametrize(("probability", "prior"), [(0.5, 0.5), (0.9, 0.01), (0.01, 0.7)])
def test_the_score_of_a_probability_has_it(probability: float, prior: float) -> None:
    assert LINE.probability(LINE.score_at(probability, prior), prior) == pytest.approx(probability)


@pytest.mark.parametrize("prior", [0, 1, -0.2, 5])
def test_a_prior_is_a_probability(prior: float) -> None:
    with pytest.raises(IntervoxError, match="prior"):
        LINE.probability(0.5, prior)


def test_what_is_as_probable_as_not_is_accepted_unless_a_threshold_is_given() -> None:
    found = LINE.decide("speaker", 0.5)
    assert (found.accepted, found.threshold, found.probability) == (True, 0.5, 0.5)
    assert not LINE.decide("speaker", 0.49).accepted
    strict = LINE.decide("speaker", 0.6, threshold=0.7, name="Anna")
    assert (strict.accepted, strict.threshold, strict.name) == (False, 0.7, "Anna")
    assert strict.probability > 0.5
    assert LINE.decide("speaker", 0.3, threshold=0.3).accepted


def test_a_model_decides_by_the_calibration_of_a_subspace() -> None:
    model = SubspaceModel("bundled:whisper-tiny.en", 2, 4, {"speaker": {"factor": "speaker", "dim": 3}})
    with pytest.raises(IntervoxError, match="no calibration"):
        model.decide(0.7)
    with pytest.raises(IntervoxError, match="no subspace 'voice': this model has speaker"):
        model.decide(0.7, "voice")
    model.calibration = {"speaker": [20, -10]}
    assert model.decide(0.7) == LINE.decide("speaker", 0.7)
    assert model.decide(0.7, threshold=0.8, name="Anna") == LINE.decide("speaker", 0.7, 0.8, "Anna")
