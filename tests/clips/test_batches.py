"""Batches of like length, and groups of a stream."""

from collections.abc import Iterator

import numpy as np
import pytest

from intervox.clips.batches import by_length, groups


@pytest.mark.parametrize("budget", [1, 30, 120, 2000])
def test_batches_hold_each_item_once_under_the_budget(budget: int) -> None:
    random = np.random.default_rng(budget)
    lengths, rows = random.integers(0, 50, 40).tolist(), random.integers(1, 4, 40).tolist()
    batches = list(by_length(lengths, budget, rows))
    flat = [position for batch in batches for position in batch]
    assert flat == sorted(range(40), key=lengths.__getitem__)
    for batch, following in zip(batches, [*batches[1:], None], strict=True):
        padded = sum(rows[position] for position in batch) * lengths[batch[-1]]
        assert padded <= budget or len(batch) == 1
        if following:
            more = [*batch, following[0]]
            assert sum(rows[position] for position in more) * lengths[more[-1]] > budget


def test_one_row_each_by_default() -> None:
    assert list(by_length([3, 1, 2, 9], 6)) == [[1, 2], [0], [3]]
    assert list(by_length([], 6)) == []


def test_a_stream_is_read_no_further_than_its_group() -> None:
    taken = []

    def stream() -> Iterator[int]:
        for item in (3, 4, 1, 2, 5):
            taken.append(item)
            yield item

    found = groups(stream(), float, lambda total: total >= 6)
    assert next(found) == [3, 4]
    assert taken == [3, 4]
    assert list(found) == [[1, 2, 5]]
    assert list(groups([], float, lambda total: True)) == []
