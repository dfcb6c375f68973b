"""Speaker verification: every stratum under every condition, and the gaps between them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intervox.evaluation.calibration import cross_fitted
from intervox.evaluation.detection import Scores, cllr, equal_error_rate, error_rates, min_cllr, min_dcf
from intervox.evaluation.scoring import Scorer, cosine
from intervox.evaluation.trials import Trials, usual_stratum
from intervox.evaluation.uncertainty import Samples, SpeakerResamples, gap, interval
from intervox.evaluation.vectors import Vectors

PRIORS = (0.01, 0.05)

Cell = tuple[str, str]
"""A condition and a stratum."""

Calibration = tuple[float, float]
"""Slope and offset from a score to a log-likelihood ratio."""


def verify(
    vectors: Mapping[str, Vectors],
    trials: Mapping[str, Trials],
    speakers: NDArray[Any],
    repeats: int,
    seed: int,
    calibration: Calibration | None = None,
    scorer: Scorer = cosine,
) -> dict[str, Any]:
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

    Returns
    -------
    dict
        ``conditions``: condition to stratum to ``eer``, ``eer_interval``, ``min_dcf`` by prior,
        ``cllr``, ``min_cllr`` and trial counts. ``gaps``: see ``headline_gaps``; each with
        ``value``, ``interval``, ``ratio``, ``base`` and ``other``.
    """
    resamples = SpeakerResamples(speakers, repeats, seed)
    conditions: dict[str, dict[str, Any]] = {condition: {} for condition in vectors}
    rates: dict[Cell, tuple[float, Samples]] = {}
    for condition, points in vectors.items():
        for stratum, pairs in trials.items():
            scores = _score(points, pairs, scorer)
            accept, reject = error_rates(*scores)
            rate = equal_error_rate(accept, reject), resamples.equal_error_rates(scores, pairs)
            rates[condition, stratum] = rate
            conditions[condition][stratum] = {
                "eer": round(rate[0], 5),
                "eer_interval": interval(rate[1]),
                "min_dcf": {str(prior): round(min_dcf(accept, reject, prior), 5) for prior in PRIORS},
                "cllr": _cllr(scores, pairs, speakers, seed, calibration),
                "min_cllr": round(min_cllr(accept, reject), 5),
                "targets": len(pairs.targets),
                "impostors": len(pairs.impostors),
            }
    gaps = {
        name: gap(rates[base], rates[other]) | {"base": list(base), "other": list(other)}
        for name, (base, other) in headline_gaps(list(trials)).items()
        if base in rates and other in rates
    }
    return {"conditions": conditions, "gaps": gaps}


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
    calibration: Calibration | None,
) -> float | None:
    if calibration:
        slope, offset = calibration
        return round(cllr(slope * scores[0] + offset, slope * scores[1] + offset), 5)
    ratios = cross_fitted(scores, trials, speakers, seed)
    return round(cllr(*ratios), 5) if ratios else None
