"""The whole of verification: planted failures show where they should, and ratios mean what they say."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from intervox.clips.labels import Clips
from intervox.evaluation.systems import as_norm
from intervox.evaluation.verification import gap, verify
from intervox.metrics.bootstrap import SpeakerResamples, interval
from intervox.metrics.detection import (
    cllr,
    cross_fitted,
    equal_error_rate,
    error_rates,
    fit_calibration,
    reliability,
)
from intervox.metrics.trials import Trials
from intervox.metrics.vectors import unit
from intervox.model.decision import Calibration
from intervox.seeds import rng
from tests.support.intervals import ends
from tests.support.trials import drawn

Numbers = NDArray[np.int64]


def labelled(speakers: int, contents: int, repeats: int = 2) -> tuple[Numbers, Numbers, Clips]:
    grid = [(s, c) for s in range(speakers) for c in range(contents) for _ in range(repeats)]
    who, what = np.array([s for s, _ in grid]), np.array([c for _, c in grid])
    labels = {"speaker": who.astype(str), "content": what.astype(str)}
    unknown = np.full(len(who), "")
    return who, what, Clips(unknown, labels, np.zeros(len(who)), unknown)


def test_a_representation_of_words_fails_only_against_same_text_impostors() -> None:
    """The planted failure that the strata exist for."""
    random = np.random.default_rng(0)
    who, what, clips = labelled(20, 8)
    voice, word = random.normal(size=(20, 30)), random.normal(size=(8, 30))
    vectors = unit(voice[who] + 3 * word[what] + 0.2 * random.normal(size=(len(who), 30)))
    result = verify({"clean": vectors}, drawn(clips, 10**6, 0), clips, 50, 0)
    strata = result.conditions["clean"]
    assert strata["different_text"].eer < 0.45
    assert strata["same_text_impostors"].eer > 0.9
    assert ends(result.gaps["same_text"].interval)[0] > 0.4
    assert result.gaps["same_text"].other == ("clean", "same_text_impostors")


def test_every_gap_has_its_planted_cause() -> None:
    """Sessions, durations and conditions each push vectors away from their speaker."""
    random = np.random.default_rng(0)
    who, _, clips = labelled(30, 8)
    session = np.tile([0, 1], len(who) // 2)
    duration = random.choice([1.0, 6.0], len(who))
    clips = Clips(clips.paths, {**clips.labels, "session": session.astype(str)}, duration, clips.split)
    voice, channel = random.normal(size=(30, 16)), random.normal(size=(30, 2, 16))
    noise = random.normal(size=(2, len(who), 16))
    clean = voice[who] + channel[who, session] + np.where(duration < 2, 1.5, 0.3)[:, None] * noise[0]
    vectors = {"clean": unit(clean), "cross_condition": unit(clean + 2 * noise[1])}
    result = verify(vectors, drawn(clips, 2_000, 0), clips, 100, 0)
    assert set(result.gaps) == {"same_text", "cross_condition", "cross_session", "short"}
    for name, found in result.gaps.items():
        low, high = ends(found.interval)
        assert low <= found.value <= high
        assert (low > 0) == (name != "same_text")
        base, other = (result.conditions[c][s].eer for c, s in (found.base, found.other))
        assert found.value == pytest.approx(other - base, abs=2e-5)


def test_the_interval_narrows_with_more_speakers() -> None:
    widths = []
    for speakers in (8, 80):
        random = np.random.default_rng(1)
        who, _, clips = labelled(speakers, 6, repeats=1)
        vectors = unit(random.normal(size=(speakers, 12))[who] + random.normal(size=(len(who), 12)))
        trials = {"all": drawn(clips, 10**5, 0)["all"]}
        found = verify({"clean": vectors}, trials, clips, 100, 0).conditions["clean"]["all"]
        low, high = ends(found.eer_interval)
        assert low <= found.eer <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_metrics_are_plain_json_with_any_scorer() -> None:
    _, _, clips = labelled(5, 4)
    vectors = unit(np.random.default_rng(0).normal(size=(len(clips), 6)))
    trials = drawn(clips, 100, 0)
    for repeats, calibration in ((10, Calibration(3.0, -1.0)), (0, None)):
        result = verify({"clean": vectors}, trials, clips, repeats, 0, calibration, as_norm(vectors))
        json.dumps([found.model_dump(mode="json") for found in result.gaps.values()], allow_nan=False)
        json.dumps(result.conditions["clean"]["all"].model_dump(mode="json"), allow_nan=False)
        assert result.conditions["clean"]["all"].eer_interval is None or repeats


def test_cllr_needs_speakers_in_both_halves_unless_calibrated_elsewhere() -> None:
    who, _, clips = labelled(2, 6)
    vectors = unit(np.eye(2)[who] + 0.1)
    trials = {"all": drawn(clips, 10**6, 0)["all"]}
    without = verify({"clean": vectors}, trials, clips, 0, 0).conditions["clean"]["all"]
    given = verify({"clean": vectors}, trials, clips, 0, 0, Calibration(1e-9, 0.0)).conditions["clean"]["all"]
    assert without.cllr is without.false_accepts is None
    assert given.cllr == pytest.approx(1)
    # At log odds above 0, however little, everybody is accepted.
    assert (given.false_accepts, given.false_rejects) == (1, 0)
    assert without.min_cllr == 0


@pytest.mark.parametrize("targets", [100_000, 2_000])
def test_calibration_finds_the_ratio_of_two_gaussians(targets: int) -> None:
    """Whatever the share of targets: the ratio of s is d (s - d / 2)."""
    random = np.random.default_rng(0)
    slope, offset = fit_calibration(random.normal(2, 1, targets), random.normal(0, 1, 100_000))
    assert slope == pytest.approx(2, rel=0.05)
    assert offset == pytest.approx(-2, rel=0.06)


def test_separated_and_constant_scores_have_a_finite_calibration() -> None:
    for targets, impostors in ((np.ones(50), np.zeros(50)), (np.ones(50), np.ones(50))):
        assert np.isfinite(fit_calibration(targets, impostors)).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("place", "scale"), [(0.99, 0.001), (20, 0.1), (-3, 0.001), (200, 1e-6)])
def test_scores_in_single_precision_are_calibrated_as_in_double(place: float, scale: float) -> None:
    random = np.random.default_rng(0)
    scores = [(place + scale * random.normal(mean, 1, 300)).astype(np.float32) for mean in (0.5, 0)]
    slope, offset = fit_calibration(*scores)
    assert (slope, offset) == fit_calibration(*(each.astype(np.float64) for each in scores))
    middle = np.concatenate(scores).astype(np.float64).mean()
    assert slope >= 0
    assert slope * middle + offset == pytest.approx(0, abs=0.1)


def test_cross_fitting_calibrates_a_half_by_the_other_only() -> None:
    random = np.random.default_rng(0)
    who = np.repeat(np.arange(40).astype(str), 10)
    pairs = np.argwhere(np.triu(np.ones((400, 400), bool), 1))
    same = who[pairs[:, 0]] == who[pairs[:, 1]]
    trials = Trials(pairs[same], pairs[~same])
    scores = 0.1 * random.normal(2, 1, same.sum()), 0.1 * random.normal(0, 1, (~same).sum())
    ratios = cross_fitted(scores, trials, who, rng(0, "calibration.halves"))
    assert ratios is not None
    assert len(ratios[0]) == same.sum()
    assert len(ratios[1]) == 2 * (20 * 19 // 2) * 100  # Pairs of speakers within a half, 100 trials each.
    truth = cllr(20 * scores[0] - 2, 20 * scores[1] - 2)
    assert cllr(*ratios) == pytest.approx(truth, abs=0.02)


def test_reliability_lies_on_the_diagonal_where_ratios_are_true() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(2, 1, 40_000), random.normal(0, 1, 160_000)
    true = [2 * (score - 1) for score in scores]
    bins = reliability(true[0], true[1])
    assert sum(int(count) for _, _, count in bins) == 200_000
    for predicted, share, _ in bins:
        assert share == pytest.approx(predicted, abs=0.02)
    # Twice the evidence there is: the confident bins are wrong more often than they say.
    sure = reliability(2 * true[0], 2 * true[1])[-1]
    assert sure[1] < sure[0] - 0.03
    assert reliability(np.array([0.0]), np.array([-9.0])) == [
        (pytest.approx(float(expit(-9)), abs=1e-5), 0, 1),
        (0.5, 1, 1),
    ]


def test_gaps_are_paired() -> None:
    """Two strata that fail on the same speakers differ by less than either is sure of."""
    random = np.random.default_rng(0)
    who = np.repeat(np.arange(30), 6)
    pairs = np.argwhere(np.triu(np.ones((len(who), len(who)), bool), 1))
    same = who[pairs[:, 0]] == who[pairs[:, 1]]
    trials = Trials(pairs[same], pairs[~same])
    quality = random.normal(2, 1.5, 30)[who[trials.targets[:, 0]]]
    targets = quality + random.normal(size=len(trials.targets))
    impostors = random.normal(size=len(trials.impostors))
    resamples = SpeakerResamples(who, 200, rng(0, "bootstrap"))
    rates = {
        ("clean", name): (
            equal_error_rate(*error_rates(targets - worse, impostors)),
            resamples.equal_error_rates((targets - worse, impostors), trials),
        )
        for name, worse in (("base", 0.0), ("other", 0.5))
    }
    base, other = rates
    found = gap(rates, base, other)
    assert found.value == pytest.approx(rates[other][0] - rates[base][0], abs=1e-5)
    assert found.ratio == pytest.approx(rates[other][0] / rates[base][0], abs=1e-4)
    low, high = ends(found.interval)
    alone = ends(interval(*rates[base]))
    assert 0 < low < found.value < high
    assert high - low < (alone[1] - alone[0]) / 2
    perfect = rates | {base: (0.0, rates[base][1])}
    assert gap(perfect, base, other).ratio is None
