"""What a probe can use of a factor, in bits, and how two spaces depend on each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, svd
from scipy.special import logsumexp, ndtri
from scipy.stats import pearsonr, rankdata
from sklearn.covariance import ledoit_wolf
from sklearn.model_selection import GroupKFold

STRENGTHS = np.array([0, *np.geomspace(0.02, 8, 16)])
"""What a probe's evidence may be multiplied by; at 0 it answers with the class frequencies."""

Floats = NDArray[np.floating]
Integers = NDArray[np.int64]


def pointwise_bits(
    scores: Sequence[Floats],
    answers: Sequence[Integers],
    trained: Sequence[Integers],
    seeds: Sequence[int],
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Return what a probe knows of each held-out clip's class beyond the class frequencies.

    The pointwise V-information ``log2 f[x](y) - log2 f[∅](y)`` (Ethayarajh et al. 2022), whose mean
    estimates the V-information of Xu et al. (2020): entropy less cross-entropy, both held out. It
    is a lower bound of the mutual information (up to sampling), tight where the family holds the
    true posterior, and says only what this family can use. The null model answers with the class
    frequencies of the training fold.

    The family holds every ``softmax(strength · evidence + log frequency)``, so a probe that is too
    sure of itself is no less than useless; the strength is chosen on the seed's other folds, whose
    groups are not those that it is used on.

    Parameters
    ----------
    scores
        Log-probabilities (held out, classes) of every fit; -inf for classes that it never saw.
    answers, trained
        True classes of the held-out clips and of the training clips of every fit.
    seeds
        Of every fit; the fits of one seed are the folds of one split, two at least.

    Returns
    -------
    known, entropy
        Two lists with an array a fit, one value a held-out clip: the information, about zero for a
        useless probe; and what there was to know, ``-log2 f[∅](y)``.
    """
    classes = scores[0].shape[1]
    losses = []
    for score, answer, labels in zip(scores, answers, trained, strict=True):
        # One more of each class than was seen: a class that was not seen is not impossible.
        prior = np.log((np.bincount(labels, minlength=classes) + 1) / (len(labels) + classes))
        evidence = np.where(np.isfinite(score), score - prior, 0)
        logits = STRENGTHS[:, None, None] * evidence + prior
        losses.append(logsumexp(logits, axis=2) - logits[:, np.arange(len(answer)), answer])
    totals = np.stack([loss.sum(axis=1) for loss in losses])
    seed = np.asarray(seeds)
    known = []
    for fit, loss in enumerate(losses):
        others = (seed == seed[fit]) & (np.arange(len(seed)) != fit)
        chosen = totals[others].sum(axis=0).argmin()
        known.append((loss[0] - loss[chosen]) / np.log(2))
    return known, [loss[0] / np.log(2) for loss in losses]


def shared_bits(first: Floats, second: Floats, groups: NDArray[Any]) -> float:
    """Bound from below what two spaces tell of each other, in bits.

    The pair of directions with the highest correlation (CCA, covariances shrunk by Ledoit & Wolf
    2004) is found on half of the groups. On the other half both are given Gaussian marginals by
    their ranks, and the mutual information is at least ``-½ log2(1 - ρ²)`` (the Gaussian copula,
    Ince et al. 2017), with equality for jointly Gaussian vectors of which one pair is correlated;
    then the other way round. Summed over all canonical correlations it would be the mutual
    information of Gaussian vectors, but no bound for others: embeddings in clusters exceed it many
    times over, so the other pairs are left out. Zero is no proof of independence.

    Parameters
    ----------
    first, second
        Shapes (clips, d1) and (clips, d2): two spaces of the same clips.
    groups
        Shape (clips,): what the halves must not share.
    """
    found = []
    for train, test in GroupKFold(2).split(first, groups=groups):
        a, b = (_whitened(space[train], space[test]) for space in (first, second))
        left, strengths, right = svd(a[0].T @ b[0], full_matrices=False)
        pair = np.stack([a[1] @ left[:, 0], b[1] @ right[0]]) if len(strengths) else np.zeros((2, 1))
        if not np.ptp(pair, axis=1).all():  # what does not vary tells nothing
            found.append(0.0)
            continue
        gaussian = ndtri(rankdata(pair, axis=1) / (len(test) + 1))
        # The sign is known from the first half: a negative correlation is not evidence.
        correlation = min(max(pearsonr(*gaussian).statistic, 0), 1 - 1e-9)
        found.append(-0.5 * np.log2(1 - correlation**2))
    return float(np.mean(found))


def _whitened(train: Floats, test: Floats) -> tuple[Floats, Floats]:
    """Both halves in coordinates where the first has unit covariance; empty directions are dropped."""
    mean = train.mean(axis=0)
    variances, directions = eigh(ledoit_wolf(train)[0])
    used = variances > 1e-9 * variances[-1]
    whiten = directions[:, used] / np.sqrt(variances[used])
    return (train - mean) @ whiten, (test - mean) @ whiten


def rv_coefficient(first: Floats, second: Floats) -> float:
    """Measure the linear dependence of two spaces on the same clips, in [0, 1].

    ``||C_ab||² / (||C_aa|| ||C_bb||)`` with Frobenius norms of the (cross-)covariances (Escoufier 1973),
    whatever the scales and dims. Zero means uncorrelated, which is less than independent.

    Parameters
    ----------
    first, second
        Shapes (clips, d1) and (clips, d2).
    """
    a, b = (space - space.mean(axis=0) for space in (first, second))
    scale = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(np.linalg.norm(a.T @ b) ** 2 / scale) if scale else 0.0


@dataclass(frozen=True)
class BlockScores:
    """How far the spaces that make up a code are each of one factor; all in [0, 1], 1 is best.

    Attributes
    ----------
    disentanglement
        Does a space know one factor alone? Spaces weigh by what they know.
    completeness
        Is a factor in one space alone?
    informativeness
        The best space's share of a factor's entropy, over factors.
    mig
        The gap between the best and the second space, as a share of a factor's entropy, over factors.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    mig: float


def block_scores(shares: NDArray[np.floating]) -> BlockScores | None:
    """Summarise what spaces know of factors by DCI (Eastwood & Williams 2018) and MIG (Chen et al. 2018).

    Parameters
    ----------
    shares
        Shape (spaces, factors), in [0, 1]: of a factor's entropy, what is known from the space.

    Returns
    -------
    BlockScores or None
        None where there are fewer than two spaces or factors, or nothing is known of any.
    """
    if min(shares.shape) < 2 or not shares.any():
        return None
    ranked = np.sort(shares, axis=0)[::-1]
    found = (
        shares.sum(axis=1) / shares.sum() @ _purity(shares),
        _purity(shares.T).mean(),
        ranked[0].mean(),
        (ranked[0] - ranked[1]).mean(),
    )
    return BlockScores(*(round(float(value), 5) for value in found))


def _purity(shares: NDArray[np.floating]) -> NDArray[np.float64]:
    """One less the entropy of each row, in units of its largest value; 0 for a row of zeros."""
    totals = shares.sum(axis=1, keepdims=True)
    parts = np.divide(shares, totals, out=np.full_like(shares, 1 / shares.shape[1]), where=totals > 0)
    logs = np.log(parts, out=np.zeros_like(parts), where=parts > 0)
    return np.asarray(1 + (parts * logs).sum(axis=1) / np.log(shares.shape[1]))
