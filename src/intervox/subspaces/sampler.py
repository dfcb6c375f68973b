"""Which cells a training step sees: whole blocks, decided by (seed, step) alone."""

import numpy as np
from numpy.typing import NDArray


class BlockSampler:
    """Draw blocks without replacement, epoch after epoch.

    A step's cells follow from the seed and the step, so a resumed run sees what an undisturbed one
    would have.

    Parameters
    ----------
    blocks
        Shape (cells,): block of each cell.
    blocks_per_step
        How many blocks make a batch; at most as many as there are.
    seed
        Decides the order.
    """

    def __init__(self, blocks: NDArray[np.integer], blocks_per_step: int, seed: int) -> None:
        order = np.argsort(blocks, kind="stable")
        self._members = np.split(order, np.flatnonzero(np.diff(blocks[order])) + 1)
        self._per_step = min(blocks_per_step, len(self._members))
        self._seed = seed

    def cells(self, step: int) -> NDArray[np.int64]:
        """Return the cell indices of a step's batch, block by block."""
        first = step * self._per_step
        chosen = [self._block_at(position) for position in range(first, first + self._per_step)]
        return np.concatenate([self._members[block] for block in dict.fromkeys(chosen)])

    def _block_at(self, position: int) -> int:
        epoch, place = divmod(position, len(self._members))
        order = np.random.default_rng([self._seed, epoch, 8]).permutation(len(self._members))
        return int(order[place])
