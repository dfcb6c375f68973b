from collections.abc import Iterator
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from intervox.metrics.probes import MAX_CLASSES, MAX_CLIPS, Kind, Task, draw_task, estimate, probe
from intervox.seeds import rng
from tests.support.intervals import ends

KINDS = get_args(Kind)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in an evaluation; matrices this small are slower on more."""
    with threadpool_limits(1):
        yield


def crossed(classes: int, groups: int, repeats: int) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Balanced labels and groups, every class in every group."""
    grid = [(f"c{c}", f"g{g}") for c in range(classes) for g in range(groups) for _ in range(repeats)]
    labels, group = zip(*grid, strict=True)
    return np.array(labels), np.array(group)


def task_of(labels: NDArray[np.str_], groups: NDArray[np.str_]) -> Task:
    task = draw_task(labels, groups, (0, 1, 2), rng)
    assert task is not None
    return task


def test_folds_share_no_group_and_hold_out_each_clip_once_a_seed() -> None:
    labels, groups = crossed(4, 9, 3)
    task = task_of(labels, groups)
    for seed in (0, 1, 2):
        tests = [test for of, test in task.folds if of == seed]
        assert sorted(np.concatenate(tests)) == list(range(len(labels)))
        for test in tests:
            train = np.delete(np.arange(len(labels)), test)
            assert not set(groups[task.rows[test]]) & set(groups[task.rows[train]])
            assert set(task.labels[train]) == set(range(4))
    assert [test.tolist() for _, test in task.folds[:3]] != [test.tolist() for _, test in task.folds[3:6]]
    assert task.chance == pytest.approx(1 / 4)


def test_what_cannot_be_told_on_unseen_groups_is_not_probed() -> None:
    labels, groups = crossed(3, 6, 2)
    alone = np.append(labels, ["only here"] * 5 + [""] * 4)
    task = task_of(alone, np.append(groups, ["g0"] * 5 + ["g1", "g2", "g3", "g4"]))
    assert set(alone[task.rows]) == {"c0", "c1", "c2"}
    assert draw_task(groups, groups, (0,), rng) is None  # every class in one group
    assert draw_task(np.full(9, "same"), np.arange(9).astype(str), (0,), rng) is None
    assert draw_task(np.full(9, ""), np.arange(9).astype(str), (0,), rng) is None
    many = task_of(*crossed(MAX_CLASSES + 10, 5, 10))
    assert (many.classes, len(many.rows)) == (MAX_CLASSES, MAX_CLIPS)
    two = task_of(*crossed(2, 2, 5))
    assert len(two.folds) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_small_and_lopsided_corpora_can_be_probed(kind: Kind) -> None:
    """Each text said by two of three speakers, once; and a class that falls into one fold."""
    pairs = task_of(np.repeat(["x", "y", "z"], 2), np.array(["a", "b", "b", "c", "c", "a"]))
    assert len(pairs.folds) == 6
    rare = task_of(np.array(["x"] * 30 + ["y"] * 2), np.array(list("abc") * 10 + ["d", "e"]))
    for task in (pairs, rare):
        vectors = np.random.default_rng(0).normal(size=(len(task.rows), 3)).astype(np.float32)
        result = probe(vectors, task, kind, 20)
        assert 0 <= result.accuracy.value <= 1
        assert np.isfinite(result.bits.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("distance", [1.0, 2.5])
def test_two_gaussians_are_told_at_the_bayes_rate(kind: Kind, distance: float) -> None:
    labels, groups = crossed(2, 20, 50)
    random = np.random.default_rng(0)
    vectors = random.normal(size=(len(labels), 8)).astype(np.float32)
    vectors[labels == "c1", 3] += distance
    result = probe(vectors, task_of(labels, groups), kind, 100).accuracy
    assert result.value == pytest.approx(norm.cdf(distance / 2), abs=0.03)
    low, high = ends(result.interval)
    assert low < norm.cdf(distance / 2) < high + 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_a_shuffled_control_is_at_chance_within_its_interval(kind: Kind) -> None:
    labels, groups = crossed(5, 12, 8)
    random = np.random.default_rng(0)
    # Tight clusters: a control that learns anything would answer one class for a whole cluster.
    centres = random.normal(size=(5, 20))
    vectors = np.asarray(centres[np.unique(labels, return_inverse=True)[1]], np.float32)
    vectors += 0.3 * random.normal(size=vectors.shape).astype(np.float32)
    task = task_of(labels, groups)
    assert probe(vectors, task, kind, 100).accuracy.value > 0.99
    low, high = ends(probe(vectors, task, kind, 400, shuffled=True).accuracy.interval)
    assert low <= task.chance <= high


def test_intervals_of_controls_nearly_always_hold_chance() -> None:
    labels, groups = crossed(5, 8, 4)
    held = []
    for draw in range(60):
        random = np.random.default_rng(draw)
        vectors = random.normal(size=(5, 12))[np.unique(labels, return_inverse=True)[1]]
        vectors += 0.5 * random.normal(size=vectors.shape)
        task = draw_task(labels, groups, (3 * draw, 3 * draw + 1, 3 * draw + 2), rng)
        assert task is not None
        found = probe(vectors.astype(np.float32), task, "linear", 200, shuffled=True)
        low, high = ends(found.accuracy.interval)
        held.append(low <= 0.2 <= high)
    assert np.mean(held) >= 0.85  # over groups alone it would be two thirds


@pytest.mark.parametrize("kind", KINDS)
def test_knowing_the_group_does_not_help(kind: Kind) -> None:
    """A space of voices alone: the probe would know each word by its speaker if it had met them."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 12)
    labels = np.where(groups % 2, "yes", "no")
    vectors = np.asarray(random.normal(size=(30, 16))[groups], np.float32)
    vectors += 0.1 * random.normal(size=vectors.shape).astype(np.float32)
    result = probe(vectors, task_of(labels, groups.astype(str)), kind, 200).accuracy
    low, high = ends(result.interval)
    assert low < 0.5 < high


def test_only_the_mlp_reads_a_nonlinear_leak() -> None:
    labels, groups = crossed(2, 15, 30)
    random = np.random.default_rng(0)
    sign = random.choice([-1.0, 1.0], len(labels))
    vectors = np.asarray(0.3 * random.normal(size=(len(labels), 10)), np.float32)
    vectors[:, 0] += sign
    vectors[:, 1] += sign * np.where(labels == "c1", 1, -1)  # XOR: neither coordinate alone tells
    task = task_of(labels, groups)
    linear, mlp = (probe(vectors, task, kind, 200) for kind in KINDS)
    assert ends(linear.accuracy.interval)[0] < 0.5 + 0.03
    assert linear.accuracy.value < 0.55
    assert abs(linear.bits.value) < 0.03
    assert mlp.accuracy.value > 0.95
    assert mlp.bits.value > 0.7


def test_the_interval_is_over_groups_and_fits() -> None:
    # Half of the groups are always told right, the others never: a group has one outcome, not ten.
    labels, groups = np.array(["a", "b"] * 30), np.repeat(list("uvwxyz"), 10)
    task = task_of(labels, groups)
    right = [np.array([groups[row] in "uvw" for row in task.rows[test]]) for _, test in task.folds]
    found = estimate(right, task, 500)
    low, high = ends(found.interval)
    assert found.value == 0.5
    assert low < 0.2
    assert high > 0.8
    sure = estimate([np.ones(len(test)) for _, test in task.folds], task, 100)
    assert (sure.value, sure.interval) == (1.0, "all resamples equal")
    assert estimate(right, task, 0).interval is None


def test_four_groups_are_too_few_for_an_interval() -> None:
    labels, groups = np.array(["a", "b"] * 20), np.repeat(list("wxyz"), 10)
    task = task_of(labels, groups)
    right = [np.arange(len(test)) % 3 == 0 for _, test in task.folds]
    assert estimate(right, task, 100).interval == "too few groups"


def test_the_same_seeds_give_the_same_figures() -> None:
    labels, groups = crossed(3, 6, 4)
    vectors = np.random.default_rng(0).normal(size=(len(labels), 6)).astype(np.float32)
    for kind in KINDS:
        first, second = (probe(vectors, task_of(labels, groups), kind, 50) for _ in range(2))
        assert first == second
