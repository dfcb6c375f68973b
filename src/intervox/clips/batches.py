"""The one place where clips are batched: by like length, or as they come from a stream."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")


def by_length(
    lengths: Sequence[Any], budget: float, rows: Sequence[int] | None = None
) -> Iterator[list[int]]:
    """Batch items of like length, so that what each batch is padded to stays within a budget.

    Parameters
    ----------
    lengths
        One number per item, in any unit: samples, frames, seconds.
    budget
        Upper bound on a batch's rows times its longest row, in the same unit. An item that is longer
        on its own is a batch of its own.
    rows
        How many rows an item takes, all as long as ``lengths`` says: its windows. One each by default.

    Yields
    ------
    list of int
        Positions of a batch's items by ascending length; every item is in one batch.
    """
    batch: list[int] = []
    count = 0
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        own = 1 if rows is None else rows[position]
        count += own
        if batch and count * lengths[position] > budget:
            yield batch
            batch, count = [], own
        batch.append(position)
    if batch:
        yield batch


def groups(
    items: Iterable[Item], size: Callable[[Item], float], full: Callable[[float], bool]
) -> Iterator[list[Item]]:
    """Cut a stream into groups, in order; an item is taken from the stream when it is needed.

    Parameters
    ----------
    size
        What an item adds to the size of its group, such as its samples.
    full
        Whether a group of a size is complete; asked after every item.
    """
    group: list[Item] = []
    total = 0.0
    for item in items:
        group.append(item)
        total += size(item)
        if full(total):
            yield group
            group, total = [], 0.0
    if group:
        yield group
