"""Error rates, costs and information of detection scores, and their calibration.

Scores are higher for targets (same speaker) than for impostors. Everything here is exact, reads
arrays of any length in O(n log n), and holds a few arrays of that length at once.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.special import entr, expit
from sklearn.linear_model import LogisticRegression

from intervox.metrics.trials import Trials

Scores = NDArray[np.floating]
Rates = NDArray[np.float64]

SCORE_BINS = 1_000
RELIABILITY_BINS = 10


def error_rates(targets: Scores, impostors: Scores) -> tuple[Rates, Rates]:
    """Return false-accept and false-reject rates at all thresholds, from accepting all to rejecting all.

    The curve of ``sklearn.metrics.det_curve`` with both ends included, faster and in less memory.

    Parameters
    ----------
    targets, impostors
        Shape (trials of the kind,): at least one each.

    Returns
    -------
    accept, reject
        Shape (distinct scores + 1,): the first falls from 1 to 0 while the second rises from 0 to 1.
    """
    pooled = np.sort(np.concatenate([targets, impostors]))
    thresholds = pooled[np.append(pooled[1:] != pooled[:-1], True)]
    rejected = np.searchsorted(np.sort(targets), thresholds, side="right")
    accepted = len(impostors) - np.searchsorted(np.sort(impostors), thresholds, side="right")
    return np.append(1.0, accepted / len(impostors)), np.append(0.0, rejected / len(targets))


def equal_error_rate(accept: Rates, reject: Rates) -> float:
    """Return the rate at which both errors are equal, interpolated between neighbouring thresholds.

    On the ROC itself, not on its convex hull: the hull's EER (BOSARIS) chooses between two
    thresholds at random, is never higher, and never above 0.5.

    Parameters
    ----------
    accept, reject
        From ``error_rates``.

    Returns
    -------
    float
        In [0, 1]; 0.5 is chance, above it same-speaker pairs score lower than others.
    """
    crossing = int(np.argmax(reject >= accept))
    gap_before = accept[crossing - 1] - reject[crossing - 1]
    gap_after = reject[crossing] - accept[crossing]
    share = gap_before / (gap_before + gap_after)
    return float(accept[crossing - 1] + share * (accept[crossing] - accept[crossing - 1]))


def min_dcf(accept: Rates, reject: Rates, prior: float) -> float:
    """Return the minimum detection cost with unit costs, normalised (NIST SRE).

    Divided by the cost of the better of always accepting and always rejecting: 1 is no use at all.

    Parameters
    ----------
    accept, reject
        From ``error_rates``.
    prior
        Of a target, in (0, 1).
    """
    costs = prior * reject + (1 - prior) * accept
    return float(costs.min() / min(prior, 1 - prior))


def cllr(target_llrs: Scores, impostor_llrs: Scores) -> float:
    """Return the cost of log-likelihood ratios over all priors, in bits.

    Brümmer & du Preez 2006, *Application-independent evaluation of speaker detection*, eq. 34:
    the cross-entropy of the classes at even odds. 0 is perfect; 1 is what ratios of 1 throughout
    cost; confident mistakes cost without bound.

    Parameters
    ----------
    target_llrs, impostor_llrs
        Natural logarithms of likelihood ratios.
    """
    of_targets = np.logaddexp(0, -target_llrs).mean(dtype=np.float64)
    of_impostors = np.logaddexp(0, impostor_llrs).mean(dtype=np.float64)
    return float((of_targets + of_impostors) / (2 * np.log(2)))


def min_cllr(accept: Rates, reject: Rates) -> float:
    """Return the Cllr after the best monotonic calibration of the scores, in bits.

    The calibration is found on the trials themselves by pooling adjacent violators (Brümmer & du
    Preez 2006), without the two dummy trials that BOSARIS can add at each end: separated scores
    cost nothing. One minus the result is the mutual information of score and class at even odds
    that this calibration keeps. The error rates say all that is needed of the scores.

    Parameters
    ----------
    accept, reject
        From ``error_rates``.

    Returns
    -------
    float
        In [0, 1].
    """
    accept, reject = _corners(accept, reject)
    of_targets, of_impostors = np.diff(reject), -np.diff(accept)
    share = of_targets / (of_targets + of_impostors)
    blocks = isotonic_regression(share, weights=of_targets + of_impostors).blocks
    p, q = np.diff(reject[blocks]), -np.diff(accept[blocks])
    return float(np.sum(entr(p) + entr(q) - entr(p + q)) / (2 * np.log(2)))


def _corners(accept: Rates, reject: Rates) -> tuple[Rates, Rates]:
    """Keep both ends and the points that can lie on the convex hull: impostors below, targets above."""
    kept = np.ones(len(accept), bool)
    kept[1:-1] = (accept[1:-1] < accept[:-2]) & (reject[2:] > reject[1:-1])
    return accept[kept], reject[kept]


def fit_calibration(targets: Scores, impostors: Scores) -> tuple[float, float]:
    """Fit slope and offset of the log-likelihood ratio as a function of the score.

    Logistic regression with both kinds of trials weighted alike, so that log-odds are likelihood
    ratios. It reads the scores from a histogram of 1,000 bins, which moves a score by half a
    thousandth of their range at most and costs the same for any number of trials.
    """
    # The solver takes the precision of what it is given: in single, its Hessian is singular for scores
    # that lie close together or far from zero, and it stops where it starts.
    targets, impostors = targets.astype(np.float64), impostors.astype(np.float64)
    pooled_range = min(targets.min(), impostors.min()), max(targets.max(), impostors.max())
    counts, edges = zip(
        *(np.histogram(each, SCORE_BINS, pooled_range) for each in (targets, impostors)), strict=True
    )
    centres = np.tile((edges[0][1:] + edges[0][:-1]) / 2, 2)
    weights = np.concatenate([count / count.sum() for count in counts]) * (len(targets) + len(impostors)) / 2
    kind = np.repeat([True, False], SCORE_BINS)
    used = weights > 0
    fit = LogisticRegression(C=1e3, solver="newton-cholesky", tol=1e-6)
    fit.fit(centres[used, None], kind[used], weights[used])
    return float(fit.coef_[0, 0]), float(fit.intercept_[0])


def cross_fitted(
    scores: tuple[Scores, Scores], trials: Trials, speakers: NDArray[np.str_], random: np.random.Generator
) -> tuple[Scores, Scores] | None:
    """Calibrate the trials of either half of the speakers by a fit on the other half's.

    Trials between the halves are left out: they share speakers with both.

    Returns
    -------
    tuple or None
        Log-likelihood ratios of the targets and impostors within the halves; None where a half has
        no trials of a kind.
    """
    names, who = np.unique(speakers, return_inverse=True)
    half = random.permutation(len(names))[who] < len(names) // 2
    sides = [half[pairs].sum(axis=1) for pairs in (trials.targets, trials.impostors)]
    inside = [
        tuple(score[side == both] for score, side in zip(scores, sides, strict=True)) for both in (0, 2)
    ]
    if any(len(score) == 0 for within in inside for score in within):
        return None
    fits = [fit_calibration(*within) for within in inside]
    ratios = [
        [slope * score + offset for score in within]
        for within, (slope, offset) in zip(inside, reversed(fits), strict=True)
    ]
    return np.concatenate([each[0] for each in ratios]), np.concatenate([each[1] for each in ratios])


def reliability(
    target_llrs: Scores, impostor_llrs: Scores, bins: int = RELIABILITY_BINS
) -> list[tuple[float, float, int]]:
    """Compare predicted probabilities with what came true, at even odds.

    Parameters
    ----------
    bins
        Of equal width in the probability; empty ones are left out.

    Returns
    -------
    list
        For each bin, ascending: the mean predicted probability of a target, the share of targets
        (both with targets and impostors weighted alike), and the number of trials.
    """
    predicted = expit(np.concatenate([target_llrs, impostor_llrs]).astype(np.float64))
    kinds = np.array([len(target_llrs), len(impostor_llrs)])
    weights = np.repeat(1 / kinds, kinds)
    bin_ = np.minimum((predicted * bins).astype(np.int64), bins - 1)
    count, total, expected, came_true = (
        np.bincount(bin_, values, bins)
        for values in (None, weights, weights * predicted, np.repeat([1.0, 0.0], kinds) * weights)
    )
    return [
        (round(float(expected[i] / total[i]), 5), round(float(came_true[i] / total[i]), 5), int(count[i]))
        for i in np.flatnonzero(count)
    ]
