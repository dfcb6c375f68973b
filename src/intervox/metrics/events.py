"""Events in time: peaks of a score, their matching, and misses against false alarms with their bootstrap.

What is to be detected (known keywords, events of a stream) and what is not (unknown words, running
speech) comes from groups, such as speakers, that are resampled together. Counting scores once a group
makes every resample a product of matrices.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW_SECONDS = 1.0
HOP_SECONDS = 0.25
REFRACTORY_SECONDS = 0.75
"""Less than from one word to the next in the streams, so that no detection has to hide another."""

TOLERANCE_SECONDS = 0.25

Event = tuple[float, float, str]
"""Start and end in seconds, and the keyword."""

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

    @property
    def groups(self) -> int:
        """How many groups there are behind the rarer kind: what there was to detect, or what it was not."""
        return int(min(np.count_nonzero(self.wanted), np.count_nonzero(self.exposure)))

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


def pick_peaks(scores: NDArray[np.floating], distance: int) -> NDArray[np.int64]:
    """Return the local maxima, less those that are closer than ``distance`` to a higher one.

    They are those of ``scipy.signal.find_peaks``, which whoever only uses a model lacks; of equal ones the
    first stays. Those above a threshold are the same whether the threshold is applied before or after.

    Parameters
    ----------
    scores
        Shape (windows,).
    distance
        In windows.
    """
    if not len(scores):
        return np.zeros(0, np.int64)
    # Runs of equal scores, of which one that is higher than both its neighbours is a peak.
    starts = np.concatenate([[0], np.flatnonzero(scores[1:] != scores[:-1]) + 1])
    ends = np.concatenate([starts[1:], [len(scores)]]) - 1
    levels = np.concatenate([[-np.inf], scores[starts], [-np.inf]])
    is_peak = (levels[1:-1] > levels[:-2]) & (levels[1:-1] > levels[2:])
    peaks = (starts[is_peak] + ends[is_peak]) // 2
    kept = np.ones(len(peaks), bool)
    for index in np.argsort(-scores[peaks], kind="stable"):
        if kept[index]:
            near = np.abs(peaks - peaks[index]) < distance
            kept &= ~near
            kept[index] = True
    return np.asarray(peaks[kept], np.int64)


def match_events(
    times: NDArray[np.floating],
    words: NDArray[np.str_],
    scores: NDArray[np.floating],
    events: list[Event],
    tolerance: float,
) -> NDArray[np.bool_]:
    """Tell which detections are right: the best of its keyword within each event.

    Parameters
    ----------
    times, words, scores
        Shape (detections,): seconds, keyword and score.
    events
        What was said; each is detected once, a second detection is a false alarm.
    tolerance
        Seconds by which a detection may lie outside.

    Returns
    -------
    ndarray
        Shape (detections,).
    """
    right = np.zeros(len(times), bool)
    if not events or not len(times):
        return right
    starts, ends = (np.asarray([event[side] for event in events], np.float64) for side in (0, 1))
    said = np.asarray([event[2] for event in events])
    away = np.abs(times[:, None] - (starts + ends) / 2)
    inside = away <= (ends - starts) / 2 + tolerance
    away[~inside | (words[:, None] != said)] = np.inf
    nearest = away.argmin(axis=1)
    for event in range(len(events)):
        candidates = np.flatnonzero((nearest == event) & np.isfinite(away[:, event]))
        if len(candidates):
            right[candidates[scores[candidates].argmax()]] = True
    return right


def average_precision(found: Detections, weights: NDArray[Any]) -> NDArray[np.float64]:
    """Return precision averaged over the recall of all that was wanted, for each resample.

    The sum of precision times gain in recall over falling thresholds, as scikit-learn has it; what
    is never detected adds nothing.

    Parameters
    ----------
    weights
        Shape (resamples, groups), as for ``Detections.resampled``.
    """
    wanted = weights @ found.wanted
    drawn = weights[wanted > 0].astype(np.float32)
    hits, alarms = drawn @ found.hits, drawn @ found.alarms
    precision = hits / np.maximum(hits + alarms, 1)
    gained = hits[:, :-1] - hits[:, 1:]
    return np.asarray((precision[:, :-1] * gained).sum(axis=1) / wanted[wanted > 0], np.float64)


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
