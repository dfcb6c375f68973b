"""Speaker verification: every stratum under every condition, and the gaps between them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intervox.evaluation.findings import Cell, ErrorRates, Gap
from intervox.evaluation.representations import Representation
from intervox.evaluation.results import Verification
from intervox.evaluation.test_sets import TestSet, draw
from intervox.metrics.bootstrap import Samples, SpeakerResamples, interval
from intervox.metrics.calibration import cross_fitted, fit_calibration
from intervox.metrics.detection import Scores, cllr, equal_error_rate, error_rates, min_cllr, min_dcf
from intervox.metrics.trials import Pairs, Trials, usual_stratum
from intervox.metrics.vectors import Vectors, cosine, unit
from intervox.model.closed_form import LinearMap, fit_lda
from intervox.seeds import rng

CHUNK = 4_096
"""Clips compared with the cohort at once."""

TOP = 200
PLDA_SHRINKAGE = 1e-3

Scorer = Callable[[Vectors, Pairs], NDArray[np.float32]]
"""Maps unit vectors (clips, dim) and pairs (trials, 2) to scores (trials,), higher for one speaker."""


def centred(mean: NDArray[np.floating]) -> Scorer:
    """Return the cosine of vectors less a mean, shape (dim,), that they have in common."""
    return lambda vectors, pairs: cosine(unit(vectors - mean), pairs)


@dataclass(frozen=True)
class AsNorm:
    """Adaptive symmetric score normalisation of the cosine.

    Matějka et al. 2017, *Analysis of Score Normalization in Multilingual Speaker Recognition*,
    AS-norm1: a score is standardised by the scores of each of its two clips against the ``top``
    cohort entries nearest to that clip, and the two results are averaged.

    Attributes
    ----------
    cohort
        Unit vectors, shape (entries, dim); two at least.
    top
        Entries to keep for each clip, all where there are fewer.
    """

    cohort: Vectors
    top: int = TOP

    @classmethod
    def fit(cls, vectors: Vectors, speakers: NDArray[np.str_], top: int = TOP) -> "AsNorm":
        """Take the mean vector of every training speaker as an entry.

        Parameters
        ----------
        vectors, speakers
            Shapes (cells, dim) and (cells,).
        """
        numbers = np.unique(speakers, return_inverse=True)[1]
        sums = np.zeros((numbers.max() + 1, vectors.shape[1]))
        np.add.at(sums, numbers, vectors)
        return cls(unit(sums), top)

    def __call__(self, vectors: Vectors, pairs: Pairs) -> NDArray[np.float32]:
        clips, numbers = np.unique(pairs, return_inverse=True)
        mean, deviation = self._nearest(vectors[clips])
        scores = cosine(vectors, pairs)
        either = ((scores - mean[side]) / deviation[side] for side in numbers.reshape(-1, 2).T)
        return np.asarray(sum(either) / 2, np.float32)

    def _nearest(self, vectors: Vectors) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation of each clip's highest cohort scores, shape (clips,) each."""
        top = min(self.top, len(self.cohort))
        moments = np.empty((2, len(vectors)), np.float32)
        for start in range(0, len(vectors), CHUNK):
            scores = vectors[start : start + CHUNK] @ self.cohort.T
            best = np.partition(scores, -top, axis=1)[:, -top:]
            moments[:, start : start + CHUNK] = best.mean(axis=1), best.std(axis=1)
        return moments[0], np.maximum(moments[1], 1e-6)


@dataclass(frozen=True)
class Plda:
    """Probabilistic LDA: the log-likelihood ratio of one speaker against two.

    The two-covariance model (Brümmer & de Villiers 2010): a speaker is a Gaussian draw, a clip
    another around it. In the directions that whiten the latter and diagonalise the former (Ioffe
    2006) the ratio is a sum over directions, and its only term of both clips an inner product.

    Attributes
    ----------
    directions
        LDA of the training cells; unit variance within speakers.
    """

    directions: LinearMap

    @classmethod
    def fit(cls, vectors: Vectors, speakers: NDArray[np.str_]) -> "Plda":
        """Estimate both covariances from training cells.

        Parameters
        ----------
        vectors, speakers
            Shapes (cells, dim) and (cells,): two speakers at least, several cells each.

        Raises
        ------
        IntervoxError
            There is one speaker only.
        """
        labels = np.unique(speakers, return_inverse=True)[1]
        return cls(fit_lda(vectors, labels, vectors.shape[1], PLDA_SHRINKAGE))

    def __call__(self, vectors: Vectors, pairs: Pairs) -> NDArray[np.float32]:
        # Variance between the speakers, where that within them is 1.
        between = self.directions.reliability / (1 - self.directions.reliability)
        points = vectors @ self.directions.weight.T + self.directions.bias
        joint = 2 * between + 1
        own = -0.5 * points**2 @ (between**2 / ((between + 1) * joint))
        common = np.sum(np.log(between + 1) - 0.5 * np.log(joint))
        products = cosine(np.asarray(points * np.sqrt(between / joint), np.float32), pairs)
        return np.asarray(products + own[pairs].sum(axis=1) + common, np.float32)


CALIBRATION_TRIALS = 20_000
PRIORS = (0.01, 0.05)

Line = tuple[float, float]
"""Slope and offset from a score to a log-likelihood ratio."""


@dataclass(frozen=True)
class Verified:
    """What verification finds of one representation.

    Attributes
    ----------
    conditions
        Condition to stratum to error rates.
    gaps
        Name to how much harder some cells are; see ``headline_gaps``.
    """

    conditions: Verification
    gaps: dict[str, Gap]


def verify(
    vectors: Mapping[str, Vectors],
    trials: Mapping[str, Trials],
    speakers: NDArray[Any],
    repeats: int,
    seed: int,
    calibration: Line | None = None,
    scorer: Scorer = cosine,
) -> Verified:
    """Evaluate one representation on every stratum under every condition.

    Parameters
    ----------
    vectors
        Condition to unit vectors, shape (clips, dim), of the same clips.
    trials
        From ``draw_trials``.
    speakers
        Shape (clips,): for the bootstrap.
    repeats, seed
        Of the bootstrap; 0 repeats leave the intervals out.
    calibration
        Slope and offset, fitted on other clips, by which Cllr is measured. Without it each stratum
        is calibrated across two halves of its speakers (``cross_fitted``), and Cllr is None where
        that can't be done.
    scorer
        Turns vectors and pairs into scores.
    """
    resamples = SpeakerResamples(speakers, repeats, rng(seed, "bootstrap"))
    conditions: Verification = {condition: {} for condition in vectors}
    rates: dict[Cell, tuple[float, Samples]] = {}
    for condition, points in vectors.items():
        for stratum, pairs in trials.items():
            scores = _score(points, pairs, scorer)
            accept, reject = error_rates(*scores)
            rate = equal_error_rate(accept, reject), resamples.equal_error_rates(scores, pairs)
            rates[condition, stratum] = rate
            conditions[condition][stratum] = ErrorRates(
                eer=round(rate[0], 5),
                eer_interval=interval(rate[1]),
                min_dcf={str(prior): round(min_dcf(accept, reject, prior), 5) for prior in PRIORS},
                cllr=_cllr(scores, pairs, speakers, seed, calibration),
                min_cllr=round(min_cllr(accept, reject), 5),
                targets=len(pairs.targets),
                impostors=len(pairs.impostors),
            )
    gaps = {
        name: gap(rates, base, other)
        for name, (base, other) in headline_gaps(list(trials)).items()
        if base in rates and other in rates
    }
    return Verified(conditions, gaps)


def gap(rates: Mapping[Cell, tuple[float, Samples]], base: Cell, other: Cell) -> Gap:
    """Compare two cells, both measured on the same resamples."""
    (low, low_samples), (high, high_samples) = rates[base], rates[other]
    return Gap(
        value=round(high - low, 5),
        interval=interval(high_samples - low_samples),
        ratio=round(high / low, 5) if low else None,
        base=base,
        other=other,
    )


def headline_gaps(strata: list[str]) -> dict[str, tuple[Cell, Cell]]:
    """Name the pairs of cells whose difference says what a representation depends on.

    Returns
    -------
    dict
        ``same_text``: impostors that say the enrolled words. ``cross_condition``: both clips
        degraded. ``cross_session``: the targets' sessions differ. ``short``: short clips in place
        of the longest there are. Each with what it is compared to first.
    """
    usual = usual_stratum(strata)
    longest = "long" if "long" in strata else "medium"
    return {
        "same_text": (("clean", usual), ("clean", "same_text_impostors")),
        "cross_condition": (("clean", usual), ("cross_condition", usual)),
        "cross_session": (("clean", "same_session"), ("clean", "cross_session")),
        "short": (("clean", longest), ("clean", "short")),
    }


def _score(vectors: Vectors, trials: Trials, scorer: Scorer) -> tuple[Scores, Scores]:
    """Score both kinds at once: what a scorer prepares of the vectors, it prepares once."""
    scores = scorer(vectors, np.concatenate([trials.targets, trials.impostors]))
    return scores[: len(trials.targets)], scores[len(trials.targets) :]


def _cllr(
    scores: tuple[Scores, Scores],
    trials: Trials,
    speakers: NDArray[Any],
    seed: int,
    calibration: Line | None,
) -> float | None:
    if calibration:
        slope, offset = calibration
        return round(cllr(slope * scores[0] + offset, slope * scores[1] + offset), 5)
    ratios = cross_fitted(scores, trials, speakers, rng(seed, "calibration.halves"))
    return round(cllr(*ratios), 5) if ratios else None


def fit_on_held_out(representation: Representation, held_out: TestSet, factor: str) -> Line:
    """Fit slope and offset from a cosine to the log-odds of sharing a factor's value.

    Every condition that all clips are under counts alike, clean and degraded.

    Parameters
    ----------
    held_out
        Held-out synthetic cells, so that no human recording decides a threshold.
    """
    known = np.flatnonzero(held_out.clips.labels[factor] != "")
    labels = held_out.clips.labels[factor][known]
    clips = replace(held_out.clips.take(known), labels={"speaker": labels, "content": labels})
    trials = draw(clips, CALIBRATION_TRIALS)["all"]
    vectors = [representation.vectors(held_out, condition)[known] for condition in held_out.whole]
    targets, impostors = (
        np.concatenate([cosine(points, pairs) for points in vectors])
        for pairs in (trials.targets, trials.impostors)
    )
    return fit_calibration(targets, impostors)
