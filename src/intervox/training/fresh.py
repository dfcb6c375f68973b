"""do(condition) anew in every step: a rendition's dry copy under another condition of the corpus' bank."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from intervox.audio import Waveform
from intervox.corpus.acoustics.conditions import Condition, apply_condition, condition_bank
from intervox.corpus.acoustics.rooms import load_acoustics
from intervox.errors import IntervoxError
from intervox.recipe import Recipe


class FreshConditions:
    """Which dry clip stands behind a disturbed one, and what else could have been done to it.

    Parameters
    ----------
    cells
        The corpus' plan.
    recipe
        ``corpus.conditions`` and ``seed`` decide the bank, as in synthesis.
    folder
        Where the simulated rooms are kept.

    Attributes
    ----------
    dry
        Shape (cells,): row of the same rendition's dry copy; -1 for that copy itself, and without one.

    Raises
    ------
    IntervoxError
        No rendition has a dry copy beside others.
    """

    def __init__(self, cells: pa.Table, recipe: Recipe, folder: Path) -> None:
        renditions = np.unique(cells["seed"].to_numpy(), return_inverse=True)[1]
        clean = np.asarray(cells["condition"].to_pylist()) == str(Condition())
        behind = np.full(renditions.max(initial=-1) + 1, -1)
        behind[renditions[clean]] = np.flatnonzero(clean)
        self.dry: NDArray[np.int64] = np.where(clean, -1, behind[renditions])
        if (self.dry < 0).all():
            raise IntervoxError(
                "encoder.fresh_conditions needs a dry copy of each rendition: set corpus.dry_copy: true"
            )
        self._bank = condition_bank(recipe.corpus.conditions, recipe.seed)[1:]
        self._acoustics = load_acoustics(recipe.corpus.conditions, recipe.seed, folder)

    def disturb(self, wave: Waveform, random: np.random.Generator) -> Waveform:
        """Put a dry clip under a condition of the bank."""
        condition = self._bank[int(random.integers(len(self._bank)))]
        return apply_condition(wave, condition, self._acoustics, random)
