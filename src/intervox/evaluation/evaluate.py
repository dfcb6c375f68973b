"""Measure every representation on every test set: the content of ``metrics.json``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from intervox.evaluation import SYNTHETIC
from intervox.evaluation.arranging import Result, arrange, headline
from intervox.evaluation.keywords import spot_keywords
from intervox.evaluation.representations import Representation
from intervox.evaluation.results import RAW
from intervox.evaluation.running import running_speech
from intervox.evaluation.separation import SpaceEvidence
from intervox.evaluation.test_sets import CLEAN, EVALUATION_SEED, TestSet
from intervox.evaluation.verification import Calibration, Scorer, cosine, fit_on_held_out, verify
from intervox.metrics.bootstrap import compare_systems
from intervox.metrics.calibration import reliability
from intervox.metrics.trials import draw_trials, usual_stratum
from intervox.metrics.vectors import Vectors
from intervox.progress import progress_bar
from intervox.recipe import EvaluationSettings

SCHEMA_VERSION = 3


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
        metrics |= arrange(results, compared.representations, compared.spaces, compared.about)
        metrics["separation"] = {}
        for test_set in test_sets:
            found = headline(metrics, test_set.name, compared.spaces)
            if compared.evidence:
                found |= compared.evidence.measure(test_set, settings.bootstrap, settings.seeds, workers)
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
    with threadpool_limits(1):  # OpenMP counts its threads by the thread that asks
        vectors = {condition: representation.vectors(test_set, condition) for condition in test_set.whole}
        sampling = settings.bootstrap, EVALUATION_SEED
        speakers = test_set.clips.speakers
        verified = verify(vectors, test_set.trials, speakers, *sampling, calibration)
        result: Result = {"verification": verified["conditions"], "gaps": verified["gaps"]}
        if representation.system != RAW:
            result["severity"] = _severity(representation, test_set, vectors[CLEAN], settings)
            result["calibration"] = _reliability(vectors[CLEAN], test_set, calibration)
        if test_set.has_keywords:
            result["keywords"] = {
                condition: spot_keywords(
                    points,
                    test_set.clips,
                    settings.episodes,
                    *sampling,
                    probe=condition == CLEAN,
                    open_set=condition == CLEAN and representation.system in ("", RAW),
                )
                for condition, points in vectors.items()
            }
        if test_set.listening and representation.encoder in test_set.listening.view.features:
            result["running"] = _running(representation, test_set, settings)
        own = compared.own("speaker")
        if own and representation is own:
            result["scoring"] = _scoring(vectors, test_set, compared.scorers, settings)
        elif own and representation.space == own.name:
            result["against"] = _against(vectors, own, test_set, settings)
    return {kind: value for kind, value in result.items() if value}


def _calibrations(
    representations: Sequence[Representation], test_sets: Sequence[TestSet]
) -> dict[str, Calibration]:
    """Fit each representation's scores on held-out synthetic cells."""
    held_out = [test_set for test_set in test_sets if test_set.name == SYNTHETIC]
    return {r.name: fit_on_held_out(r, test_set, "speaker") for test_set in held_out for r in representations}


def _severity(
    representation: Representation, test_set: TestSet, clean: Vectors, settings: EvaluationSettings
) -> Result:
    """EER by disturbance and severity, all on the same few clips; severity 0.00 is clean."""
    views = test_set.severities
    if not views:
        return {}
    rows = next(iter(views.values())).rows
    clips = test_set.clips.take(rows)
    trials = draw_trials(clips, settings.max_trials, EVALUATION_SEED)
    if not trials:
        return {}
    points = {name: representation.vectors(test_set, name) for name in views} | {CLEAN: clean[rows]}
    usual = {"usual": trials[usual_stratum(trials)]}
    found = verify(points, usual, clips.speakers, settings.bootstrap, EVALUATION_SEED)["conditions"]
    rates = {
        name: {key: strata["usual"][key] for key in ("eer", "eer_interval", "targets", "impostors")}
        for name, strata in found.items()
    }
    curves: Result = {}
    for name in views:
        disturbance, level = name.split("@")
        curves.setdefault(disturbance, {"0.00": rates[CLEAN]})[level] = rates[name]
    return curves


def _reliability(clean: Vectors, test_set: TestSet, calibration: Calibration | None) -> Result:
    """Say how predicted probabilities of clean trials came true."""
    if calibration is None or test_set.name == SYNTHETIC:
        return {}
    trials = test_set.trials[usual_stratum(test_set.trials)]
    slope, offset = calibration
    targets, impostors = (
        slope * cosine(clean, pairs) + offset for pairs in (trials.targets, trials.impostors)
    )
    return {
        "slope": round(slope, 5),
        "offset": round(offset, 5),
        "source": SYNTHETIC,
        "bins": reliability(targets, impostors),
    }


def _running(
    representation: Representation, test_set: TestSet, settings: EvaluationSettings
) -> Result | None:
    assert test_set.listening
    listening = test_set.listening
    windows, clips = representation.joint([listening.view, test_set.views[CLEAN]])
    return running_speech(
        windows,
        listening.windows,
        listening.composed,
        clips,
        test_set.clips,
        settings.bootstrap,
        EVALUATION_SEED,
    )


def _scoring(
    vectors: Mapping[str, Vectors],
    test_set: TestSet,
    scorers: Mapping[str, Scorer],
    settings: EvaluationSettings,
) -> Result:
    """Score the own speaker space by every back-end, on the usual stratum."""
    trials = {"usual": test_set.trials[usual_stratum(test_set.trials)]}
    result: Result = {}
    for name, scorer in scorers.items():
        sampling = settings.bootstrap, EVALUATION_SEED
        found = verify(vectors, trials, test_set.clips.speakers, *sampling, scorer=scorer)["conditions"]
        for condition, strata in found.items():
            result.setdefault(condition, {})[name] = strata["usual"]
    return result


def _against(
    vectors: Mapping[str, Vectors], own: Representation, test_set: TestSet, settings: EvaluationSettings
) -> Result:
    """Compare another system's speaker space with ours: its EER less ours, clean and degraded."""
    trials = test_set.trials[usual_stratum(test_set.trials)]
    found = {}
    for condition, points in vectors.items():
        theirs, ours = (
            (cosine(each, trials.targets), cosine(each, trials.impostors))
            for each in (points, own.vectors(test_set, condition))
        )
        found[condition] = compare_systems(
            theirs, ours, trials, test_set.clips.speakers, settings.bootstrap, EVALUATION_SEED
        )
    others = {condition: result for condition, result in found.items() if condition != CLEAN}
    return found[CLEAN] | others
