"""How sure an error rate is: resamples of the speakers, intervals, and differences between them.

Speakers, not trials, are drawn with replacement: trials that share a speaker are not independent.
The same seed and speakers draw the same resamples whatever is measured on them, so the difference
of two rates (strata, conditions, systems) is taken resample by resample.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from intervox.metrics.detection import Scores, equal_error_rate, error_rates
from intervox.metrics.trials import Trials

BOOTSTRAP_BINS = 5_000
COARSE_BINS = 20
HELD_WEIGHTS = 20_000_000
"""Weights of trials held at once at most, 4 bytes each."""

LEAST_GROUPS = 5
"""Groups (speakers, texts, streams) that an interval needs: four have 35 different resamples, too few for
tails of 2.5 %."""

Missing = Literal["too few groups", "all scores equal", "all resamples equal", "resamples miss the estimate"]
"""Why there is no interval."""

Interval = tuple[float, float] | Missing
"""Central 95 % of a bootstrap, which holds the estimate; or why there is none."""

Numbers = NDArray[np.int64]
Draws = NDArray[np.float32]
"""How often each speaker was drawn, shape (speakers, repeats)."""

Samples = NDArray[np.float64]
"""A rate in each resample, shape (repeats,); NaN where one had no trial of a kind."""


def bootstrap_weights(groups: int, repeats: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Draw groups, such as speakers, with replacement: how often each is drawn.

    The same random numbers give the same draws for as many groups: whatever is measured on them can be
    compared resample by resample.

    Returns
    -------
    ndarray
        Shape (repeats, groups).
    """
    drawn = random.integers(groups, size=(repeats, groups))
    cells = drawn + groups * np.arange(repeats)[:, None]
    return np.bincount(cells.ravel(), minlength=repeats * groups).reshape(repeats, groups)


class SpeakerResamples:
    """Draws of as many speakers as there are, with replacement.

    Parameters
    ----------
    speakers
        Shape (clips,).
    repeats
        Draws; 0 are allowed.
    """

    def __init__(self, speakers: NDArray[Any], repeats: int, random: np.random.Generator) -> None:
        self._who = np.unique(speakers, return_inverse=True)[1]
        count = int(self._who.max()) + 1
        self._drawn: Draws = np.ascontiguousarray(bootstrap_weights(count, repeats, random).T, np.float32)

    def equal_error_rates(self, scores: tuple[Scores, Scores], trials: Trials) -> Samples:
        """Return the EER of every resample, all NaN with targets or impostors of too few speakers.

        A trial weighs as often as its speakers were drawn: a target by its one speaker, an impostor
        by the product of both. What the bins' resolution adds to the sample's own EER is taken off.

        Parameters
        ----------
        scores
            Of the trials' targets and impostors.
        """
        bins = _rank_bins(*scores)
        who = self._who[trials.targets[:, 0]], self._who[trials.impostors]
        everyone = np.ones((len(self._drawn), 1), np.float32)
        offset = _crossings(bins, who, everyone) - equal_error_rate(*error_rates(*scores))
        rates = np.empty(self._drawn.shape[1])
        step = max(1, HELD_WEIGHTS // max(map(len, bins)))
        for start in range(0, len(rates), step):
            rates[start : start + step] = _crossings(bins, who, self._drawn[:, start : start + step])
        return estimable(np.clip(rates - offset, 0, 1), min(len(np.unique(each)) for each in who))


def estimable(samples: Samples, groups: int) -> Samples:
    """Return the samples, or as many NaN where they come of fewer than ``LEAST_GROUPS`` groups."""
    return samples if groups >= LEAST_GROUPS else np.full_like(samples, np.nan)


def interval(value: float, samples: NDArray[np.floating]) -> Interval | None:
    """Return the central 95 % of bootstrap samples, or say why that is no interval of the estimate.

    Parameters
    ----------
    value
        The estimate, on all groups.
    samples
        Of resamples of the groups; NaN where one had nothing to measure.

    Returns
    -------
    tuple, text or None
        None where nothing was resampled.
    """
    if not len(samples):
        return None
    known = samples[~np.isnan(samples)]
    if not len(known):
        return "too few groups"
    low, high = (round(float(bound), 5) for bound in np.quantile(known, [0.025, 0.975]))
    if low == high:
        return "all resamples equal"
    return (low, high) if low <= round(value, 5) <= high else "resamples miss the estimate"


@dataclass(frozen=True)
class Comparison:
    """The EER of one system less that of another.

    Attributes
    ----------
    difference
        On all speakers.
    interval
        Its central 95 % over paired resamples.
    p
        Two-sided: the share of resamples whose difference lies as far from the observed one as that lies
        from none (the bootstrap distribution shifted to the null hypothesis, Efron & Tibshirani 1993, ch.
        16), counted as (1 + cases) / (1 + resamples), so that it is never 0. None where there is no interval.
    """

    difference: float
    interval: Interval | None
    p: float | None


def compare_systems(
    scores: tuple[Scores, Scores],
    other_scores: tuple[Scores, Scores],
    trials: Trials,
    speakers: NDArray[Any],
    repeats: int,
    random: np.random.Generator,
) -> Comparison:
    """Compare the EER of two systems on the same trials by a paired bootstrap over speakers.

    Parameters
    ----------
    scores, other_scores
        Of the trials' targets and impostors, by each system.
    speakers
        Shape (clips,).
    """
    resamples = SpeakerResamples(speakers, repeats, random)
    observed = equal_error_rate(*error_rates(*scores)) - equal_error_rate(*error_rates(*other_scores))
    first, second = (resamples.equal_error_rates(each, trials) for each in (scores, other_scores))
    samples = (first - second)[~np.isnan(first)]
    bounds = interval(observed, first - second)
    cases = np.sum(np.abs(samples - observed) >= abs(observed))
    p = round(float((1 + cases) / (1 + len(samples))), 5) if isinstance(bounds, tuple) else None
    return Comparison(round(observed, 5), bounds, p)


def _rank_bins(targets: Scores, impostors: Scores) -> tuple[Numbers, Numbers]:
    """Replace scores by the bin of their rank: an EER is read off the bins in a fraction of the time.

    Bins hold equally many trials, so interpolation within one moves an EER by at most 1/BINS where
    there are as many targets as impostors, and by a like share of the rarer kind otherwise. Equal scores
    share a bin: no order among them could be a finding.
    """
    pooled = np.concatenate([targets, impostors])
    bins = np.searchsorted(np.sort(pooled), pooled) * BOOTSTRAP_BINS // len(pooled)
    return bins[: len(targets)], bins[len(targets) :]


def _crossings(bins: tuple[Numbers, Numbers], who: tuple[Numbers, Numbers], drawn: Draws) -> Samples:
    """EER of each draw: coarse bins tell which few of the fine ones have to be weighed.

    Parameters
    ----------
    bins
        Of each target and impostor.
    who
        Their speakers, shapes (targets,) and (impostors, 2).
    """
    width = BOOTSTRAP_BINS // COARSE_BINS
    lower = _cumulated((bins[0] // width, bins[1] // width), who, drawn, COARSE_BINS)
    totals = np.where(lower[:, -1] > 0, lower[:, -1], np.nan)
    crossed = np.argmax(lower[0] / totals[0] >= 1 - lower[1] / totals[1], axis=0)
    if not crossed.any():
        return np.full(drawn.shape[1], np.nan)
    first, last = crossed[crossed > 0].min() - 1, crossed.max()
    inside = [(each >= first * width) & (each < last * width) for each in bins]
    fine = _cumulated(
        (bins[0][inside[0]] - first * width, bins[1][inside[1]] - first * width),
        (who[0][inside[0]], who[1][inside[1]]),
        drawn,
        (last - first) * width,
    )
    reject, fallen = (lower[:, first, None] + fine) / totals[:, None]
    return _interpolated(1 - fallen, reject)


def _cumulated(
    bins: tuple[Numbers, Numbers], who: tuple[Numbers, Numbers], drawn: Draws, size: int
) -> NDArray[np.float64]:
    """Weight of the targets and of the impostors below each bin's end: shape (2, size + 1, draws).

    An impostor's weight is a product, so a bin's is a quadratic form: the second speakers are summed
    for each bin and first speaker, and only those sums are multiplied by the first.
    """
    count = len(drawn)
    rows, row = np.unique(bins[1] * count + who[1][:, 0], return_inverse=True)
    partial = _tally(row, who[1][:, 1], (len(rows), count)) @ drawn
    partial *= drawn[rows % count]
    result = np.zeros((2, size + 1, drawn.shape[1]))
    np.cumsum(_tally(bins[0], who[0], (size, count)) @ drawn, axis=0, out=result[0, 1:])
    into = _tally(rows // count, np.arange(len(rows)), (size, len(rows)))
    np.cumsum(into @ partial, axis=0, out=result[1, 1:])
    return result


def _tally(rows: Numbers, columns: Numbers, shape: tuple[int, int]) -> csr_array:
    return csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)


def _interpolated(accept: NDArray[np.float64], reject: NDArray[np.float64]) -> Samples:
    """``equal_error_rate`` of each column, shape (points, draws)."""
    draws = np.arange(reject.shape[1])
    after = np.maximum(np.argmax(reject >= accept, axis=0), 1)
    gap_before = (accept - reject)[after - 1, draws]
    gap_after = (reject - accept)[after, draws]
    share = gap_before / (gap_before + gap_after)
    start, end = accept[after - 1, draws], accept[after, draws]
    return np.asarray(start + share * (end - start))
