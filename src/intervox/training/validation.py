"""What training is judged by while it runs: error rates on cells of engines that it never hears.

A pair of cells is scored by the cosine of a subspace. Targets share the subspace's factor and differ
in the others (same speaker, other words); impostors differ in all. So an error rate falls only where
the subspace tells its factor by something that the other factors do not carry.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from intervox.errors import IntervoxError
from intervox.metrics.detection import equal_error_rate, error_rates
from intervox.metrics.trials import draw_factor_trials
from intervox.metrics.vectors import Vectors, cosine
from intervox.seeds import rng
from intervox.training.cells import TrainingCells

MAX_TRIALS = 20_000
"""Of each kind, a subspace."""


class Validation:
    """Held-out trials, drawn once, and how well a model does on them.

    Parameters
    ----------
    cells
        Of the validation split.
    factors
        Subspace to its factor.
    seed
        Decides the draw.

    Raises
    ------
    IntervoxError
        No subspace has both targets and impostors.
    """

    def __init__(self, cells: TrainingCells, factors: Mapping[str, str], seed: int) -> None:
        self.trials = {}
        for name, factor in factors.items():
            others, random = sorted(set(factors.values()) - {factor}), rng(seed, "validation.trials")
            drawn = draw_factor_trials(cells.labels, factor, others, MAX_TRIALS, random)
            if len(drawn.targets) and len(drawn.impostors):
                self.trials[name] = drawn
        if not self.trials:
            raise IntervoxError(
                "the validation cells hold no trials, two cells that share a factor and differ in the "
                "others: raise corpus.validation.speakers and contents to at least 2"
            )
        self._rows = cells.rows

    def measure(self, embed: Callable[[NDArray[np.int64]], Mapping[str, Vectors]]) -> dict[str, float]:
        """Return each subspace's equal error rate, in [0, 1].

        A subspace without trials (a factor that no validation cell is labelled for) has none.

        Parameters
        ----------
        embed
            From rows of the corpus to unit vectors (rows, dim) of every subspace.
        """
        pairs = [pairs for t in self.trials.values() for pairs in (t.targets, t.impostors)]
        used = np.unique(np.concatenate(pairs))
        place = np.zeros(len(self._rows), np.int64)
        place[used] = np.arange(len(used))
        vectors = embed(self._rows[used])
        rates = {}
        for name, t in self.trials.items():
            targets, impostors = (cosine(vectors[name], place[kind]) for kind in (t.targets, t.impostors))
            rates[name] = round(equal_error_rate(*error_rates(targets, impostors)), 6)
        return rates
