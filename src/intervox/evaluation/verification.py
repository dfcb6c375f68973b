"""Speaker verification: strata, conditions, gaps, severity, calibration, back-ends and differences."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intervox.evaluation import SYNTHETIC
from intervox.evaluation.findings import Against, Calibration, Cell, ErrorRates, Gap, Rate, SystemDifference
from intervox.evaluation.representations import Representation
from intervox.evaluation.results import Verification
from intervox.evaluation.test_sets import CLEAN, CROSS_CONDITION, EVALUATION_SEED, TestSet, draw
from intervox.metrics.bootstrap import Samples, SpeakerResamples, compare_systems, interval
from intervox.metrics.detection import (
    Scores,
    cllr,
    cross_fitted,
    equal_error_rate,
    error_rates,
    fit_calibration,
    min_cllr,
    min_dcf,
    reliability,
)
from intervox.metrics.trials import Pairs, Trials, usual_stratum
from intervox.metrics.vectors import Vectors, cosine
from intervox.recipe import EvaluationSettings
from intervox.seeds import rng

Scorer = Callable[[Vectors, Pairs], NDArray[np.float32]]
"""Maps unit vectors (clips, dim) and pairs (trials, 2) to scores (trials,), higher for one speaker."""


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
    conditions: Verification = {condition: {} for condition in vectors} if trials else {}
    rates: dict[Cell, tuple[float, Samples]] = {}
    for condition, points in vectors.items():
        for stratum, pairs in trials.items():
            scores = _score(points, pairs, scorer)
            accept, reject = error_rates(*scores)
            rate = equal_error_rate(accept, reject), resamples.equal_error_rates(scores, pairs)
            rates[condition, stratum] = rate
            conditions[condition][stratum] = ErrorRates(
                eer=round(rate[0], 5),
                eer_interval=interval(*rate) if len(accept) > 2 else "all scores equal",
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
        interval=interval(high - low, high_samples - low_samples),
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


def severity_curves(
    representation: Representation, test_set: TestSet, clean: Vectors, settings: EvaluationSettings
) -> dict[str, dict[str, Rate]]:
    """EER by disturbance and severity, all on the same few clips; severity 0.00 is clean."""
    views = test_set.severities
    if not views:
        return {}
    rows = next(iter(views.values())).rows
    clips = test_set.clips.take(rows)
    trials = draw(clips, settings.max_trials)
    if not trials:
        return {}
    points = {name: representation.vectors(test_set, name) for name in views} | {CLEAN: clean[rows]}
    usual = {"usual": trials[usual_stratum(trials)]}
    found = verify(points, usual, clips.speakers, settings.bootstrap, EVALUATION_SEED).conditions
    fields = set(Rate.model_fields)
    rates = {name: Rate(**strata["usual"].model_dump(include=fields)) for name, strata in found.items()}
    curves: dict[str, dict[str, Rate]] = {}
    for name in views:
        disturbance, level = name.split("@")
        curves.setdefault(disturbance, {"0.00": rates[CLEAN]})[level] = rates[name]
    return curves


def check_calibration(clean: Vectors, test_set: TestSet, calibration: Line | None) -> Calibration | None:
    """Say how predicted probabilities of clean trials came true."""
    if calibration is None or test_set.name == SYNTHETIC or not test_set.trials:
        return None
    trials = test_set.trials[usual_stratum(test_set.trials)]
    slope, offset = calibration
    targets, impostors = (
        slope * cosine(clean, pairs) + offset for pairs in (trials.targets, trials.impostors)
    )
    return Calibration(
        slope=round(slope, 5),
        offset=round(offset, 5),
        source=SYNTHETIC,
        bins=reliability(targets, impostors),
    )


def compare_scorers(
    vectors: Mapping[str, Vectors],
    test_set: TestSet,
    scorers: Mapping[str, Scorer],
    settings: EvaluationSettings,
) -> dict[str, dict[str, ErrorRates]]:
    """Score the own speaker space by every back-end, on the usual stratum."""
    if not test_set.trials:
        return {}
    trials = {"usual": test_set.trials[usual_stratum(test_set.trials)]}
    result: dict[str, dict[str, ErrorRates]] = {}
    for name, scorer in scorers.items():
        sampling = settings.bootstrap, EVALUATION_SEED
        found = verify(vectors, trials, test_set.clips.speakers, *sampling, scorer=scorer).conditions
        for condition, strata in found.items():
            result.setdefault(condition, {})[name] = strata["usual"]
    return result


def compare_with_own(
    vectors: Mapping[str, Vectors], own: Representation, test_set: TestSet, settings: EvaluationSettings
) -> Against:
    """Compare another system's speaker space with ours: its EER less ours, clean and degraded."""
    trials = test_set.trials[usual_stratum(test_set.trials)]
    found = {}
    for condition, points in vectors.items():
        theirs, ours = (
            (cosine(each, trials.targets), cosine(each, trials.impostors))
            for each in (points, own.vectors(test_set, condition))
        )
        random = rng(EVALUATION_SEED, "bootstrap")
        found[condition] = asdict(
            compare_systems(theirs, ours, trials, test_set.clips.speakers, settings.bootstrap, random)
        )
    degraded = found.get(CROSS_CONDITION)
    return Against(**found[CLEAN], cross_condition=SystemDifference(**degraded) if degraded else None)
