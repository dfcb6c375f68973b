"""Variants trained on one corpus and measured, each once: what a sweep and its relatives share."""

import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from intervox.backbones.base import Backbone
from intervox.evaluation.representations import BACKBONE
from intervox.evaluation.results import Difference, SweepFigure
from intervox.evaluation.studies.measures import (
    Measure,
    Samples,
    Spaces,
    measure,
    read_samples,
    spaces_of,
    write_samples,
)
from intervox.evaluation.studies.variants import Mask, Variant, train_mask, train_on
from intervox.evaluation.test_sets import EVALUATION_SEED, TestSet
from intervox.features.store import Features
from intervox.features.waves import Waves
from intervox.metrics.bootstrap import interval
from intervox.model.model import SubspaceModel
from intervox.parallel import Pool, run_jobs
from intervox.progress import console, progress_bar
from intervox.recipe import EvaluationSettings, Recipe
from intervox.seeds import rng
from intervox.storage import link_or_copy, read_json, stable_hash, write_json
from intervox.training.checkpoint import RECORD, TrainingRecord
from intervox.training.refine import refine, training_key

LoadTestSets = Callable[[Backbone | None, bool], Sequence[TestSet]]
"""From a model's backbone, None for the recipe's, and whether frames are read, to what is measured on."""

SCHEMA_VERSION = 1


class Judge:
    """Measures on the test sets, and keeps what it measured.

    Parameters
    ----------
    test_sets
        With the features of the recipe's backbone.
    settings
        Of the evaluation.
    load
        Gives the test sets with the features of a backbone that was trained, or is another.
    measures
        What to measure, by name.
    trials
        Adds the trials that the measures need; by default none.
    degraded
        The measures that are also taken of degraded clips; ``CHOSEN_MEASURES`` by default.

    Attributes
    ----------
    key
        Changes whenever the same vectors could get another figure.
    """

    def __init__(
        self,
        test_sets: Sequence[TestSet],
        settings: EvaluationSettings,
        load: LoadTestSets,
        measures: Mapping[str, Measure],
        trials: Callable[[TestSet], TestSet] = lambda given: given,
        degraded: Collection[str] | None = None,
    ) -> None:
        self._load, self._measures, self._trials, self._degraded = load, measures, trials, degraded
        self.settings = settings
        self.test_sets = [trials(one) for one in test_sets]
        limits = [settings.max_trials, settings.bootstrap, settings.episodes]
        self.key = stable_hash(
            [SCHEMA_VERSION, EVALUATION_SEED, limits, list(measures), *map(_contents, self.test_sets)]
        )

    def samples(self, home: Path, spaces: Callable[[], Spaces]) -> dict[str, Samples]:
        """Return the samples of every measure of spaces on the frozen backbone, by column."""
        return self._kept(home, lambda: self._measure(spaces(), self.test_sets))

    def samples_of(self, home: Path, train: Callable[[], SubspaceModel]) -> dict[str, Samples]:
        """Return the samples of every measure of a model, on its own backbone, by column."""

        def find() -> dict[str, Samples]:
            model = train()
            encoded_by = {table.about["fingerprint"] for table in _tables(self.test_sets[0])}
            known = model.fingerprint in encoded_by
            own = None if known else self._load(model.own_backbone(), model.reads_frames)
            test_sets = [self._trials(one) for one in own] if own else self.test_sets
            return self._measure(spaces_of(model), test_sets)

        return self._kept(home, find)

    def _measure(self, spaces: Spaces, test_sets: Sequence[TestSet]) -> dict[str, Samples]:
        return measure(spaces, test_sets, self.settings, self._measures, self._degraded)

    def _kept(self, home: Path, find: Callable[[], dict[str, Samples]]) -> dict[str, Samples]:
        path = home / f"samples-{self.key}.json"
        if not path.exists():
            write_samples(path, find())
        return read_samples(path)


def _contents(test_set: TestSet) -> Any:
    """Say what decides a test set: its clips' labels, and the features that were extracted of them."""
    known = test_set.clips.labels
    labels = {name: known[name].tolist() for name in ("speaker", "content", "gender") if name in known}
    return [test_set.name, labels, [table.about["key"] for table in _tables(test_set)]]


def _tables(test_set: TestSet) -> list[Features]:
    """List the features that the subspaces read of the whole clips, under each condition."""
    return [cast(Features, test_set.views[name].features[BACKBONE]) for name in test_set.whole]


@dataclass(frozen=True)
class Training:
    """One variant trained with one seed."""

    seed: int
    steps: int
    seconds: float
    samples: dict[str, Samples]


@dataclass(frozen=True)
class Audible:
    """What every variant is trained on, and the run's own models, which need not be trained again."""

    cells: pa.Table
    waves: Waves | None
    finished: Sequence[Path] = ()


def train_variant(audible: Audible, variant: Variant, offset: int, judge: Judge, folder: Path) -> Training:
    """Refine a variant with its recipe's seed plus ``offset`` and measure it, unless that was done before."""
    job = _job(audible, variant, offset, folder)
    samples = judge.samples_of(job.home, lambda: _timed_refine(audible, job))
    history = TrainingRecord.read(job.home / "model").history
    steps = history[-1].step + 1 if history else 0
    return Training(job.recipe.seed, steps, _seconds(job.home), samples)


def train_ahead(
    audible: Audible, trainings: Iterable[tuple[Variant, int]], judge: Judge, folder: Path, workers: int
) -> None:
    """Train side by side what ``train_variant`` will be asked for, and measure each while others train.

    Only where the backbone is frozen: such steps are too small for several threads, so that each training
    gets a process with one. A backbone that moves takes all cores by itself.

    Parameters
    ----------
    trainings
        Variants, each with what is added to its recipe's seed.
    workers
        Processes.
    """
    jobs, asked = dict[Path, _Job](), dict[Path, tuple[Variant, int]]()
    for variant, offset in trainings:
        job = _job(audible, variant, offset, folder)
        trained = (job.home / "model" / RECORD).exists()
        if variant.recipe.training.depth != "blocks" and not trained:
            jobs[job.home], asked[job.home] = job, (variant, offset)
    if workers > 1 and len(jobs) > 1:
        with progress_bar("training", len(jobs), "models") as bar:

            def measure_trained(home: Path) -> None:
                train_variant(audible, *asked[home], judge, folder)
                bar.advance(1)

            # The audio is for backbones that move; it stays here.
            work = partial(_train_quietly, replace(audible, waves=None))
            run_jobs(work, jobs.values(), len(jobs), Pool(workers), measure_trained)


@dataclass(frozen=True)
class _Job:
    """One training: on which cells and features, by which recipe, into which folder."""

    mask: Mask
    recipe: Recipe
    features: Features
    home: Path


def _job(audible: Audible, variant: Variant, offset: int, folder: Path) -> _Job:
    """Say what a training is, and take the run's own model where it is just this one."""
    recipe = variant.recipe.model_copy(update={"seed": variant.recipe.seed + offset})
    kept = np.flatnonzero(variant.mask).tolist()
    key = training_key(variant.features, recipe)
    job = _Job(variant.mask, recipe, variant.features, folder / stable_hash([key, kept]))
    if kept == np.flatnonzero(train_mask(audible.cells)).tolist():
        _take_finished(audible.finished, key, job.home / "model")
    return job


def _train_quietly(audible: Audible, job: _Job) -> Path:
    """Train in a worker, whose bars would be drawn over each other; return where the model is."""
    console.quiet = True
    _timed_refine(audible, job)
    return job.home


def _take_finished(finished: Sequence[Path], key: str, folder: Path) -> None:
    """Link a finished model of just this training to where it would be trained."""
    for model in finished:
        if not folder.exists() and (model / RECORD).exists() and TrainingRecord.read(model).key == key:
            shutil.copytree(model, folder, copy_function=link_or_copy)


def _timed_refine(audible: Audible, job: _Job) -> SubspaceModel:
    """Refine, and add the time that it took to that of earlier, interrupted calls."""
    trained = (job.home / "model" / RECORD).exists()
    before, begun = _seconds(job.home), time.monotonic()
    try:
        cells = train_on(audible.cells, job.mask)
        return refine(cells, job.features, job.recipe, job.home / "model", audible.waves)
    finally:
        if not trained:
            write_json(job.home / "time.json", {"seconds": round(before + time.monotonic() - begun, 1)})


def _seconds(home: Path) -> float:
    path = home / "time.json"
    return float(read_json(path)["seconds"]) if path.exists() else 0.0


def figures_of(
    trainings: Sequence[Mapping[str, Samples]], reference: Mapping[str, Samples]
) -> dict[str, SweepFigure]:
    """Return value, interval, and paired difference from the reference, by column."""
    figures = {}
    for column, samples in joint(trainings).items():
        less = samples - reference[column]
        figures[column] = SweepFigure(
            value=round(float(samples[0]), 5),
            interval=interval(samples[0], samples[1:]),
            by_seed=[round(float(training[column][0]), 5) for training in trainings],
            difference=Difference(value=round(float(less[0]), 5), interval=interval(less[0], less[1:])),
        )
    return figures


def joint(trainings: Sequence[Mapping[str, Samples]]) -> dict[str, Samples]:
    """Average the seeds; each resample of the speakers also draws the seeds anew."""
    return {
        column: over_seeds(np.stack([training[column] for training in trainings])) for column in trainings[0]
    }


def over_seeds(samples: Samples) -> Samples:
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
