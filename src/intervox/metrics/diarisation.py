"""Diarisation error rate: how much of a recording is given to nobody, to somebody wrong, or to silence."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

FRAME_SECONDS = 0.01
COLLAR_SECONDS = 0.25

Stretch = tuple[float, float, str]
"""Start and end in seconds, and who speaks."""


class DiarisationError(NamedTuple):
    """Shares of the speech in the reference."""

    missed: float
    false_alarm: float
    confused: float

    @property
    def total(self) -> float:
        """The diarisation error rate."""
        return self.missed + self.false_alarm + self.confused


def diarisation_error(
    reference: Sequence[Stretch],
    found: Sequence[Stretch],
    named: bool = False,
    collar: float = COLLAR_SECONDS,
) -> DiarisationError:
    """Compare turns, of which no two overlap, in frames of 10 ms.

    Parameters
    ----------
    named
        Whether names must agree; otherwise those found are mapped one to one so that most time agrees.
    collar
        Seconds on either side of each boundary of the reference that are not counted.
    """
    end = max(stretch[1] for stretch in [*reference, *found])
    times = (np.arange(int(end / FRAME_SECONDS) + 1) + 0.5) * FRAME_SECONDS
    names = sorted({name for _, _, name in reference})
    # The reference's names first, so that a name that is found has the column of its own.
    columns = [*names, *sorted({name for _, _, name in found} - {*names})]
    truth, guess = np.full(len(times), -1), np.full(len(times), -1)
    counted = np.ones(len(times), bool)
    for start, stop, name in reference:
        truth[(times >= start) & (times < stop)] = names.index(name)
        for boundary in (start, stop):
            counted &= np.abs(times - boundary) >= collar
    for start, stop, name in found:
        guess[(times >= start) & (times < stop)] = columns.index(name)
    truth, guess = truth[counted], guess[counted]
    both = (truth >= 0) & (guess >= 0)
    together = np.zeros((len(names), len(columns)), np.int64)
    np.add.at(together, (truth[both], guess[both]), 1)
    rows, mapped = (range(len(names)),) * 2 if named else linear_sum_assignment(-together)
    right, spoken = int(together[rows, mapped].sum()), int((truth >= 0).sum())
    missed, false = int(((truth >= 0) & (guess < 0)).sum()), int(((truth < 0) & (guess >= 0)).sum())
    return DiarisationError(missed / spoken, false / spoken, (int(both.sum()) - right) / spoken)
