"""Trials keep to their strata, are drawn the same from version to version, and fit in memory."""

import hashlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from intervox.clips.labels import Clips
from intervox.metrics import trials as module
from intervox.metrics.trials import STRATA, TrialList, Trials
from tests.support.trials import drawn

Numbers = NDArray[np.int64]
Labels = NDArray[Any]


def clips(who: Labels, what: Labels, duration: Labels | None = None, **labels: Labels) -> Clips:
    values = {"speaker": who, "content": what} | labels
    unknown = np.full(len(who), "")
    return Clips(
        unknown,
        {name: value.astype(str) for name, value in values.items()},
        np.zeros(len(who)) if duration is None else duration,
        unknown,
    )


def grid(speakers: int, contents: int, repeats: int = 2) -> tuple[Numbers, Numbers]:
    cells = [(s, c) for s in range(speakers) for c in range(contents) for _ in range(repeats)]
    return np.array([s for s, _ in cells]), np.array([c for _, c in cells])


def check(trials: Trials, who: Numbers, limit: int) -> None:
    for pairs, same in ((trials.targets, True), (trials.impostors, False)):
        assert 0 < len(pairs) <= limit
        assert len(np.unique(np.sort(pairs, axis=1), axis=0)) == len(pairs)
        assert (pairs[:, 0] != pairs[:, 1]).all()
        assert ((who[pairs[:, 0]] == who[pairs[:, 1]]) == same).all()


@pytest.mark.parametrize("limit", [100, 10**6])
def test_trials_keep_to_their_strata(limit: int) -> None:
    who, what = grid(6, 5)
    strata = drawn(clips(who, what), limit, 0)
    assert set(strata) == {"all", "different_text", "same_text_impostors"}
    for name, trials in strata.items():
        check(trials, who, limit)
        agree = {
            same: what[pairs[:, 0]] == what[pairs[:, 1]]
            for same, pairs in ((True, trials.targets), (False, trials.impostors))
        }
        if name != "all":
            assert not agree[True].any()
            assert agree[False].all() if name == "same_text_impostors" else not agree[False].any()
    if limit == 10**6:
        assert len(strata["all"].targets) == 6 * 45
        assert len(strata["all"].impostors) == 60 * 59 // 2 - 6 * 45


def test_a_corpus_without_shared_texts_has_no_same_text_stratum() -> None:
    strata = drawn(clips(np.repeat(np.arange(4), 3), np.arange(12)), 1000, 0)
    assert set(strata) == {"all", "different_text"}


def test_the_draw_stays_what_it_was() -> None:
    """Figures of two versions compare only on the same trials."""
    random = np.random.default_rng(0)
    who, what = random.integers(9, size=200), random.integers(7, size=200)
    strata = drawn(clips(who, what, np.linspace(1, 6, 200), session=who % 2), 300, 1234)
    found = {
        name: hashlib.sha256(np.concatenate([trials.targets, trials.impostors]).tobytes()).hexdigest()[:16]
        for name, trials in strata.items()
        if name in ("all", "different_text", "same_text_impostors")
    }
    assert found == {
        "all": "f31d115d213a99ac",
        "different_text": "a8a098606dc996e4",
        "same_text_impostors": "d67a7b117749a874",
    }


def test_sessions_part_the_targets_and_nothing_else() -> None:
    who, what = grid(5, 6)
    session = np.array(["a", "b", "c"])[np.arange(len(who)) % 3]
    session[who == 3] = "a"  # Has no pair across sessions, and so none in either stratum.
    session[(who == 4) & (what < 3)] = ""
    strata = drawn(clips(who, what, session=session), 10**6, 0)
    for name in ("same_session", "cross_session"):
        check(strata[name], who, 10**6)
        pairs = strata[name].targets
        assert (what[pairs[:, 0]] != what[pairs[:, 1]]).all()
        assert ((session[pairs[:, 0]] == session[pairs[:, 1]]) == (name == "same_session")).all()
        assert set(who[pairs[:, 0]]) == {0, 1, 2, 4}
        assert (session[strata[name].impostors] != "").all()
    assert strata["same_session"].impostors is strata["cross_session"].impostors
    usual = strata["different_text"]
    known = session[usual.impostors] != ""
    assert len(strata["same_session"].impostors) == known.all(axis=1).sum()


def test_sessions_that_nobody_changes_make_no_stratum() -> None:
    who, what = grid(5, 6)
    assert "same_session" not in drawn(clips(who, what, session=who), 1000, 0)
    every = np.arange(len(who))
    assert "cross_session" not in drawn(clips(who, what, session=every), 1000, 0)


def test_bands_hold_both_durations() -> None:
    who, what = grid(8, 12)
    duration = np.random.default_rng(0).uniform(0.5, 8, len(who))
    duration[0] = 0  # Unknown.
    strata = drawn(clips(who, what, duration), 10**6, 0)
    assert {"short", "medium", "long"} <= set(strata)
    for name, (low, high) in {"short": (0.1, 1.5), "medium": (1.5, 4), "long": (4, 9)}.items():
        check(strata[name], who, 10**6)
        for pairs in (strata[name].targets, strata[name].impostors):
            assert ((duration[pairs] >= low) & (duration[pairs] <= high)).all()
            assert (what[pairs[:, 0]] != what[pairs[:, 1]]).all()
    assert "long" not in drawn(clips(who, what, np.full(len(who), 5.0)), 1000, 0)


def test_every_stratum_is_named() -> None:
    who, what = grid(8, 12)
    random = np.random.default_rng(0)
    duration, session = random.uniform(0.5, 8, len(who)), random.choice(["a", "b"], len(who))
    assert tuple(drawn(clips(who, what, duration, session=session), 10**6, 0)) == STRATA


def test_official_lists_are_taken_whole_and_follow_the_clips_that_are_left() -> None:
    who, what = grid(3, 4, repeats=1)
    given = TrialList(np.array([0, 0, 4, 1]), np.array([1, 4, 5, 9]), np.array([True, False, True, False]))
    strata = drawn(clips(who, what), 2, 0, {"official": given})
    assert strata["list:official"].targets.tolist() == [[0, 1], [4, 5]]
    assert strata["list:official"].impostors.tolist() == [[0, 4], [1, 9]]

    kept = np.arange(12) != 4
    left = given.take(kept)
    assert (left.enrol.tolist(), left.test.tolist()) == ([0, 1], [1, 8])
    assert left.target.tolist() == [True, False]
    only_targets = TrialList(np.array([0]), np.array([1]), np.array([True]))
    assert "list:x" not in drawn(clips(who, what), 2, 0, {"x": only_targets})


def test_a_speaker_with_very_many_clips_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    who = np.concatenate([np.zeros(3_000, np.int64), random.integers(1, 4, size=50)])
    what = random.integers(40, size=len(who))
    monkeypatch.setattr(module, "PAIR_LIMIT", 20_000)
    strata = drawn(clips(who, what), 5_000, 0)
    assert set(strata) == {"all", "different_text", "same_text_impostors"}
    for trials in strata.values():
        check(trials, who, 5_000)
    assert len(strata["different_text"].targets) == 5_000
    # Evenly over all pairs: the first of two random clips of 3,000, in order, is at a third of them.
    assert strata["all"].targets[:, 0].mean() == pytest.approx(1_000, abs=50)


def test_pairs_within_a_label_are_all_there_is() -> None:
    labels = np.random.default_rng(0).integers(5, size=60)
    pairs = module._pairs_within(labels, np.random.default_rng(0))
    expected = {(a, b) for a in range(60) for b in range(a + 1, 60) if labels[a] == labels[b]}
    assert len(pairs) == len(expected)
    assert set(map(tuple, pairs.tolist())) == expected
