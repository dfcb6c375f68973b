"""Trainings on one corpus, compared: each variant refined with every seed and measured on the same speech.

Differences from the recipe are paired: the same resamples of the speakers, and the same draws of the
seeds. The choice among variants reads the held-out cells of the corpus alone.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from intervox.backbones.base import Backbone
from intervox.backbones.trained import TRAINED
from intervox.clips.corpus import Corpus
from intervox.errors import IntervoxError
from intervox.evaluation import loading
from intervox.evaluation.loading import Source
from intervox.evaluation.representations import BACKBONE, raw_representations
from intervox.evaluation.results import (
    Difference,
    Selected,
    Sweep,
    SweepBaseline,
    SweepFigure,
    SweepVariant,
)
from intervox.evaluation.studies.variants import (
    CHOSEN_MEASURES,
    MEASURES,
    Mask,
    Samples,
    Spaces,
    Variant,
    measure,
    read_samples,
    spaces_of,
    train_on,
    with_content_trials,
    write_samples,
)
from intervox.evaluation.test_sets import CLEAN, CROSS_CONDITION, EVALUATION_SEED, TestSet
from intervox.features.store import Features
from intervox.features.waves import Waves
from intervox.metrics.bootstrap import interval
from intervox.model.model import SubspaceModel
from intervox.recipe import EvaluationSettings, Recipe, SeveritySettings
from intervox.seeds import rng
from intervox.storage import read_json, stable_hash, write_json
from intervox.training.checkpoint import TrainingRecord
from intervox.training.refine import refine, training_key

LoadTestSets = Callable[[Backbone | None], Sequence[TestSet]]

SCHEMA_VERSION = 1
HELD_OUT = "held-out"
CHOSEN_BY = tuple(
    f"{HELD_OUT} {condition} {name}" for name in CHOSEN_MEASURES for condition in (CLEAN, CROSS_CONDITION)
)
"""The columns whose mean decides which variant is best: clean clips alone would choose for the channel."""


def light(settings: EvaluationSettings) -> EvaluationSettings:
    """Leave out of an evaluation what a sweep does not measure."""
    without = SeveritySettings(disturbances=())
    return settings.model_copy(update={"severities": without, "running_minutes": 0.0, "separation": False})


def held_out(corpus: Corpus) -> Source | None:
    """Take the validation cells of a corpus, or the test cells where it has none."""
    return loading.held_out(corpus, "validation", "validation") or loading.held_out(corpus)


def compare_variants(
    cells: pa.Table,
    features: Features,
    waves: Waves | None,
    load: LoadTestSets,
    recipe: Recipe,
    variants: Sequence[Variant],
    seeds: int,
    folder: Path,
) -> Sweep:
    """Refine and measure every variant with every seed, or go on where an earlier call stopped.

    Parameters
    ----------
    cells, features, waves
        The corpus' plan, its features, and its audio where a variant's depth is ``blocks``.
    load
        From a model's own backbone, or None for the frozen one, to the held-out cells, named ``HELD_OUT``,
        and the human corpora.
    variants
        The recipe itself first.
    seeds
        How often each is trained: with its recipe's seed and those that follow it.
    folder
        Where each training's model and measurements are kept.

    Raises
    ------
    IntervoxError
        There is nothing to measure on.
    """
    test_sets = load(None)
    if not test_sets:
        raise IntervoxError(
            "a sweep has nothing to measure on: set corpus.test.blocks, or INTERVOX_DATA to the human corpora"
        )
    judge = _Judge(test_sets, recipe.evaluation, load)
    audible = _Audible(cells, features, waves)
    trained = [[_train(audible, v, seed, judge, folder) for seed in range(seeds)] for v in variants]
    reference = _joint([training.samples for training in trained[0]])
    rows = [
        SweepVariant(
            name=variant.name,
            overrides=dict(variant.overrides),
            cells=int(variant.mask.sum()),
            blocks_per_step=variant.recipe.training.blocks_per_step,
            seeds=[training.seed for training in runs],
            steps=[training.steps for training in runs],
            seconds=[training.seconds for training in runs],
            figures=_figures([training.samples for training in runs], reference),
        )
        for variant, runs in zip(variants, trained, strict=True)
    ]
    return Sweep(
        recipe=recipe.name,
        seeds=seeds,
        protocols={test_set.name: test_set.about() for test_set in test_sets},
        variants=rows,
        baselines=_raw_rows(features.layers, judge, folder, reference),
        selected=_selected(rows),
    )


class _Judge:
    """Measures on the test sets, and keeps what it measured.

    Attributes
    ----------
    key
        Changes whenever the same vectors could get another figure.
    """

    def __init__(
        self, test_sets: Sequence[TestSet], settings: EvaluationSettings, load: "LoadTestSets"
    ) -> None:
        self._load = load
        self.settings = settings
        self.test_sets = self._with_trials(test_sets)
        limits = [settings.max_trials, settings.bootstrap, settings.episodes]
        self.key = stable_hash([SCHEMA_VERSION, EVALUATION_SEED, limits, *map(_contents, test_sets)])

    def samples(self, home: Path, spaces: Callable[[], Spaces]) -> dict[str, Samples]:
        """Return the samples of every measure of spaces on the frozen backbone, by column."""
        return self._kept(home, lambda: measure(spaces(), self.test_sets, self.settings, MEASURES))

    def samples_of(self, home: Path, train: Callable[[], SubspaceModel]) -> dict[str, Samples]:
        """Return the samples of every measure of a model, on its own backbone, by column."""

        def find() -> dict[str, Samples]:
            model = train()
            moved = (Path(model.backbone_name) / TRAINED).exists()
            test_sets = self._with_trials(self._load(model.own_backbone())) if moved else self.test_sets
            return measure(spaces_of(model), test_sets, self.settings, MEASURES)

        return self._kept(home, find)

    def _with_trials(self, test_sets: Sequence[TestSet]) -> list[TestSet]:
        return [with_content_trials(one, self.settings.max_trials) for one in test_sets]

    def _kept(self, home: Path, find: Callable[[], dict[str, Samples]]) -> dict[str, Samples]:
        path = home / f"samples-{self.key}.json"
        if not path.exists():
            write_samples(path, find())
        return read_samples(path)


def _contents(test_set: TestSet) -> Any:
    """Say what decides a test set: its clips' labels, and the features that were extracted of them."""
    tables = (cast(Features, test_set.views[name].features[BACKBONE]) for name in test_set.whole)
    labels = {name: test_set.clips.labels[name].tolist() for name in ("speaker", "content")}
    return [test_set.name, labels, [table.about["key"] for table in tables]]


@dataclass(frozen=True)
class _Training:
    """One variant trained with one seed."""

    seed: int
    steps: int
    seconds: float
    samples: dict[str, Samples]


@dataclass(frozen=True)
class _Audible:
    """What every variant is trained on."""

    cells: pa.Table
    features: Features
    waves: Waves | None


def _train(audible: _Audible, variant: Variant, offset: int, judge: _Judge, folder: Path) -> _Training:
    recipe = variant.recipe.model_copy(update={"seed": variant.recipe.seed + offset})
    kept = np.flatnonzero(variant.mask).tolist()
    home = folder / stable_hash([training_key(audible.features, recipe), kept])
    samples = judge.samples_of(home, lambda: _timed_refine(audible, variant.mask, recipe, home))
    history = TrainingRecord.read(home / "model").history
    steps = history[-1].step + 1 if history else 0
    return _Training(recipe.seed, steps, _seconds(home), samples)


def _timed_refine(audible: _Audible, mask: Mask, recipe: Recipe, home: Path) -> SubspaceModel:
    """Refine, and add the time that it took to that of earlier, interrupted calls."""
    trained = (home / "model" / "training.json").exists()
    before, begun = _seconds(home), time.monotonic()
    try:
        cells = train_on(audible.cells, mask)
        return refine(cells, audible.features, recipe, home / "model", audible.waves)
    finally:
        if not trained:
            write_json(home / "time.json", {"seconds": round(before + time.monotonic() - begun, 1)})


def _seconds(home: Path) -> float:
    path = home / "time.json"
    return float(read_json(path)["seconds"]) if path.exists() else 0.0


def _raw_rows(
    layers: int, judge: _Judge, folder: Path, reference: Mapping[str, Samples]
) -> list[SweepBaseline]:
    """Measure the raw layers: their mean, and the best for each factor on the held-out cells."""
    *by_layer, mean = raw_representations(layers)
    rows: list[tuple[str, dict[str, int] | None, Spaces]] = [
        ("raw, mean over layers", None, {"speaker": mean, "content": mean})
    ]
    held = [test_set for test_set in judge.test_sets if test_set.name == HELD_OUT]
    once = judge.settings.model_copy(update={"bootstrap": 0})
    found = [measure({"speaker": raw, "content": raw}, held, once, CHOSEN_MEASURES) for raw in by_layer]
    if chosen_by := _chosen_by(found[0]):
        speaker, content = (
            int(np.argmin([sum(each[c][0] for c in chosen_by if c.endswith(name)) for each in found]))
            for name in CHOSEN_MEASURES
        )
        spaces = {"speaker": by_layer[speaker], "content": by_layer[content]}
        best = {"speaker": speaker, "content": content}
        rows.append((f"raw, layers {speaker} / {content}", best, spaces))
    result = []
    for name, layers_of, chosen in rows:
        home = folder / "-".join(["raw", *(space.space for space in chosen.values())])
        figures = _figures([judge.samples(home, partial(dict, chosen))], reference)
        result.append(SweepBaseline(name=name, layers=layers_of, figures=figures))
    return result


def _figures(
    trainings: Sequence[Mapping[str, Samples]], reference: Mapping[str, Samples]
) -> dict[str, SweepFigure]:
    """Value, interval, and paired difference from the reference, by column."""
    figures = {}
    for column, samples in _joint(trainings).items():
        less = samples - reference[column]
        figures[column] = SweepFigure(
            value=round(float(samples[0]), 5),
            interval=interval(samples[0], samples[1:]),
            by_seed=[round(float(training[column][0]), 5) for training in trainings],
            difference=Difference(value=round(float(less[0]), 5), interval=interval(less[0], less[1:])),
        )
    return figures


def _joint(trainings: Sequence[Mapping[str, Samples]]) -> dict[str, Samples]:
    """Average the seeds; each resample of the speakers also draws the seeds anew."""
    return {
        column: _over_seeds(np.stack([training[column] for training in trainings])) for column in trainings[0]
    }


def _over_seeds(samples: Samples) -> Samples:
    """Return the mean over seeds and that of every joint resample, shape (1 + resamples,).

    One seed fewer than there are is drawn, with replacement: the variance of their mean is then the
    unbiased s²/n, where n of n seeds would give (n − 1)/n of it, half of it for two (McCarthy &
    Snowden 1985, *The Bootstrap and Finite Population Sampling*).

    Parameters
    ----------
    samples
        Shape (seeds, 1 + resamples); column i is of the same resample of the speakers in all rows.
    """
    seeds, columns = samples.shape
    random = rng(EVALUATION_SEED, "sweep.seeds")
    drawn = random.integers(seeds, size=(columns - 1, max(1, seeds - 1)))
    resampled = samples[drawn, np.arange(1, columns)[:, None]].mean(axis=1)
    return np.concatenate([[samples[:, 0].mean()], resampled])


def _selected(rows: Sequence[SweepVariant]) -> Selected | None:
    """Choose the variant with the lowest mean error on the held-out cells; the first of equals."""
    chosen_by = _chosen_by(rows[0].figures)
    if not chosen_by:
        return None
    scores = [float(np.mean([row.figures[column].value for column in chosen_by])) for row in rows]
    best = int(np.argmin(scores))
    return Selected(variant=rows[best].name, score=round(scores[best], 5), by=chosen_by)


def _chosen_by(columns: Collection[str]) -> list[str]:
    """List the columns of ``CHOSEN_BY`` that were measured; none unless both factors were."""
    found = [column for column in CHOSEN_BY if column in columns]
    both = all(any(column.endswith(name) for column in found) for name in CHOSEN_MEASURES)
    return found if both else []
