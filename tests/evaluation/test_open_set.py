import json
import time
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from intervox.evaluation.findings import OpenSet
from intervox.evaluation.keywords import detect_unknown, spot_keywords
from intervox.metrics.detection import equal_error_rate
from intervox.metrics.events import count_detections, miss_at, thinned
from intervox.metrics.vectors import unit
from tests.support.clips import grid
from tests.support.intervals import ends

CLIPS = grid(12, 6, repeats=4)


def words(noise: float) -> np.ndarray:
    random = np.random.default_rng(0)
    number = np.unique(CLIPS.contents, return_inverse=True)[1]
    return unit(np.eye(6)[number] + noise * random.normal(size=(len(CLIPS), 6)))


def test_rates_by_hand() -> None:
    # Two groups; three right detections of five wanted, three false ones in half an hour each.
    found = count_detections(
        (np.array([0.9, 0.5, 0.3]), np.array([0, 0, 1])),
        (np.array([0.7, 0.3, 0.1]), np.array([0, 1, 1])),
        wanted=np.array([3, 2]),
        exposure=np.array([0.5, 0.5]),
    )
    assert found.thresholds.tolist() == [0.1, 0.3, 0.5, 0.7, 0.9]
    alarms, misses = found.curve()
    assert alarms.tolist() == [3, 2, 1, 1, 0, 0]
    assert misses.tolist() == pytest.approx([0.4, 0.4, 0.6, 0.8, 0.8, 1.0])
    assert miss_at(alarms, misses, 2) == pytest.approx(0.4)
    assert miss_at(alarms, misses, 0.5) == pytest.approx(0.8)
    first, second = zip(*found.resampled(np.array([[2, 0], [0, 2]])), strict=True)
    assert first[0].tolist() == [2, 2, 2, 2, 0, 0]
    assert second[1].tolist() == pytest.approx([0.5, 0.5, 1, 1, 1, 1])
    # A group without anything to detect makes no resample.
    assert len(replace(found, wanted=np.array([0.0, 2.0])).resampled(np.array([[2, 0], [1, 1]]))[0]) == 1


def test_many_scores_share_thresholds_and_keep_their_rates() -> None:
    random = np.random.default_rng(0)
    targets, impostors = random.normal(1, 1, 30_000), random.normal(0, 1, 30_000)
    nobody = np.zeros(30_000, np.int64)
    counted = count_detections((targets, nobody), (impostors, nobody), np.array([30_000]), np.array([30_000]))
    alarms, misses = counted.curve()
    labels = np.repeat([1, 0], 30_000)
    accept, detect, _ = roc_curve(labels, np.concatenate([targets, impostors]))
    for limit in (0.01, 0.1, 0.5):
        assert miss_at(alarms, misses, limit) == pytest.approx(1 - np.interp(limit, accept, detect), abs=2e-3)
    chosen = thinned(alarms)
    assert len(chosen) <= 41
    assert chosen[0] == 0
    assert alarms[chosen[-1]] == 0


def test_clear_words_are_never_missed_nor_falsely_detected() -> None:
    result = detect_unknown(words(0.01), CLIPS, 12, 50, 0)
    assert result is not None
    assert result.unknown == 2
    assert result.known == 4
    assert result.shots == 5
    assert result.eer == 0
    assert result.eer_interval == "all resamples equal"
    assert set(result.false_reject_at_false_accept.values()) == {0}
    assert result.miss_at_false_alarms_per_hour == {"10": 0}
    written = json.dumps(result.model_dump(mode="json"), allow_nan=False)
    assert OpenSet.model_validate(json.loads(written)) == result


def test_noise_is_at_chance() -> None:
    noise = unit(np.random.default_rng(0).normal(size=(len(CLIPS), 200)))
    result = detect_unknown(noise, CLIPS, 30, 50, 0)
    assert result is not None
    # One in four known clips is named right by chance; the others are missed at any threshold.
    rejected = result.false_reject_at_false_accept
    assert rejected["0.10"] == pytest.approx(1 - 0.25 * 0.10, abs=0.02)
    assert result.eer == pytest.approx(0.8, abs=0.03)
    low, high = ends(result.eer_interval)
    assert low <= result.eer <= high


def test_the_curve_holds_the_error_rates() -> None:
    result = detect_unknown(words(0.5), CLIPS, 12, 0, 0)
    assert result is not None
    accept, reject = np.array(result.curve).T
    assert (accept[0], accept[-1], reject[-1]) == (1, 0, 1)
    assert (np.diff(accept) <= 0).all()
    assert (np.diff(reject) >= 0).all()
    assert equal_error_rate(accept, reject) == pytest.approx(result.eer, abs=0.02)
    for rate, missed in result.false_reject_at_false_accept.items():
        assert np.interp(-float(rate), -accept, reject) == pytest.approx(missed, abs=0.05)


def test_false_alarms_are_counted_by_the_hour_of_unknown_speech() -> None:
    vectors = words(0.5)
    seconds = detect_unknown(vectors, CLIPS, 6, 0, 0)
    longer = detect_unknown(vectors, replace(CLIPS, duration=CLIPS.duration * 2), 6, 0, 0)
    assert seconds is not None
    assert longer is not None
    assert seconds.false_alarms_per_hour
    assert longer.false_alarms_per_hour
    # Accepting everything: one false alarm a clip, and a clip a second.
    assert seconds.false_alarms_per_hour[0][1] == pytest.approx(3600)
    assert longer.false_alarms_per_hour[0][1] == pytest.approx(1800)
    assert seconds.false_alarms_per_hour[-1][1] == 0
    assert seconds.eer_interval is None
    unknown = detect_unknown(vectors, replace(CLIPS, duration=np.zeros(len(CLIPS))), 6, 0, 0)
    assert unknown is not None
    assert unknown.false_alarms_per_hour is None
    assert unknown.eer == seconds.eer


def test_too_few_words_or_examples_make_no_open_set() -> None:
    assert detect_unknown(words(0)[: 12 * 8], grid(12, 2, repeats=4), 5, 0, 0) is None
    # Each of the two speakers says other words: whoever enrols, some have no example.
    apart = grid(2, 6, repeats=1).take(np.array([0, 1, 2, 9, 10, 11]))
    assert detect_unknown(np.eye(6, dtype=np.float32), apart, 5, 0, 0) is None


def test_a_corpus_of_thousands_takes_a_fraction_of_a_second() -> None:
    clips = grid(457, 12, repeats=1).take(np.arange(3_927))
    vectors = unit(np.random.default_rng(0).normal(size=(len(clips), 192)))
    started = time.process_time()
    spot_keywords(vectors, clips, 100, 200, 0, probe=True, open_set=True)
    # A third of a second on one core; the bound leaves room for slow and busy ones.
    assert time.process_time() - started < 5
