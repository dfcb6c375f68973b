"""Measure every representation on every protocol and write ``metrics.json``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from intervox.audio import Waveform
from intervox.backbones.base import Backbone
from intervox.corpus.acoustics import load_acoustics
from intervox.corpus.conditions import apply_condition, draw_condition
from intervox.corpus.store import ClipSource, Corpus, CorpusSplit, Recordings, Transformed
from intervox.evaluation.clips import Clips
from intervox.evaluation.keywords import spot_keywords
from intervox.evaluation.protocols import find_protocols
from intervox.evaluation.representations import (
    Representation,
    lda_representations,
    raw_representations,
    subspace_representations,
)
from intervox.evaluation.verification import Trials, draw_trials, verify
from intervox.features.extraction import extract
from intervox.features.store import Features
from intervox.progress import progress_bar
from intervox.recipe import EvaluationSettings, Recipe
from intervox.recipe_corpus import ConditionSettings
from intervox.storage import stable_hash
from intervox.subspaces.model import SubspaceModel
from intervox.subspaces.training import training_cells

SCHEMA_VERSION = 1
SYNTHETIC = "synthetic"
CONDITIONS = ("clean", "cross_condition")
EVALUATION_SEED = 1_234
"""One seed for every run: the trials, rooms and noises of two runs are the same, so they compare."""

CROSS_CONDITION = ConditionSettings(
    clean=0, padding=0, tilt=0, clipping=0, codec=0, microphone=0, packet_loss=0,
    room=1, rooms=64, noise=1, snr_db=(10, 30), band=1, low_hz=(50, 300), high_hz=(3400, 7500),
    level=1, level_dbfs=(-32, -1),
)  # fmt: skip
"""What cross-condition trials do to every clip, each with its own draw and rooms unseen in training."""


@dataclass(frozen=True)
class TestSet:
    """A protocol ready to be measured.

    Attributes
    ----------
    speakers, contents
        Shape (clips,).
    means
        ``clean`` and ``cross_condition`` to layer means (clips, layers, dim).
    trials
        Stratum to trials; the same for both conditions.
    """

    name: str
    licence: str
    speakers: NDArray[Any]
    contents: NDArray[Any]
    means: dict[str, NDArray[np.float32]]
    trials: dict[str, Trials]
    failed: int

    @property
    def clips(self) -> Clips:
        """The clips by number."""
        paths = np.asarray([f"{self.name}/{clip}" for clip in range(len(self.speakers))])
        labels = {"speaker": self.speakers.astype(str), "content": self.contents.astype(str)}
        return Clips(paths, labels, np.zeros(len(paths)), np.full(len(paths), ""))

    @property
    def has_keywords(self) -> bool:
        """Whether contents are said by several speakers, often enough to learn them."""
        contents = len(np.unique(self.contents))
        return len(np.unique(self.speakers)) > 1 and 1 < contents <= len(self.contents) / 3

    def about(self) -> dict[str, Any]:
        """Describe the set for ``metrics.json``."""
        return {
            "clips": len(self.speakers),
            "failed": self.failed,
            "speakers": len(np.unique(self.speakers)),
            "contents": len(np.unique(self.contents)),
            "licence": self.licence,
        }


def load_test_sets(corpus: Corpus, backbone: Backbone, recipe: Recipe, folder: Path) -> list[TestSet]:
    """Extract, or read from the cache, the held-out cells and every human corpus that is found.

    Parameters
    ----------
    folder
        Where the features go, one folder a protocol and condition.
    """
    held_out = corpus.cells.filter(np.asarray(corpus.cells["split"].to_pylist()) == "test")
    sources: list[tuple[str, str, ClipSource, list[str], list[str]]] = []
    if held_out.num_rows:
        speakers, contents = (held_out[name].to_pylist() for name in ("speaker", "content"))
        split = CorpusSplit(corpus, "test")
        sources.append((SYNTHETIC, "synthesised", split, speakers, contents))
    for protocol in find_protocols(recipe.evaluation.protocols, recipe.evaluation.max_clips):
        clips = Recordings([row.path for row in protocol.rows])
        speakers = [row.speaker for row in protocol.rows]
        contents = [row.content for row in protocol.rows]
        sources.append((protocol.name, protocol.licence, clips, speakers, contents))
    return [_test_set(*source, backbone, recipe, folder) for source in sources]


def measure(
    representations: list[Representation],
    test_sets: list[TestSet],
    recipe: Recipe,
    about: dict[str, Any],
    workers: int,
) -> dict[str, Any]:
    """Measure every representation on every test set.

    Parameters
    ----------
    about
        ``Features.about`` of the corpus: names the backbone.
    workers
        Threads that share the measuring.

    Returns
    -------
    dict
        The content of ``metrics.json``; see ``docs/formats.md``.
    """
    jobs = [(representation, test_set) for test_set in test_sets for representation in representations]
    results: dict[str, dict[str, Any]] = {representation.name: {} for representation in representations}
    # One thread a job: probes of a second each would otherwise fight over the cores for a minute.
    with progress_bar("evaluating", len(jobs), "measurements") as bar, threadpool_limits(1):
        measured = Parallel(n_jobs=workers, prefer="threads", return_as="generator")(
            delayed(_measure)(*job, recipe.evaluation) for job in jobs
        )
        for (representation, test_set), result in zip(jobs, measured, strict=True):
            results[representation.name][test_set.name] = result
            bar.advance(1, f"{test_set.name} {representation.name}")
    return _assemble(results, test_sets, recipe, about)


def all_representations(
    model: SubspaceModel, corpus: Corpus, features: Features, recipe: Recipe
) -> list[Representation]:
    """Everything that one run compares."""
    result = subspace_representations(model) + raw_representations(features.layers)
    if "lda" in recipe.evaluation.baselines:
        factors = {settings.factor for settings in recipe.subspaces.values()}
        chosen = training_cells(corpus.cells, features, factors)
        result += lda_representations(model, recipe, features.rows(chosen.rows), chosen)
    return result


def _test_set(
    name: str,
    licence: str,
    source: ClipSource,
    speakers: list[str],
    contents: list[str],
    backbone: Backbone,
    recipe: Recipe,
    folder: Path,
) -> TestSet:
    acoustics = load_acoustics(CROSS_CONDITION, EVALUATION_SEED, folder)

    def degrade(clip: int, wave: Waveform) -> Waveform:
        random = np.random.default_rng([EVALUATION_SEED, clip])
        condition = draw_condition(CROSS_CONDITION, random, EVALUATION_SEED)
        return apply_condition(wave, condition, acoustics, random)

    key = stable_hash([SCHEMA_VERSION, EVALUATION_SEED, CROSS_CONDITION.model_dump(mode="json")])
    degraded = Transformed(source, degrade, key)
    clean = extract(source, backbone, recipe.features, folder / name / "clean", name)
    cross = extract(
        degraded, backbone, recipe.features, folder / name / "cross_condition", f"{name}, degraded"
    )
    good = np.flatnonzero((clean.frames > 0) & (cross.frames > 0))
    who, what = np.asarray(speakers)[good], np.asarray(contents)[good]
    return TestSet(
        name,
        licence,
        who,
        what,
        {"clean": clean.rows(good), "cross_condition": cross.rows(good)},
        draw_trials(who, what, recipe.evaluation.max_trials, EVALUATION_SEED),
        len(speakers) - len(good),
    )


def _measure(
    representation: Representation, test_set: TestSet, settings: EvaluationSettings
) -> dict[str, Any]:
    """Verification under both conditions, and keywords where the set has them."""
    vectors = {condition: representation.embed(test_set.means[condition]) for condition in CONDITIONS}
    result: dict[str, Any] = {
        "verification": {
            condition: verify(
                vectors[condition],
                test_set.trials,
                test_set.speakers,
                settings.bootstrap,
                EVALUATION_SEED,
            )
            for condition in CONDITIONS
        }
    }
    if test_set.has_keywords:
        result["keywords"] = {
            condition: spot_keywords(
                vectors[condition],
                test_set.contents,
                test_set.speakers,
                settings.episodes,
                EVALUATION_SEED,
                probe=condition == "clean",
            )
            for condition in CONDITIONS
        }
    return result


def _assemble(
    results: dict[str, dict[str, Any]],
    test_sets: list[TestSet],
    recipe: Recipe,
    about: dict[str, Any],
) -> dict[str, Any]:
    """Arrange the results as ``metrics.json`` has them."""
    metrics: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "recipe": recipe.name,
        "seed": recipe.seed,
        "spaces": {name: settings.factor for name, settings in recipe.subspaces.items()},
        "backbone": {"name": about["backbone"], "fingerprint": about["fingerprint"]},
        "protocols": {test_set.name: test_set.about() for test_set in test_sets},
        "verification": {},
        "keywords": {},
        "separation": {},
        "baselines": {},
    }
    for test_set in test_sets:
        name = test_set.name
        for kind in ("verification", "keywords"):
            found = {
                representation: by_set[name][kind]
                for representation, by_set in results.items()
                if kind in by_set[name]
            }
            if found:
                metrics[kind][name] = {space: found[space] for space in recipe.subspaces}
                metrics[kind][name]["raw"] = _raw(found, kind, about["layers"])
                baselines = {key: value for key, value in found.items() if key.startswith("lda.")}
                for key, value in baselines.items():
                    baseline, space = key.split(".")
                    metrics["baselines"].setdefault(baseline, {}).setdefault(kind, {}).setdefault(name, {})[
                        space
                    ] = value
        metrics["separation"][name] = _separation(metrics, name, recipe)
    return metrics


def _raw(found: dict[str, Any], kind: str, layers: int) -> dict[str, Any]:
    """Report the mean over layers, every layer, and the best one, chosen on the test set itself."""
    every = {str(layer): found[f"raw.{layer}"] for layer in range(layers)}
    best = {}
    for condition in CONDITIONS:
        if kind == "verification":
            strata = every["0"][condition]
            stratum = "different_text" if "different_text" in strata else "all"
            best[condition] = min(every, key=lambda layer: every[layer][condition][stratum]["eer"])
        else:
            best[condition] = max(every, key=lambda layer: _keyword_score(every[layer], condition))
    return {"mean": found["raw.mean"], "best_layer": best, "layers": every}


def _keyword_score(keywords: dict[str, Any], condition: str) -> float:
    """One-shot accuracy, or the clean probe's where no speaker has enough examples."""
    shots = keywords[condition]["shot_1"]
    return float(shots["accuracy"] if shots else keywords["clean"]["probe"])


def _separation(metrics: dict[str, Any], name: str, recipe: Recipe) -> dict[str, Any]:
    """Say what each subspace holds of the other's factor."""
    result: dict[str, Any] = {}
    for space, settings in recipe.subspaces.items():
        strata = metrics["verification"][name][space]["clean"]
        if settings.factor != "speaker" and "different_text" in strata:
            result[f"speaker_eer_from_{space}"] = strata["different_text"]["eer"]
        other_text = strata.get("different_text", {"eer": 0})["eer"]
        if settings.factor == "speaker" and "same_text_impostors" in strata and other_text:
            ratio = strata["same_text_impostors"]["eer"] / other_text
            result[f"same_text_cost_of_{space}"] = round(ratio, 3)
        if settings.factor != "content" and name in metrics["keywords"]:
            keywords = metrics["keywords"][name][space]["clean"]
            result[f"keyword_probe_from_{space}"] = keywords["probe"]
            result["keyword_chance"] = keywords["chance"]
    return result
