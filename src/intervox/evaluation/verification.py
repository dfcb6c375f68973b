"""Speaker verification: trials in interventional strata, error rates, and how sure they are.

The strata ask more than "same voice?": targets never share a text, and in ``same_text_impostors``
every impostor says exactly the enrolled words. A representation that answers "same words?" fails
there.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import det_curve

PRIORS = (0.01, 0.05)
BOOTSTRAP_BINS = 5_000

Vectors = NDArray[np.float32]
Pairs = NDArray[np.int64]


@dataclass(frozen=True)
class Trials:
    """Pairs of clips of one stratum, in the form that scoring wants.

    Attributes
    ----------
    targets, impostors
        Shape (trials, 2): clip indices.
    """

    targets: Pairs
    impostors: Pairs


def draw_trials(
    speakers: NDArray[Any], contents: NDArray[Any], max_trials: int, seed: int
) -> dict[str, Trials]:
    """Form the trials of every stratum, at most ``max_trials`` targets and as many impostors each.

    Parameters
    ----------
    speakers, contents
        Shape (clips,): labels.
    max_trials
        Larger sets are drawn at random, without replacement.
    seed
        Decides the draw.

    Returns
    -------
    dict
        Stratum to trials. ``all``: any pair. ``different_text``: neither targets nor impostors
        share a text. ``same_text_impostors``: those targets, against impostors that share it. A
        stratum without targets or without impostors is absent.
    """
    random = np.random.default_rng([seed, 5])
    who = np.unique(speakers, return_inverse=True)[1]
    what = np.unique(contents, return_inverse=True)[1]
    same_speaker = _pairs_within(who)
    same_text = _pairs_within(what)
    anyone = _random_pairs(len(who), 4 * max_trials, random)
    others = anyone[who[anyone[:, 0]] != who[anyone[:, 1]]]

    def differ(pairs: Pairs, labels: NDArray[np.int64]) -> Pairs:
        return np.asarray(pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]])

    def at_most(pairs: Pairs) -> Pairs:
        if len(pairs) <= max_trials:
            return pairs
        return pairs[np.sort(random.choice(len(pairs), max_trials, replace=False))]

    targets = at_most(differ(same_speaker, what))
    trials = {
        "all": Trials(at_most(same_speaker), at_most(others)),
        "different_text": Trials(targets, at_most(differ(others, what))),
        "same_text_impostors": Trials(targets, at_most(differ(same_text, who))),
    }
    return {name: t for name, t in trials.items() if len(t.targets) and len(t.impostors)}


def cosine(vectors: Vectors, pairs: Pairs) -> NDArray[np.float32]:
    """Score pairs of unit vectors in bounded memory: shape (trials,), in [-1, 1]."""
    scores = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), 50_000):
        part = pairs[start : start + 50_000]
        scores[start : start + 50_000] = np.einsum("td,td->t", vectors[part[:, 0]], vectors[part[:, 1]])
    return scores


def error_rates(
    targets: NDArray[np.floating], impostors: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return false-accept and false-reject rates over all thresholds, both ends included.

    The first rates fall from 1 to 0 while the second rise from 0 to 1.
    """
    labels = np.concatenate([np.ones(len(targets), bool), np.zeros(len(impostors), bool)])
    accept, reject, _ = det_curve(labels, np.concatenate([targets, impostors]))
    return np.concatenate([[1.0], accept, [0.0]]), np.concatenate([[0.0], reject, [1.0]])


def equal_error_rate(accept: NDArray[np.floating], reject: NDArray[np.floating]) -> float:
    """Return the rate at which both errors are equal, interpolated between thresholds.

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
    if crossing == 0:
        return float(accept[0])
    gap_before = accept[crossing - 1] - reject[crossing - 1]
    gap_after = reject[crossing] - accept[crossing]
    share = gap_before / (gap_before + gap_after) if gap_before + gap_after else 0.0
    return float(accept[crossing - 1] + share * (accept[crossing] - accept[crossing - 1]))


def min_dcf(accept: NDArray[np.floating], reject: NDArray[np.floating], prior: float) -> float:
    """Return the minimum detection cost with unit costs, normalised (NIST SRE).

    Divided by the cost of the better of always accepting and always rejecting: 1 is no use at all.
    """
    costs = prior * reject + (1 - prior) * accept
    return float(costs.min() / min(prior, 1 - prior))


def bootstrap_rates(
    scores: tuple[NDArray[np.floating], NDArray[np.floating]],
    trials: Trials,
    speakers: NDArray[Any],
    repeats: int,
    seed: int,
) -> NDArray[np.float64]:
    """Return the EER of every resample of the speakers; the same seed draws the same speakers.

    Speakers, not trials, are drawn with replacement: trials that share a speaker are not
    independent. A trial weighs as often as its speakers were drawn (a target by its one speaker, an
    impostor by the product of both). Draws that leave no trial of a kind give none.
    """
    who = np.unique(speakers, return_inverse=True)[1]
    count = int(who.max()) + 1
    target_bins, impostor_bins = _rank_bins(*scores)
    target_speaker = who[trials.targets[:, 0]]
    first, second = who[trials.impostors[:, 0]], who[trials.impostors[:, 1]]
    random = np.random.default_rng([seed, 6])
    rates = []
    for _ in range(repeats):
        drawn = np.bincount(random.integers(count, size=count), minlength=count)
        reject = np.cumsum(np.bincount(target_bins, drawn[target_speaker], BOOTSTRAP_BINS))
        accept = np.cumsum(np.bincount(impostor_bins, drawn[first] * drawn[second], BOOTSTRAP_BINS))
        if reject[-1] and accept[-1]:
            rates.append(equal_error_rate(1 - accept / accept[-1], reject / reject[-1]))
    return np.asarray(rates, np.float64)


def interval(samples: NDArray[np.floating]) -> list[float] | None:
    """Return the central 95 % of bootstrap samples, or None where there are none."""
    if not len(samples):
        return None
    return [round(float(bound), 5) for bound in np.quantile(samples, [0.025, 0.975])]


def _rank_bins(
    targets: NDArray[np.floating], impostors: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Replace scores by the bin of their rank: an EER is read off the bins in a fraction of the time.

    Bins hold equally many trials, so interpolation within one moves an EER by at most 1/BINS where
    there are as many targets as impostors, and by a like share of the rarer kind otherwise.
    """
    pooled = np.concatenate([targets, impostors])
    bins = np.empty(len(pooled), np.int64)
    bins[np.argsort(pooled, kind="stable")] = np.arange(len(pooled)) * BOOTSTRAP_BINS // len(pooled)
    return bins[: len(targets)], bins[len(targets) :]


def verify(
    vectors: Vectors,
    trials: dict[str, Trials],
    speakers: NDArray[Any],
    repeats: int,
    seed: int,
) -> dict[str, Any]:
    """Evaluate one representation on every stratum.

    Parameters
    ----------
    vectors
        Unit vectors, shape (clips, dim).
    trials
        From ``draw_trials``.
    speakers
        Shape (clips,): for the bootstrap.
    repeats, seed
        Of the bootstrap; 0 repeats leave the interval out.

    Returns
    -------
    dict
        Stratum to ``eer``, ``eer_interval``, ``min_dcf`` by prior, and trial counts.
    """
    result = {}
    for stratum, pairs in trials.items():
        scores = cosine(vectors, pairs.targets), cosine(vectors, pairs.impostors)
        accept, reject = error_rates(*scores)
        result[stratum] = {
            "eer": round(equal_error_rate(accept, reject), 5),
            "eer_interval": interval(bootstrap_rates(scores, pairs, speakers, repeats, seed)),
            "min_dcf": {str(prior): round(min_dcf(accept, reject, prior), 5) for prior in PRIORS},
            "targets": len(pairs.targets),
            "impostors": len(pairs.impostors),
        }
    return result


def _pairs_within(labels: NDArray[np.int64]) -> Pairs:
    """All pairs of clips that share a label."""
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    return np.concatenate([group[np.stack(np.triu_indices(len(group), 1), axis=1)] for group in groups])


def _random_pairs(clips: int, wanted: int, random: np.random.Generator) -> Pairs:
    """Different unordered pairs of clips, all of them where there are not more than wanted."""
    if clips * (clips - 1) // 2 <= wanted:
        return np.stack(np.triu_indices(clips, 1), axis=1).astype(np.int64)
    pairs = np.sort(random.integers(clips, size=(wanted + wanted // 4, 2)), axis=1)
    pairs = np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)
    return pairs[np.sort(random.permutation(len(pairs))[:wanted])]
