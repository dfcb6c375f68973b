"""Measure every representation on every test set: the content of ``metrics.json``."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TypeVar

from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from intervox.evaluation import SYNTHETIC
from intervox.evaluation.findings import (
    Against,
    Backbone,
    Calibration,
    ErrorRates,
    Gap,
    Keywords,
    Rate,
    RawRunning,
    Running,
    SystemDifference,
)
from intervox.evaluation.keywords import spot_keywords
from intervox.evaluation.representations import Representation
from intervox.evaluation.results import (
    RAW,
    Baseline,
    KeywordSpaces,
    Metrics,
    RawLayers,
    RunningSpaces,
    Separation,
    Strata,
    Verification,
    VerificationSpaces,
)
from intervox.evaluation.running import running_speech
from intervox.evaluation.separation import SpaceEvidence
from intervox.evaluation.test_sets import CLEAN, CROSS_CONDITION, EVALUATION_SEED, TestSet, draw
from intervox.evaluation.verification import Line, Scorer, fit_on_held_out, verify
from intervox.metrics.bootstrap import compare_systems
from intervox.metrics.calibration import reliability
from intervox.metrics.trials import usual_stratum
from intervox.metrics.vectors import Vectors, cosine
from intervox.progress import progress_bar
from intervox.recipe import EvaluationSettings
from intervox.seeds import rng

T = TypeVar("T")


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

    def of_system(self, system: str) -> list[Representation]:
        """Return the spaces of one system; of our own for an empty name."""
        return [each for each in self.representations if each.system == system]


@dataclass(frozen=True)
class _Measured:
    """What one representation is found to do on one test set; empty where it was not asked."""

    verification: Verification
    gaps: dict[str, Gap]
    severity: dict[str, dict[str, Rate]]
    calibration: Calibration | None
    keywords: dict[str, Keywords]
    running: Running | None
    scoring: dict[str, dict[str, ErrorRates]]
    against: Against | None


_Found = Mapping[str, Mapping[str, _Measured]]
"""By representation, then protocol."""


def measure(
    compared: Compared,
    test_sets: Sequence[TestSet],
    settings: EvaluationSettings,
    workers: int,
    recipe: str,
    seed: int = 0,
    backbone: Backbone | None = None,
) -> Metrics:
    """Measure every representation on every test set.

    Parameters
    ----------
    workers
        Threads that share the measuring.
    recipe, seed, backbone
        What the own spaces come from.
    """
    jobs = [(r, test_set) for test_set in test_sets for r in compared.representations]
    found: dict[str, dict[str, _Measured]] = {r.name: {} for r in compared.representations}
    # One thread a job: probes of a second each would otherwise fight over the cores for a minute.
    steps = len(jobs) + len(test_sets)
    with progress_bar("evaluating", steps, "measurements") as bar, threadpool_limits(1):
        calibrations = _calibrations(compared.representations, test_sets)
        measured = Parallel(n_jobs=workers, prefer="threads", return_as="generator")(
            delayed(_measure)(r, test_set, compared, settings, calibrations.get(r.name))
            for r, test_set in jobs
        )
        for (representation, test_set), result in zip(jobs, measured, strict=True):
            found[representation.name][test_set.name] = result
            bar.advance(1, f"{test_set.name} {representation.name}")
        own, raw = compared.of_system(""), _raw(found, compared)
        keywords = _by_protocol(found, own, lambda m: m.keywords)
        running = _by_protocol(found, own, lambda m: m.running)
        metrics = Metrics(
            recipe=recipe,
            seed=seed,
            backbone=backbone,
            protocols={test_set.name: test_set.about() for test_set in test_sets},
            spaces=compared.spaces,
            verification={
                name: VerificationSpaces(own=spaces, raw=_raw_verification(raw.get(name)))
                for name, spaces in _by_protocol(found, own, lambda m: m.verification).items()
            },
            gaps=_by_protocol(found, own, lambda m: m.gaps),
            severity=_by_protocol(found, own, lambda m: m.severity),
            calibration=_by_protocol(found, own, lambda m: m.calibration),
            keywords={
                name: KeywordSpaces(own=spaces, raw=_raw_keywords(raw.get(name)))
                for name, spaces in keywords.items()
            },
            running={
                name: RunningSpaces(own=spaces, raw=_raw_running(raw.get(name)))
                for name, spaces in running.items()
            },
            scoring=_by_protocol(found, own, lambda m: m.scoring),
            baselines=_baselines(found, compared),
        )
        separation = {}
        for test_set in test_sets:
            evidence = Separation()
            if compared.evidence:
                evidence = compared.evidence.measure(test_set, settings.bootstrap, settings.seeds, workers)
            separation[test_set.name] = evidence.model_copy(update=headline(metrics, test_set.name))
            bar.advance(1, f"{test_set.name} separation")
    return metrics.model_copy(update={"separation": separation})


def _by_protocol(
    found: _Found, spaces: Iterable[Representation], kind: Callable[[_Measured], T | None]
) -> dict[str, dict[str, T]]:
    """Arrange one kind of result by protocol and space, without what was not measured."""
    table: dict[str, dict[str, T]] = {}
    for space in spaces:
        for protocol, measured in found[space.name].items():
            if value := kind(measured):
                table.setdefault(protocol, {})[space.space] = value
    return table


def _baselines(found: _Found, compared: Compared) -> dict[str, Baseline]:
    systems = dict.fromkeys(r.system for r in compared.representations if r.system not in ("", RAW))
    result = {}
    for system in systems:
        spaces = compared.of_system(system)
        against = _by_protocol(found, spaces, lambda m: m.against)
        result[system] = Baseline(
            about=compared.about.get(system, ""),
            verification=_by_protocol(found, spaces, lambda m: m.verification),
            gaps=_by_protocol(found, spaces, lambda m: m.gaps),
            severity=_by_protocol(found, spaces, lambda m: m.severity),
            calibration=_by_protocol(found, spaces, lambda m: m.calibration),
            keywords=_by_protocol(found, spaces, lambda m: m.keywords),
            running=_by_protocol(found, spaces, lambda m: m.running),
            against={name: next(iter(by_space.values())) for name, by_space in against.items()},
        )
    return result


def _raw(found: _Found, compared: Compared) -> dict[str, dict[str, _Measured]]:
    """By protocol, then ``mean`` and the layers; empty where no raw layers are compared."""
    return _by_protocol(found, compared.of_system(RAW), lambda m: m)


def _raw_verification(raw: Mapping[str, _Measured] | None) -> RawLayers[Strata] | None:
    def error(strata: Strata) -> float:
        return strata[usual_stratum(strata)].eer

    return _raw_layers(raw, lambda m: m.verification, error)


def _raw_keywords(raw: Mapping[str, _Measured] | None) -> RawLayers[Keywords] | None:
    def error(keywords: Keywords) -> float:
        """One-shot accuracy, or the probe's where no speaker has enough examples."""
        return -(keywords.shot_1.accuracy if keywords.shot_1 else keywords.probe or 0.0)

    return _raw_layers(raw, lambda m: m.keywords, error)


def _raw_layers(
    raw: Mapping[str, _Measured] | None,
    kind: Callable[[_Measured], dict[str, T]],
    error: Callable[[T], float],
) -> RawLayers[T] | None:
    """Report the mean over layers, every layer, and the best one, chosen on the test set itself."""
    if not raw or not kind(raw["mean"]):
        return None
    layers = {space: kind(measured) for space, measured in raw.items() if space != "mean"}
    mean = kind(raw["mean"])
    best = {name: min(layers, key=lambda layer: error(layers[layer][name])) for name in mean}
    return RawLayers(mean=mean, best_layer=best, layers=layers)


def _raw_running(raw: Mapping[str, _Measured] | None) -> RawRunning | None:
    layers = {space: m.running for space, m in (raw or {}).items() if space != "mean" and m.running}
    if not layers:
        return None
    best = max(layers, key=lambda layer: layers[layer].average_precision)
    return RawRunning(layer=best, **dict(layers[best]))


def headline(metrics: Metrics, name: str) -> dict[str, dict[str, float] | float]:
    """Say in single figures what each subspace holds of the other's factor: fields of ``Separation``."""
    eers: dict[str, float] = {}
    costs: dict[str, float] = {}
    probes: dict[str, float] = {}
    result: dict[str, dict[str, float] | float] = {}
    for space, factor in metrics.spaces.items():
        strata = metrics.verification[name].own[space][CLEAN]
        different = strata.get("different_text")
        same = strata.get("same_text_impostors")
        if factor == "content" and different:
            eers[space] = different.eer
        if factor == "speaker" and same and different and different.eer:
            costs[space] = round(same.eer / different.eer, 3)
        if factor == "speaker" and name in metrics.keywords:
            keywords = metrics.keywords[name].own[space][CLEAN]
            assert keywords.probe is not None, "clean clips are probed"
            probes[space] = keywords.probe
            result["keyword_chance"] = keywords.chance
    return result | {
        "speaker_eer_from": eers,
        "same_text_cost_of": costs,
        "keyword_probe_from": probes,
    }


def _measure(
    representation: Representation,
    test_set: TestSet,
    compared: Compared,
    settings: EvaluationSettings,
    calibration: Line | None,
) -> _Measured:
    """Everything that one representation is asked about one test set."""
    with threadpool_limits(1):  # OpenMP counts its threads by the thread that asks
        vectors = {condition: representation.vectors(test_set, condition) for condition in test_set.whole}
        sampling = settings.bootstrap, EVALUATION_SEED
        verified = verify(vectors, test_set.trials, test_set.clips.speakers, *sampling, calibration)
        raw, own = representation.system == RAW, compared.own("speaker")
        beside = own and representation is not own and representation.space == own.name
        heard = test_set.listening and representation.encoder in test_set.listening.view.features
        return _Measured(
            verification=verified.conditions,
            gaps=verified.gaps,
            severity={} if raw else _severity(representation, test_set, vectors[CLEAN], settings),
            calibration=None if raw else _reliability(vectors[CLEAN], test_set, calibration),
            keywords=_keywords(vectors, representation, test_set, settings),
            running=_running(representation, test_set, settings) if heard else None,
            scoring=_scoring(vectors, test_set, compared.scorers, settings) if representation is own else {},
            against=_against(vectors, own, test_set, settings) if own and beside else None,
        )


def _keywords(
    vectors: Mapping[str, Vectors],
    representation: Representation,
    test_set: TestSet,
    settings: EvaluationSettings,
) -> dict[str, Keywords]:
    if not test_set.has_keywords:
        return {}
    return {
        condition: spot_keywords(
            points,
            test_set.clips,
            settings.episodes,
            settings.bootstrap,
            EVALUATION_SEED,
            probe=condition == CLEAN,
            open_set=condition == CLEAN and representation.system in ("", RAW),
        )
        for condition, points in vectors.items()
    }


def _calibrations(representations: Sequence[Representation], test_sets: Sequence[TestSet]) -> dict[str, Line]:
    """Fit each representation's scores on held-out synthetic cells."""
    held_out = [test_set for test_set in test_sets if test_set.name == SYNTHETIC]
    return {r.name: fit_on_held_out(r, test_set, "speaker") for test_set in held_out for r in representations}


def _severity(
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


def _reliability(clean: Vectors, test_set: TestSet, calibration: Line | None) -> Calibration | None:
    """Say how predicted probabilities of clean trials came true."""
    if calibration is None or test_set.name == SYNTHETIC:
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


def _running(
    representation: Representation, test_set: TestSet, settings: EvaluationSettings
) -> Running | None:
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
) -> dict[str, dict[str, ErrorRates]]:
    """Score the own speaker space by every back-end, on the usual stratum."""
    trials = {"usual": test_set.trials[usual_stratum(test_set.trials)]}
    result: dict[str, dict[str, ErrorRates]] = {}
    for name, scorer in scorers.items():
        sampling = settings.bootstrap, EVALUATION_SEED
        found = verify(vectors, trials, test_set.clips.speakers, *sampling, scorer=scorer).conditions
        for condition, strata in found.items():
            result.setdefault(condition, {})[name] = strata["usual"]
    return result


def _against(
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
