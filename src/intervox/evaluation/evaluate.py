"""Measure every representation on every test set: the content of ``metrics.json``."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

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
)
from intervox.evaluation.keywords import spot_keywords
from intervox.evaluation.representations import Representation
from intervox.evaluation.results import (
    RAW,
    Baseline,
    Metrics,
    RawLayers,
    Separation,
    Strata,
    Verification,
)
from intervox.evaluation.running import running_speech
from intervox.evaluation.separation import SpaceEvidence
from intervox.evaluation.test_sets import CLEAN, EVALUATION_SEED, TestSet, has_keywords
from intervox.evaluation.verification import (
    Scorer,
    check_calibration,
    compare_scorers,
    compare_with_own,
    fit_on_held_out,
    severity_curves,
    verify,
)
from intervox.metrics.probes import expected_warnings_ignored
from intervox.metrics.trials import usual_stratum
from intervox.metrics.vectors import Vectors
from intervox.model import decision
from intervox.parallel import give_back_memory
from intervox.progress import progress_bar
from intervox.recipe import EvaluationSettings

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
    calibrations
        Own space to the slope and offset that it already has for verification; the others get theirs
        from held-out cells, where there are any.
    """

    spaces: dict[str, str]
    representations: Sequence[Representation]
    about: Mapping[str, str] = field(default_factory=dict)
    scorers: Mapping[str, Scorer] = field(default_factory=dict)
    evidence: SpaceEvidence | None = None
    calibrations: Mapping[str, decision.Calibration] = field(default_factory=dict)

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
    """What one representation is found to do on one test set; empty where it was not asked.

    The fields have the names that the results have.
    """

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
    # One thread per job: probes of a second each would otherwise fight over the cores for a minute.
    steps = len(jobs) + len(test_sets)
    with (
        progress_bar("evaluating", steps, "measurements") as bar,
        threadpool_limits(1),
        expected_warnings_ignored(),
    ):
        held_out = next((test_set for test_set in test_sets if test_set.name == SYNTHETIC), None)
        calibrations = {
            r.name: fit_on_held_out(r, held_out, "speaker") for r in compared.representations if held_out
        } | dict(compared.calibrations)
        measured = Parallel(n_jobs=workers, prefer="threads", return_as="generator")(
            delayed(_measure)(r, test_set, compared, settings, calibrations.get(r.name))
            for r, test_set in jobs
        )
        for (representation, test_set), result in zip(jobs, measured, strict=True):
            found[representation.name][test_set.name] = result
            give_back_memory()
            bar.advance(1, f"{test_set.name} {representation.name}")
        metrics = Metrics(
            recipe=recipe,
            seed=seed,
            backbone=backbone,
            protocols={test_set.name: test_set.about() for test_set in test_sets},
            spaces=compared.spaces,
            baselines=_baselines(found, compared),
            **_own_and_raw(found, compared),
        )
        separation = {}
        for test_set in test_sets:
            evidence = Separation()
            if compared.evidence:
                evidence = compared.evidence.measure(test_set, settings.bootstrap, settings.seeds, workers)
            separation[test_set.name] = evidence.model_copy(update=headline(metrics, test_set.name))
            give_back_memory()
            bar.advance(1, f"{test_set.name} separation")
    return metrics.model_copy(update={"separation": separation})


def _tables(found: _Found, spaces: Iterable[Representation]) -> dict[str, dict[str, dict[str, Any]]]:
    """Arrange what was measured of some spaces by its kind, protocol and space."""
    tables: dict[str, dict[str, dict[str, Any]]] = {}
    for space in spaces:
        for protocol, measured in found[space.name].items():
            for kind, value in vars(measured).items():
                if value:
                    tables.setdefault(kind, {}).setdefault(protocol, {})[space.space] = value
    return tables


def _own_and_raw(found: _Found, compared: Compared) -> dict[str, dict[str, Any]]:
    """Arrange what was measured of the own spaces, and some of it beside that of the raw layers."""
    tables: dict[str, dict[str, Any]] = dict(_tables(found, compared.of_system("")))
    layers = compared.of_system(RAW)
    for kind, report in _RAW_REPORTS.items():
        tables[kind] = {
            protocol: {"own": spaces, RAW: report({r.space: found[r.name][protocol] for r in layers})}
            for protocol, spaces in tables.get(kind, {}).items()
        }
    return tables


def _baselines(found: _Found, compared: Compared) -> dict[str, Baseline]:
    result = {}
    for system in dict.fromkeys(r.system for r in compared.representations if r.system not in ("", RAW)):
        tables = _tables(found, compared.of_system(system))
        against = {name: next(iter(spaces.values())) for name, spaces in tables.pop("against", {}).items()}
        result[system] = Baseline(about=compared.about.get(system, ""), against=against, **tables)
    return result


def _raw_verification(raw: Mapping[str, _Measured]) -> RawLayers[Strata] | None:
    def error(strata: Strata) -> float:
        return strata[usual_stratum(strata)].eer

    return _raw_layers(raw, lambda m: m.verification, error)


def _raw_keywords(raw: Mapping[str, _Measured]) -> RawLayers[Keywords] | None:
    def error(keywords: Keywords) -> float:
        """One-shot accuracy, or the probe's where no speaker has enough examples."""
        return -(keywords.shot_1.accuracy if keywords.shot_1 else keywords.probe or 0.0)

    return _raw_layers(raw, lambda m: m.keywords, error)


def _raw_layers(
    raw: Mapping[str, _Measured],
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


def _raw_running(raw: Mapping[str, _Measured]) -> RawRunning | None:
    layers = {space: m.running for space, m in raw.items() if space != "mean" and m.running}
    if not layers:
        return None
    best = max(layers, key=lambda layer: layers[layer].average_precision)
    return RawRunning(layer=best, **dict(layers[best]))


_RAW_REPORTS: dict[str, Callable[[Mapping[str, _Measured]], Any]] = {
    "verification": _raw_verification,
    "keywords": _raw_keywords,
    "running": _raw_running,
}
"""What is reported of the raw layers, from ``mean`` and each layer's number to what was measured."""


def headline(metrics: Metrics, name: str) -> dict[str, dict[str, float] | float]:
    """Say in single figures what each subspace holds of the other's factor: fields of ``Separation``."""
    eers, costs, probes = dict[str, float](), dict[str, float](), dict[str, float]()
    verified = metrics.verification[name].own if name in metrics.verification else {}
    result: dict[str, dict[str, float] | float] = {}
    for space, factor in metrics.spaces.items():
        strata = verified[space][CLEAN] if verified else {}
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
    return result | {"speaker_eer_from": eers, "same_text_cost_of": costs, "keyword_probe_from": probes}


def _measure(
    representation: Representation,
    test_set: TestSet,
    compared: Compared,
    settings: EvaluationSettings,
    calibration: decision.Calibration | None,
) -> _Measured:
    """Everything that one representation is asked about one test set."""
    with threadpool_limits(1):  # OpenMP counts its threads by the thread that asks
        vectors = {condition: representation.vectors(test_set, condition) for condition in test_set.whole}
        sampling = settings.bootstrap, EVALUATION_SEED
        verified = verify(vectors, test_set.trials, test_set.clips, *sampling, calibration)
        raw, own = representation.system == RAW, compared.own("speaker")
        scorers = compared.scorers if representation is own else {}
        other = own and representation is not own and representation.space == own.name
        beside = other and bool(test_set.trials)
        return _Measured(
            verification=verified.conditions,
            gaps=verified.gaps,
            severity={} if raw else severity_curves(representation, test_set, vectors[CLEAN], settings),
            calibration=None if raw else check_calibration(vectors[CLEAN], test_set, calibration),
            keywords=_keywords(vectors, test_set, settings, representation.system in ("", RAW)),
            running=_running(representation, test_set, settings),
            scoring=compare_scorers(vectors, test_set, scorers, settings),
            against=compare_with_own(vectors, own, test_set, settings) if own and beside else None,
        )


def _keywords(
    vectors: Mapping[str, Vectors], test_set: TestSet, settings: EvaluationSettings, open_set: bool
) -> dict[str, Keywords]:
    if not has_keywords(test_set.clips):
        return {}
    return {
        condition: spot_keywords(
            points,
            test_set.clips,
            settings.episodes,
            settings.bootstrap,
            EVALUATION_SEED,
            probe=condition == CLEAN,
            open_set=condition == CLEAN and open_set,
        )
        for condition, points in vectors.items()
    }


def _running(
    representation: Representation, test_set: TestSet, settings: EvaluationSettings
) -> Running | None:
    listening = test_set.listening
    if listening is None or representation.encoder not in listening.view.features:
        return None
    windows, clips = representation.joint([listening.view, test_set.views[CLEAN]])
    sampling = settings.bootstrap, EVALUATION_SEED
    return running_speech(windows, listening.windows, listening.composed, clips, test_set.clips, *sampling)
