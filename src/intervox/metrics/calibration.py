"""From a score to a log-likelihood ratio and a probability: logistic calibration, and how it holds."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from intervox.metrics.detection import Scores
from intervox.metrics.trials import Trials

SCORE_BINS = 1_000
RELIABILITY_BINS = 10


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
