"""Who of many, and thresholds set on people of one's own."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from intervox import SpeakerVerifier
from intervox.applications.enrolled import UNKNOWN
from intervox.applications.identity import ShownRate
from intervox.applications.normalise import Cohort
from intervox.audio import Waveform
from intervox.errors import IntervoxError
from tests.support.given import CALIBRATION, DIM, Given, clip, near


def enrolled(names: int = 2, seconds: float = 2.0) -> SpeakerVerifier:
    """Enrol names a, b, ... on an axis each."""
    verifier = SpeakerVerifier(Given())
    for axis, name in enumerate("abcdef"[:names]):
        verifier.enrol(name, [clip(np.eye(DIM)[axis], seconds)])
    return verifier


def strangers(people: int, clips: int = 4, seed: int = 0) -> dict[str, list[Waveform]]:
    """Draw people around directions of their own, some clips each."""
    random = np.random.default_rng(seed)
    found = {}
    for person in range(people):
        own = random.normal(size=DIM)
        found[f"p{person:02d}"] = [clip(own + random.normal(size=DIM) / 2) for _ in range(clips)]
    return found


def test_the_posterior_of_two_names_is_that_by_hand() -> None:
    verifier = enrolled(2, seconds=2.0)
    heard = np.array([0.8, 0.5, *np.zeros(DIM - 2)])
    heard /= np.linalg.norm(heard)
    prior = 0.3
    found = verifier.identify(clip(heard, 4.0), prior)
    slope, offset, shorter, longer, _ = CALIBRATION
    odds = np.exp(slope * heard[:2] + offset + shorter * np.log(2.0) + longer * np.log(4.0))
    # Bayes: nobody has 0.7, each of the two 0.15, and the evidence for a name is its odds.
    weights = np.array([0.7, *(0.15 * odds)])
    nobody, first, second = weights / weights.sum()
    assert found.name == "a"
    assert found.probability == pytest.approx(first, rel=1e-4)
    assert [candidate.name for candidate in found.candidates] == ["a", "b"]
    assert [each.probability for each in found.candidates] == pytest.approx([first, second], rel=1e-4)
    assert [each.score for each in found.candidates] == pytest.approx(heard[:2].tolist(), rel=1e-4)
    verifier.threshold = 1.0
    refused = verifier.identify(clip(heard, 4.0), prior)
    assert (refused.name, refused.threshold) == (UNKNOWN, 1.0)
    assert refused.probability == pytest.approx(nobody, rel=1e-3)


def test_the_threshold_rises_by_the_logarithm_of_the_names() -> None:
    heard = near(0, 0.9)
    alone = enrolled(1).identity(heard, 1.0)
    for names in (2, 6):
        rise = enrolled(names).identity(heard, 1.0).threshold - alone.threshold
        assert rise == pytest.approx(np.log(names) / CALIBRATION[0])
    assert alone.threshold == pytest.approx(enrolled(1).decision(heard, 1.0, "a").threshold), (
        "one name is a verification"
    )


def test_predict_names_as_identify_does() -> None:
    verifier = enrolled(6)
    clips = [clip(near(axis, closeness, axis)) for axis in (0, 3) for closeness in np.linspace(0.3, 1, 30)]
    names = verifier.predict(clips).tolist()
    assert names == [verifier.identify(each).name for each in clips]
    assert {UNKNOWN, "a", "d"} == set(names)


def test_a_prior_changes_the_probability_and_not_the_decision() -> None:
    verifier = enrolled()
    found = [verifier.identify(clip(near(0, 0.9)), prior) for prior in (0.01, 0.5, 0.99)]
    assert {(each.name, each.threshold) for each in found} == {("a", found[0].threshold)}
    assert found[0].probability < found[1].probability < found[2].probability
    far = [verifier.identify(clip(near(0, 0.1)), prior) for prior in (0.01, 0.99)]
    assert {each.name for each in far} == {UNKNOWN}
    assert far[0].probability > far[1].probability
    for prior in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(IntervoxError, match="the prior is"):
            verifier.identify(clip(near(0, 0.9)), prior)
    with pytest.raises(IntervoxError, match="nobody is enrolled"):
        SpeakerVerifier(Given()).identify(clip(near(0, 0.9)))


def test_no_more_candidates_than_names_or_three() -> None:
    for names, expected in ((1, 1), (2, 2), (6, 3)):
        found = enrolled(names).identify(clip(near(0, 0.9)))
        assert len(found.candidates) == expected
        scores = [candidate.score for candidate in found.candidates]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("anybody", [False, True])
@pytest.mark.parametrize("normalise", [False, True])
def test_a_calibrated_rate_holds_on_those_it_was_set_on(anybody: bool, normalise: bool) -> None:
    verifier = enrolled(3)
    others = strangers(40, 5)
    shown = verifier.calibrate(others, 0.1, anybody, normalise)
    names = np.random.default_rng(0).permutation(sorted(others)).tolist()
    cohort, tried = (names[::2], names[1::2]) if normalise else ([], names)
    scores = [verifier.decision_function(others[name]) for name in tried]
    if anybody:
        scores = [found.max(axis=1, keepdims=True) for found in scores]
    whole = np.concatenate(scores)
    assert shown.comparisons == whole.size == len(tried) * 5 * (1 if anybody else 3)
    assert shown.rate == pytest.approx((whole >= verifier.threshold_).mean())
    assert shown.rate == pytest.approx(0.1, abs=1 / whole.size)
    assert (shown.people, shown.cohort_clips) == (len(tried), len(cohort) * 5)
    assert shown.threshold == verifier.threshold_
    low, high = shown.interval
    assert 0 <= low <= shown.rate <= high < 0.5
    if normalise:
        assert verifier.cohort is not None
        vectors = [verifier.model_.encode(others[name])["speaker"] for name in cohort]
        np.testing.assert_array_equal(verifier.cohort.vectors, np.concatenate(vectors))
        assert not {*cohort} & {*tried}
    else:
        assert verifier.cohort is None


def test_the_interval_is_over_people() -> None:
    """Ten clips of a person that are all alike say no more than one: by hand, of four people."""
    alike = [np.full((10, 1), score, np.float32) for score in (0.1, 0.2, 0.3, 0.9)]
    shown = ShownRate.of(alike, 0.5, 0)
    assert shown.rate == 0.25
    # One of four accepted: a resample holds it with probability 1 - (3/4)^4, four times with 1/256.
    assert shown.interval == (0.0, 0.75)
    assert shown.interval == ShownRate.of([found[:1] for found in alike], 0.5, 0).interval


def test_what_cannot_be_shown_is_refused_and_changes_nothing() -> None:
    verifier = enrolled(2)
    verifier.calibrate(strangers(20, 5), 0.1)
    before = verifier.cohort, verifier.threshold
    few = strangers(12, 2)
    cases: list[tuple[dict[str, list[Waveform]], float, bool, str]] = [
        (strangers(9), 0.1, True, "9 other people are too few: give at least 10; half as many"),
        (strangers(4), 0.1, False, "4 other people are too few: give at least 5$"),
        (few, 0.1, True, "12 clips are too few to normalise by: give at least 20"),
        (strangers(20, 5), 0.001, True, "100 scores are too few for a rate of 0.001: at least 3,000"),
        (few, 0.0, False, "give a share above 0"),
        ({**strangers(20, 5), "b": [clip(near(1, 0.9))]}, 0.1, True, "'b' is enrolled"),
        ({**strangers(20, 5), "z": [np.zeros(16_000, np.float32)]}, 0.1, True, "is silent"),
    ]
    for others, rate, normalise, message in cases:
        with pytest.raises(IntervoxError, match=message):
            verifier.calibrate(others, rate, normalise=normalise)
        assert (verifier.cohort, verifier.threshold) == before
    with pytest.raises(IntervoxError, match="nobody is enrolled"):
        SpeakerVerifier(Given()).calibrate(strangers(20, 5), 0.1)


def test_a_rate_of_the_references_is_no_rate_of_normalised_scores() -> None:
    verifier = enrolled(2)
    verifier.calibrate(strangers(20, 5), 0.1)
    with pytest.raises(IntervoxError, match="set the rate with `intervox calibrate`"):
        verifier.set_false_accept_rate(0.01)
    rest = [each for clips in strangers(20, 5, seed=1).values() for each in clips]
    verifier.set_false_accept_rate(0.1, rest)
    assert (verifier.decision_function(rest) >= verifier.threshold_).mean() == pytest.approx(0.1)


def test_a_file_keeps_the_cohort(tmp_path: Path) -> None:
    path = tmp_path / "people.safetensors"
    verifier = enrolled(2)
    verifier.calibrate(strangers(20, 5), 0.1)
    verifier.save(path)
    loaded = SpeakerVerifier.load(path, Given())
    assert loaded.cohort is not None
    assert loaded.threshold == verifier.threshold
    heard = clip(near(0, 0.8))
    assert loaded.identify(heard) == verifier.identify(heard)
    assert loaded.verify(heard, "a") == verifier.verify(heard, "a")
    loaded.calibrate(strangers(20, 5), 0.1, normalise=False)
    loaded.save(path)
    assert SpeakerVerifier.load(path, Given()).cohort is None


@pytest.mark.parametrize(
    "cohort",
    [
        np.ones((30, DIM + 1), np.float32),
        np.full((30, DIM), np.nan, np.float32),
        np.ones(DIM, np.float32),
        np.ones((30, DIM), np.int64),
        np.ones((3, DIM), np.float32),
    ],
    ids=["dim", "nan", "shape", "kind", "few"],
)
@pytest.mark.parametrize("array", ["cohort", "sums"])
def test_a_damaged_file_is_refused(cohort: NDArray[np.generic], array: str, tmp_path: Path) -> None:
    path = tmp_path / "people.safetensors"
    verifier = enrolled(2)
    verifier.calibrate(strangers(20, 5), 0.1)
    verifier.save(path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    save_file(load_file(path) | {array: cohort}, path, metadata)
    with pytest.raises(IntervoxError, match="people.safetensors is not a file of enrolled names"):
        SpeakerVerifier.load(path, Given())


def plain(raw: float, clip_side: NDArray[np.float32], name_side: NDArray[np.float32]) -> float:
    """Standardise a score by the 100 highest of either side, and average."""
    sides = [np.sort(side)[::-1][:100] for side in (clip_side, name_side)]
    return float(np.mean([(raw - side.mean()) / side.std() for side in sides]))


def drawn(count: int, seed: int, dim: int = 16) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, dim))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("size", [50, 300])
def test_normalised_scores_are_the_plain_ones_on_another_scale(size: int) -> None:
    clips, names, others = drawn(7, 0), drawn(3, 1), drawn(size, 2)
    found = Cohort(others).scores(clips, names)
    by_hand = np.array([[plain(c @ n, others @ c, others @ n) for n in names] for c in clips])
    slope, offset = np.polyfit(by_hand.ravel(), found.ravel(), 1)
    np.testing.assert_allclose(found, slope * by_hand + offset, atol=1e-5)
    # The scale is that of a cohort clip with the others.
    own = others @ others.T - 2 * np.eye(size)
    nearest = np.sort(own, axis=1)[:, ::-1][:, : min(100, size - 1)]
    assert slope == pytest.approx(nearest.std(axis=1).mean(), rel=1e-3)
    assert offset == pytest.approx(nearest.mean(), rel=1e-3)


def test_normalised_scores_know_neither_order_nor_company_nor_axes() -> None:
    clips, names, others = drawn(7, 0), drawn(3, 1), drawn(50, 2)
    found = Cohort(others).scores(clips, names)
    np.testing.assert_allclose(Cohort(others[::-1]).scores(clips, names), found, atol=1e-5)
    np.testing.assert_allclose(Cohort(others).scores(names, clips), found.T, atol=1e-5)
    np.testing.assert_allclose(Cohort(others).scores(clips[2:3], names[1:2]), found[2:3, 1:2], atol=1e-5)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(16, 16)))[0].astype(np.float32)
    np.testing.assert_allclose(Cohort(others @ turn).scores(clips @ turn, names @ turn), found, atol=1e-4)


def test_a_clip_that_is_close_to_everybody_is_scored_down() -> None:
    others, name = drawn(50, 2), drawn(1, 1)
    centre = others.sum(axis=0, keepdims=True)
    lamb = name + 0.5 * centre / np.linalg.norm(centre)
    lamb /= np.linalg.norm(lamb)
    raw = lamb @ name.T
    plain_one = near_to(name[0], float(raw[0, 0]))
    scores = Cohort(others).scores(np.concatenate([lamb, plain_one[None]]), name)[:, 0]
    assert scores[0] < scores[1]


def near_to(direction: NDArray[np.float32], cosine: float) -> NDArray[np.float32]:
    other = drawn(1, 9, len(direction))[0]
    other -= (other @ direction) * direction
    other /= np.linalg.norm(other)
    return np.asarray(cosine * direction + np.sqrt(1 - cosine**2) * other, np.float32)


def test_a_cohort_of_one_clip_many_times_gives_finite_scores() -> None:
    scores = Cohort(np.repeat(drawn(1, 0), 30, axis=0)).scores(drawn(4, 1), drawn(2, 2))
    assert np.isfinite(scores).all()
    with pytest.raises(IntervoxError, match="19 clips are too few to normalise by"):
        Cohort(drawn(19, 0))
