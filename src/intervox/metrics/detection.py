"""Error rates, costs and information of detection scores.

Scores are higher for targets (same speaker) than for impostors. Everything here is exact, reads
arrays of any length in O(n log n), and holds a few arrays of that length at once.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.special import entr

Scores = NDArray[np.floating]
Rates = NDArray[np.float64]


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


def actual_dcf(target_llrs: Scores, impostor_llrs: Scores, prior: float) -> float:
    """Return the normalised detection cost of deciding by the log-likelihood ratios as they are.

    A trial is accepted where its ratio reaches ``log((1 - prior) / prior)``. The excess over
    ``min_dcf`` is what miscalibration costs; always rejecting costs 1 (at priors up to a half).
    """
    threshold = np.log((1 - prior) / prior)
    reject, accept = np.mean(target_llrs < threshold), np.mean(impostor_llrs >= threshold)
    return float((prior * reject + (1 - prior) * accept) / min(prior, 1 - prior))


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
