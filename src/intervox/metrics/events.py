"""Detection curves: misses against false alarms at every threshold, and their bootstrap.

What is to be detected (known keywords, events of a stream) and what is not (unknown words, running
speech) comes from groups, such as speakers, that are resampled together. Counting scores once a group
makes every resample a product of matrices.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = 2_000
"""At most so many thresholds, at quantiles of the scores."""

Counts = NDArray[np.float32]
Curve = NDArray[np.float64]


@dataclass(frozen=True)
class Detections:
    """Detections at or above each threshold, by group.

    Attributes
    ----------
    thresholds
        Shape (thresholds,), ascending: scores that occur. Beyond the last, nothing is detected.
    hits, alarms
        Shape (groups, thresholds + 1): right and false detections; the last column is zero.
    wanted
        Shape (groups,): how many there were to detect.
    exposure
        Shape (groups,): what false alarms are counted against, a number of trials or hours.
    """

    thresholds: NDArray[np.float64]
    hits: Counts
    alarms: Counts
    wanted: NDArray[np.float64]
    exposure: NDArray[np.float64]

    def curve(self) -> tuple[Curve, Curve]:
        """Return false alarms by exposure, falling, and miss rates, rising: shapes (thresholds + 1,)."""
        alarms, misses = self.resampled(np.ones((1, len(self.wanted))))
        return alarms[0], misses[0]

    def resampled(self, weights: NDArray[Any]) -> tuple[Curve, Curve]:
        """Return the curves of resamples of the groups, without those that hold nothing of a kind.

        Parameters
        ----------
        weights
            Shape (resamples, groups): how often each group was drawn.

        Returns
        -------
        alarms, misses
            Shapes (resamples left, thresholds + 1).
        """
        wanted, exposure = weights @ self.wanted, weights @ self.exposure
        kept = (wanted > 0) & (exposure > 0)
        drawn = weights[kept].astype(np.float32)
        alarms = (drawn @ self.alarms) / exposure[kept, None]
        return alarms, 1 - (drawn @ self.hits) / wanted[kept, None]


def count_detections(
    hits: tuple[NDArray[np.floating], NDArray[np.integer]],
    alarms: tuple[NDArray[np.floating], NDArray[np.integer]],
    wanted: NDArray[Any],
    exposure: NDArray[Any],
) -> Detections:
    """Count detections once for all thresholds.

    Parameters
    ----------
    hits, alarms
        Scores and group numbers of the right and of the false detections. What can't be detected
        at any threshold, such as a keyword taken for another, is in ``wanted`` alone.
    wanted, exposure
        Shape (groups,), as in ``Detections``.
    """
    pooled = np.concatenate([hits[0], alarms[0]]).astype(np.float64)
    if len(pooled) > THRESHOLDS:
        pooled = np.sort(pooled)[np.linspace(0, len(pooled) - 1, THRESHOLDS).astype(np.int64)]
    thresholds = np.unique(pooled)
    groups, columns = len(wanted), len(thresholds) + 1

    def at_or_above(scores: NDArray[np.floating], group: NDArray[np.integer]) -> Counts:
        column = np.searchsorted(thresholds, scores.astype(np.float64), side="right") - 1
        counts = np.bincount(group * columns + column, minlength=groups * columns).reshape(groups, columns)
        return np.cumsum(counts[:, ::-1], axis=1)[:, ::-1].astype(np.float32)

    return Detections(
        thresholds,
        at_or_above(*hits),
        at_or_above(*alarms),
        np.asarray(wanted, np.float64),
        np.asarray(exposure, np.float64),
    )


def miss_at(alarms: Curve, misses: Curve, limit: float) -> float:
    """Return the miss rate at the lowest threshold with at most ``limit`` false alarms by exposure."""
    return float(misses[np.argmax(alarms <= limit)])


def thinned(alarms: Curve, points: int = 40) -> NDArray[np.int64]:
    """Choose thresholds for a curve on a page, evenly spaced in the logarithm of false alarms."""
    if alarms[0] <= 0:
        return np.zeros(1, np.int64)
    limits = np.geomspace(alarms[alarms > 0].min(), alarms[0], points)
    chosen = [int(np.argmax(alarms <= limit * (1 + 1e-9))) for limit in limits]
    return np.unique([*chosen, len(alarms) - 1])
