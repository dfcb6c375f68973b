"""Which cells and labels a training step sees, decided by (seed, step) alone.

So a resumed run sees what an undisturbed one would have.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from intervox.subspaces.losses import UNLABELLED

Labels = Mapping[str, NDArray[np.int64]]
"""Factor to integers of shape (cells,)."""


class Sampler(Protocol):
    """Makes the batches of training."""

    def batch(self, step: int) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
        """Return the cell indices of a step's batch and, by factor, the labels that the loss may use."""


class BlockSampler:
    """Draw whole crossed blocks without replacement, epoch after epoch.

    Parameters
    ----------
    blocks
        Shape (cells,): block of each cell.
    labels
        Of the same cells.
    blocks_per_step
        How many blocks make a batch; at most as many as there are.
    seed
        Decides the order.
    """

    def __init__(self, blocks: NDArray[np.integer], labels: Labels, blocks_per_step: int, seed: int) -> None:
        self._members = _groups(blocks)
        self._labels = labels
        self._per_step = min(blocks_per_step, len(self._members))
        self._seed = seed

    def batch(self, step: int) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
        first = step * self._per_step
        chosen = [self._block_at(position) for position in range(first, first + self._per_step)]
        cells = np.concatenate([self._members[block] for block in dict.fromkeys(chosen)])
        return cells, {factor: values[cells] for factor, values in self._labels.items()}

    def _block_at(self, position: int) -> int:
        epoch, place = divmod(position, len(self._members))
        order = np.random.default_rng([self._seed, epoch, 8]).permutation(len(self._members))
        return int(order[place])


class ObservationalSampler:
    """Draw what two corpora that nobody crossed would give: the control of ``BlockSampler``.

    Speech as it is found has speakers with texts of their own, and texts with speakers of their own.
    A batch has one part for each factor. A part holds one class (a speaker) of each of many blocks,
    with all its cells there, and their labels of this factor alone. So each factor's loss sees as
    many classes, cells and positives a step as in crossed batches, and of the same cells; but the
    negatives no longer share the other factor with the anchor, save by chance where a class is in
    several blocks.

    Parameters
    ----------
    blocks, labels, blocks_per_step, seed
        As for ``BlockSampler``. A part holds as many classes as ``blocks_per_step`` blocks do, at
        most one of each block.
    """

    def __init__(self, blocks: NDArray[np.integer], labels: Labels, blocks_per_step: int, seed: int) -> None:
        self._labels = labels
        self._classes = {factor: _classes(blocks, values) for factor, values in labels.items()}
        self._per_step = blocks_per_step
        self._seed = seed

    def batch(self, step: int) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
        parts = {factor: self._part(step, index) for index, factor in enumerate(self._classes)}
        cells = np.concatenate(list(parts.values()))
        owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts.values()])
        labels = {
            factor: np.where(owner == index, self._labels[factor][cells], UNLABELLED)
            for index, factor in enumerate(parts)
        }
        return cells, labels

    def _part(self, step: int, index: int) -> NDArray[np.int64]:
        by_block = list(self._classes.values())[index]
        random = np.random.default_rng([self._seed, step, index, 9])
        wanted = round(self._per_step * sum(len(classes) for classes in by_block) / max(len(by_block), 1))
        chosen = random.permutation(len(by_block))[:wanted]
        picked = [by_block[block][random.integers(len(by_block[block]))] for block in chosen]
        return np.concatenate(picked) if picked else np.zeros(0, np.int64)


def _groups(values: NDArray[np.integer]) -> list[NDArray[np.int64]]:
    """Split cell indices by value, in ascending order of both."""
    order = np.argsort(values, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(values[order])) + 1)


def _classes(blocks: NDArray[np.integer], labels: NDArray[np.integer]) -> list[list[NDArray[np.int64]]]:
    """List each block's labelled classes, as cell indices; blocks without any are left out."""
    members = [cells[labels[cells] != UNLABELLED] for cells in _groups(blocks)]
    return [[cells[part] for part in _groups(labels[cells])] for cells in members if len(cells)]
