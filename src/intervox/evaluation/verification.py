"""Speaker verification: strata, conditions, gaps, severity, calibration, back-ends and differences."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from intervox.clips.labels import Clips
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
from intervox.model import decision
from intervox.recipe import EvaluationSettings
from intervox.seeds import rng

Scorer = Callable[[Vectors, Pairs], NDArray[np.float32]]
"""Maps unit vectors (clips, dim) and pairs (trials, 2) to scores (trials,), higher for one speaker."""


CONTENT = "content"
CALIBRATION_TRIALS = 20_000
PRIORS = (0.01, 0.05)

FALSE_ACCEPTS = 0.01
"""Share of strangers among held-out cells that the default operating point accepts."""


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
    clips: Clips,
    repeats: int,
    seed: int,
    calibration: decision.Calibration | None = None,
    scorer: Scorer = cosine,
) -> Verified:
    """Evaluate one representation on every stratum under every condition.

    Parameters
    ----------
    vectors
        Condition to unit vectors, shape (clips, dim), of the same clips.
    trials
        From ``draw_trials``.
    clips
        Their speakers, for the bootstrap, and their durations, for the calibration.
    repeats, seed
        Of the bootstrap; 0 repeats leave the intervals out.
    calibration
        Fitted on other clips; by it Cllr and the default decision are measured. Without it each stratum
        is calibrated across two halves of its speakers (``cross_fitted``), and Cllr is None where
        that can't be done.
    scorer
        Turns vectors and pairs into scores.
    """
    resamples = SpeakerResamples(clips.speakers, repeats, rng(seed, "bootstrap"))
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
                **_decided(scores, pairs, clips, seed, calibration),
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


def _decided(
    scores: tuple[Scores, Scores],
    trials: Trials,
    clips: Clips,
    seed: int,
    calibration: decision.Calibration | None,
) -> dict[str, float | None]:
    """Measure calibrated scores, and what the default decision does: fields of ``ErrorRates``."""
    if calibration is None:
        ratios = cross_fitted(scores, trials, clips.speakers, rng(seed, "calibration.halves"))
        return {"cllr": round(cllr(*ratios), 5) if ratios else None}
    targets, impostors = (
        calibration.log_odds(score, *clips.duration[pairs].T)
        for score, pairs in zip(scores, (trials.targets, trials.impostors), strict=True)
    )
    return {
        "cllr": round(cllr(targets, impostors), 5),
        "false_accepts": round(float((impostors >= calibration.accept_at).mean()), 5),
        "false_rejects": round(float((targets < calibration.accept_at).mean()), 5),
    }


def fit_on_held_out(representation: Representation, held_out: TestSet, factor: str) -> decision.Calibration:
    """Fit the log odds of sharing a factor's value, and the default operating point.

    Pairs of clean clips, of degraded ones and of one of each count alike. Where engines are known,
    different speakers are compared within one: the engine alone must not tell them apart. What is said
    depends on durations in another way, and longer texts are not compared by a cosine (``matching``): of
    content the cosine alone counts, at even odds.

    Parameters
    ----------
    held_out
        Held-out synthetic cells, so that no human recording decides a threshold.
    """
    known = np.flatnonzero(held_out.clips.labels[factor] != "")
    labels = held_out.clips.labels[factor][known]
    clips = replace(held_out.clips.take(known), labels={"speaker": labels, "content": labels})
    trials = draw(clips, CALIBRATION_TRIALS)["all"]
    points = [representation.vectors(held_out, condition)[known] for condition in held_out.whole]
    engines = held_out.clips.labels.get("engine")
    pairs = [trials.targets, trials.impostors]
    if factor != CONTENT and engines is not None:
        within = np.equal(*engines[known][trials.impostors].T)
        pairs[1] = trials.impostors[within] if within.any() else trials.impostors
    scores = [
        np.concatenate(
            [np.sum(a[own[:, 0]] * b[own[:, 1]], axis=1) for a, b in combinations_with_replacement(points, 2)]
        )
        for own in pairs
    ]
    if factor == CONTENT:
        return decision.Calibration(*fit_calibration(*scores))
    repeats = len(scores[0]) // len(pairs[0])
    logs = [np.sort(np.log(np.clip(clips.duration[own], *decision.SECONDS)), axis=1) for own in pairs]
    inputs = np.concatenate(
        [
            np.column_stack([score, np.tile(log, (repeats, 1))])
            for score, log in zip(scores, logs, strict=True)
        ]
    ).astype(np.float64)
    same = np.repeat([True, False], [len(score) for score in scores])
    fit = LogisticRegression(C=1e3, class_weight="balanced", solver="newton-cholesky").fit(inputs, same)
    slope, shorter, longer = fit.coef_[0].tolist()
    strangers = fit.decision_function(inputs[~same])
    accept_at = float(np.quantile(strangers, 1 - FALSE_ACCEPTS))
    return decision.Calibration(slope, float(fit.intercept_[0]), shorter, longer, accept_at)


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
    found = verify(points, usual, clips, settings.bootstrap, EVALUATION_SEED).conditions
    fields = set(Rate.model_fields)
    rates = {name: Rate(**strata["usual"].model_dump(include=fields)) for name, strata in found.items()}
    curves: dict[str, dict[str, Rate]] = {}
    for name in views:
        disturbance, level = name.split("@")
        curves.setdefault(disturbance, {"0.00": rates[CLEAN]})[level] = rates[name]
    return curves


def check_calibration(
    clean: Vectors, test_set: TestSet, calibration: decision.Calibration | None
) -> Calibration | None:
    """Say how predicted probabilities of clean trials came true."""
    if calibration is None or test_set.name == SYNTHETIC or not test_set.trials:
        return None
    trials = test_set.trials[usual_stratum(test_set.trials)]
    targets, impostors = (
        calibration.log_odds(cosine(clean, pairs), *test_set.clips.duration[pairs].T)
        for pairs in (trials.targets, trials.impostors)
    )
    return Calibration(
        **{name: round(value, 5) for name, value in calibration._asdict().items()},
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
        found = verify(vectors, trials, test_set.clips, *sampling, scorer=scorer).conditions
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
