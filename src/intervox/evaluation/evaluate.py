"""Measure every representation on every test set: the content of ``metrics.json``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from intervox.evaluation.calibration import fit_calibration, reliability
from intervox.evaluation.evidence import SpaceEvidence
from intervox.evaluation.keywords import spot_keywords
from intervox.evaluation.representations import Representation, Vectors
from intervox.evaluation.running import running_speech
from intervox.evaluation.scoring import Scorer, cosine
from intervox.evaluation.test_sets import CLEAN, CROSS_CONDITION, EVALUATION_SEED, SYNTHETIC, TestSet
from intervox.evaluation.trials import Trials
from intervox.evaluation.uncertainty import compare_systems
from intervox.evaluation.verification import Calibration, verify
from intervox.progress import progress_bar
from intervox.recipe import EvaluationSettings

SCHEMA_VERSION = 2
RAW = "raw"
CALIBRATION_STRATUM = "different_text"
KINDS = ("verification", "gaps", "severity", "calibration", "keywords", "running")

Result = dict[str, Any]


@dataclass(frozen=True)
class Compared:
    """Everything that one evaluation measures.

    Attributes
    ----------
    spaces
        Own space to its factor; empty where it was made for none.
    representations
        Own spaces, raw layers, baselines and peers.
    about
        Baseline or peer to one clause that says what it is.
    scorers
        Back-end to what scores the own speaker space in place of the cosine.
    evidence
        What the separation of the own spaces is measured on; None leaves it out.
    """

    spaces: dict[str, str]
    representations: Sequence[Representation]
    about: Mapping[str, str] = field(default_factory=dict)
    scorers: Mapping[str, Scorer] = field(default_factory=dict)
    evidence: SpaceEvidence | None = None

    def own(self, factor: str) -> Representation | None:
        """Return the first own space of a factor, or of none in particular."""
        for wanted in (factor, ""):
            for representation in self.representations:
                if not representation.system and self.spaces[representation.name] == wanted:
                    return representation
        return None


def measure(
    compared: Compared, test_sets: Sequence[TestSet], settings: EvaluationSettings, workers: int
) -> Result:
    """Measure every representation on every test set.

    Parameters
    ----------
    workers
        Threads that share the measuring.

    Returns
    -------
    dict
        The content of ``metrics.json`` but its head; see ``docs/formats.md``.
    """
    jobs = [(r, test_set) for test_set in test_sets for r in compared.representations]
    results: dict[str, dict[str, Result]] = {r.name: {} for r in compared.representations}
    steps = len(jobs) + len(test_sets)
    metrics: Result = {"protocols": {test_set.name: test_set.about() for test_set in test_sets}}
    # One thread a job: probes of a second each would otherwise fight over the cores for a minute.
    with progress_bar("evaluating", steps, "measurements") as bar, threadpool_limits(1):
        calibrations = _calibrations(compared.representations, test_sets)
        measured = Parallel(n_jobs=workers, prefer="threads", return_as="generator")(
            delayed(_measure)(r, test_set, compared, settings, calibrations.get(r.name))
            for r, test_set in jobs
        )
        for (representation, test_set), result in zip(jobs, measured, strict=True):
            results[representation.name][test_set.name] = result
            bar.advance(1, f"{test_set.name} {representation.name}")
        metrics |= _assemble(results, compared, [test_set.name for test_set in test_sets])
        metrics["separation"] = {}
        for test_set in test_sets:
            found = _headline(metrics, test_set.name, compared.spaces)
            if compared.evidence:
                found |= compared.evidence.measure(test_set, settings.bootstrap, workers)
            metrics["separation"][test_set.name] = found
            bar.advance(1, f"{test_set.name} separation")
    return metrics


def _measure(
    representation: Representation,
    test_set: TestSet,
    compared: Compared,
    settings: EvaluationSettings,
    calibration: Calibration | None,
) -> Result:
    """Everything that one representation is asked about one test set."""
    vectors = {condition: representation.vectors(test_set, condition) for condition in test_set.whole}
    speakers = test_set.clips.speakers
    sampling = settings.bootstrap, EVALUATION_SEED
    verified = verify(vectors, test_set.trials, speakers, *sampling, calibration)
    result: Result = {"verification": verified["conditions"], "gaps": verified["gaps"]}
    if representation.system != RAW:
        result["severity"] = _severity(representation, test_set, vectors[CLEAN], settings)
        result["calibration"] = _reliability(vectors[CLEAN], test_set, calibration)
    if test_set.has_keywords:
        raw_layer = representation.system == RAW
        result["keywords"] = {
            condition: spot_keywords(
                points,
                test_set.clips,
                settings.episodes,
                *sampling,
                probe=condition == CLEAN,
                open_set=condition == CLEAN and not raw_layer,
            )
            for condition, points in vectors.items()
        }
    if test_set.streams:
        streams = test_set.streams
        windows = representation.of(streams.view)
        result["running"] = running_speech(
            windows, streams.windows, streams.composed, vectors[CLEAN], test_set.clips, *sampling
        )
    own = compared.own("speaker")
    if own and representation.name == own.name:
        result["scoring"] = _scoring(vectors, test_set, compared.scorers, settings)
    elif own and representation.space in (own.name, "mean"):
        result["against"] = _against(representation, own, test_set, settings)
    return {kind: value for kind, value in result.items() if value}


def _calibrations(
    representations: Sequence[Representation], test_sets: Sequence[TestSet]
) -> dict[str, Calibration]:
    """Fit each representation's scores on held-out synthetic cells, clean and degraded together."""
    found = {}
    for held_out in (test_set for test_set in test_sets if test_set.name == SYNTHETIC):
        trials = _usual(held_out.trials)
        for representation in representations:
            views = [representation.vectors(held_out, condition) for condition in held_out.whole]
            scores = (
                np.concatenate([cosine(points, pairs) for points in views])
                for pairs in (trials.targets, trials.impostors)
            )
            found[representation.name] = fit_calibration(*scores)
    return found


def _usual(trials: Mapping[str, Trials]) -> Trials:
    return trials.get(CALIBRATION_STRATUM) or trials["all"]


def _severity(
    representation: Representation, test_set: TestSet, clean: Vectors, settings: EvaluationSettings
) -> Result:
    """EER by disturbance and severity, all on the same few clips; severity 0.00 is clean."""
    curves: Result = {}
    for condition, view in test_set.severities.items():
        disturbance, level = condition.split("@")
        if disturbance not in curves:
            curves[disturbance] = {"0.00": _few(clean[view.rows], test_set, condition, settings)}
        points = representation.vectors(test_set, condition)
        curves[disturbance][level] = _few(points, test_set, condition, settings)
    return curves


def _few(points: Vectors, test_set: TestSet, condition: str, settings: EvaluationSettings) -> Result:
    trials = test_set.few_trials
    stratum, pairs = next(iter(trials.items()))
    speakers = test_set.clips.speakers[test_set.views[condition].rows]
    found = verify({condition: points}, {stratum: pairs}, speakers, settings.bootstrap, EVALUATION_SEED)
    rates: Result = found["conditions"][condition][stratum]
    return {name: rates[name] for name in ("eer", "eer_interval", "targets", "impostors")}
