from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from intervox.clips.labels import UNLABELLED
from intervox.features.store import Features
from intervox.training.cells import BlockSampler, ObservationalSampler, labels_of_several, training_cells
from tests.support.crossed import crossed_corpus

World = tuple[pa.Table, Features]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return crossed_corpus(tmp_path / "features")


def test_blocks_follow_from_seed_and_step() -> None:
    blocks = np.repeat(np.arange(7), 5)
    labels = {"speaker": np.arange(35) % 5}

    def cells(step: int, seed: int = 0) -> np.ndarray:
        return BlockSampler(blocks, labels, 3, seed).batch(step)[0]

    seen = [set(blocks[cells(step)].tolist()) for step in range(14)]
    assert all(len(step) in (2, 3) for step in seen)  # two only where an epoch ends inside a step
    counts = np.bincount([block for step in seen for block in step], minlength=7)
    assert counts.min() >= 5
    np.testing.assert_array_equal(cells(9), cells(9))
    assert any(not np.array_equal(cells(s), cells(s, seed=1)) for s in range(5))
    batch, known = BlockSampler(blocks, labels, 3, 0).batch(4)
    np.testing.assert_array_equal(known["speaker"], labels["speaker"][batch])


def test_a_piece_that_is_a_class_of_its_own_starts_no_closed_form() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2, UNLABELLED, UNLABELLED])
    renditions = np.array([7, 7, 8, 9, 7, 5, 1, 2])
    found = labels_of_several(labels, renditions, np.ones(8, bool))
    np.testing.assert_array_equal(found, [UNLABELLED] * 2 + [1, 1, 2, 2] + [UNLABELLED] * 2)
    np.testing.assert_array_equal(labels_of_several(labels, renditions, np.zeros(8, bool)), labels)


def grid(blocks: int = 6, speakers: int = 3, contents: int = 4, copies: int = 2) -> dict[str, np.ndarray]:
    """Labels of fully crossed blocks that share no speaker and no text."""
    axes = np.meshgrid(*(np.arange(n) for n in (blocks, speakers, contents, copies)), indexing="ij")
    block, speaker, content, _ = (axis.ravel() for axis in axes)
    return {"block": block, "speaker": block * speakers + speaker, "content": block * contents + content}


def test_observational_batches_cross_nothing() -> None:
    cells = grid()
    labels = {factor: cells[factor] for factor in ("speaker", "content")}
    sampler = ObservationalSampler(cells["block"], labels, 1, 0, ["speaker", "content"])
    crossed = BlockSampler(cells["block"], labels, 1, seed=0).batch(0)[1]
    for step in range(5):
        batch, known = sampler.batch(step)
        np.testing.assert_array_equal(batch, sampler.batch(step)[0])
        for factor, other in (("speaker", "content"), ("content", "speaker")):
            part = known[factor] != UNLABELLED
            np.testing.assert_array_equal(known[factor][part], labels[factor][batch[part]])
            # As many cells, classes and positives as a crossed batch has...
            assert part.sum() == len(crossed[factor])
            assert sorted(np.unique(known[factor][part], return_counts=True)[1]) == sorted(
                np.unique(crossed[factor], return_counts=True)[1]
            )
            # ...and no negative that shares the other factor.
            held = labels[other][batch[part]]
            negative = known[factor][part][:, None] != known[factor][part]
            assert not (negative & (held[:, None] == held)).any()
        assert not ((known["speaker"] != UNLABELLED) & (known["content"] != UNLABELLED)).any()


def test_observational_batches_leave_unlabelled_cells_out() -> None:
    cells = grid()
    style = np.where(cells["block"] < 2, cells["speaker"] % 2, UNLABELLED)
    labels = {"style": style, "mood": style * 0 - 1, "engine": cells["block"]}
    sampler = ObservationalSampler(cells["block"], labels, 3, 0, ["style", "mood"])
    batch, known = sampler.batch(0)
    assert set(cells["block"][batch].tolist()) == {0, 1}
    assert UNLABELLED not in known["style"]
    assert set(known["mood"].tolist()) == {UNLABELLED}
    # What is no subspace's factor is as known as in crossed batches.
    np.testing.assert_array_equal(known["engine"], cells["block"][batch])


def test_all_blocks_are_the_most_that_a_step_sees(world: World, tmp_path: Path) -> None:
    cells, features = world
    chosen = training_cells(cells, features, {"speaker", "content"})
    batch = BlockSampler(chosen.blocks, chosen.labels, 50, seed=0).batch(3)
    assert sorted(batch.cells.tolist()) == list(range(len(chosen.rows)))
    factors = ["speaker", "content"]
    many = ObservationalSampler(chosen.blocks, chosen.labels, 50, 0, factors).batch(3)
    assert len(np.unique(many.labels["speaker"][many.labels["speaker"] != UNLABELLED])) == 3
