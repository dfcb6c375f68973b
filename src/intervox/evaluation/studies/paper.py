"""The paper's evaluation: its conditions, each trained with several seeds, from either space.

Cox & Barker 2026 compare no network, one trained for content alone, one for the speaker alone, and one for
both (joint). What its tables hold is measured here on whatever corpora are found.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import pyarrow as pa

from intervox.errors import IntervoxError
from intervox.evaluation.representations import FROZEN, Representation
from intervox.evaluation.results import PaperCondition, PaperRun
from intervox.evaluation.studies.measures import Spaces
from intervox.evaluation.studies.paper_measures import OFFICIAL, paper_measures, with_paper_trials
from intervox.evaluation.studies.trainings import (
    Audible,
    Judge,
    LoadTestSets,
    figures_of,
    joint,
    train_ahead,
    train_variant,
)
from intervox.evaluation.studies.variants import Overrides, Variant, choose_variants
from intervox.evaluation.test_sets import Means
from intervox.features.store import Features
from intervox.features.waves import Waves
from intervox.metrics.vectors import Vectors
from intervox.recipe import Recipe

NONE, CONTENT_ONLY, SPEAKER_ONLY, JOINT = "none", "content only", "speaker only", "joint"
CONDITIONS = (NONE, CONTENT_ONLY, SPEAKER_ONLY, JOINT)
"""In the order of the paper's tables."""

SEEDS = 5
"""Trainings of each condition in the paper."""


def paper_variants(recipe: Recipe, cells: pa.Table, features: Features) -> dict[str, Variant]:
    """Build the trained conditions: the recipe itself, and one factor of it at a time.

    A factor alone keeps its own part of the loss, without what ties it to the other subspace.

    Raises
    ------
    IntervoxError
        The recipe lacks a subspace of one of the two factors.
    """
    alone = {CONTENT_ONLY: _without(recipe, "speaker"), SPEAKER_ONLY: _without(recipe, "content")}
    own = recipe.model_copy(update={"sweep": recipe.sweep.model_copy(update={"variants": {}})})
    joint_variant, *others = choose_variants(own, cells, lambda *_: features, alone, SEEDS)
    return {variant.name: variant for variant in others} | {JOINT: joint_variant}


def _without(recipe: Recipe, factor: str) -> Overrides:
    ties = {"loss.orthogonality": 0, "loss.cross_covariance": 0, "loss.adversary": 0}
    spaces = [name for name, settings in recipe.subspaces.items() if settings.factor == factor]
    return {f"subspaces.{name}.weight": 0 for name in spaces} | ties


def evaluate_paper(
    cells: pa.Table,
    features: Features,
    waves: Waves | None,
    load: LoadTestSets,
    recipe: Recipe,
    seeds: int,
    folder: Path,
    genders: Mapping[str, str] | None = None,
    finished: Sequence[Path] = (),
    workers: int = 1,
) -> PaperRun:
    """Train and measure the paper's conditions, or resume where an earlier call stopped.

    Parameters
    ----------
    cells, features, waves, load, folder
        As for ``compare_variants``.
    seeds
        Trainings of each condition: with the recipe's seed and those that follow it.
    genders
        Speaker to gender, for those that the corpora do not tell.
    finished
        The run's own models, which need not be trained again.
    workers
        Processes that train side by side.

    Raises
    ------
    IntervoxError
        There is nothing to measure on.
    """
    test_sets = [one for one in load(None, recipe.reads_frames) if one.trials]
    if not test_sets:
        raise IntervoxError(
            "the paper's evaluation has nothing to measure on: set INTERVOX_DATA to the human corpora"
        )
    # Mean and deviation over seeds are what the tables hold: no resamples of the speakers.
    settings = recipe.evaluation.model_copy(update={"bootstrap": 0})
    trials = partial(with_paper_trials, genders=genders)
    judge = Judge(test_sets, settings, load, paper_measures(), trials, degraded=())
    audible = Audible(cells, waves, finished)
    variants = paper_variants(recipe, cells, features)
    train_ahead(audible, product(variants.values(), range(seeds)), judge, folder, workers)
    trained = {
        name: [train_variant(audible, variant, seed, judge, folder) for seed in range(seeds)]
        for name, variant in variants.items()
    }
    reference = joint([training.samples for training in trained[JOINT]])
    layers = used_layers(recipe, features.layers)
    name = "-".join(map(str, layers))
    raw = judge.samples(folder / f"raw-plain-{name}", lambda: raw_spaces(layers))
    found = {NONE: PaperCondition(name=NONE, seeds=[], seconds=[], figures=figures_of([raw], reference))} | {
        name: PaperCondition(
            name=name,
            seeds=[training.seed for training in runs],
            seconds=[training.seconds for training in runs],
            figures=figures_of([training.samples for training in runs], reference),
        )
        for name, runs in trained.items()
    }
    return PaperRun(
        recipe=recipe.name,
        backbone=recipe.backbone,
        protocols={test_set.name: test_set.about() for test_set in test_sets},
        lists={one.name: name for one in judge.test_sets if (name := _list_of(one.trials))},
        conditions=[found[name] for name in CONDITIONS],
    )


def _list_of(trials: Mapping[str, object]) -> str:
    return next((name.removeprefix("list:") for name in OFFICIAL if name in trials), "")


def used_layers(recipe: Recipe, layers: int) -> tuple[int, ...]:
    """Return the layers that the recipe's subspaces read, of a backbone with so many."""
    own = [settings.layers for settings in recipe.subspaces.values()]
    every = {layer for some in own for layer in (range(layers) if some is None else some)}
    return tuple(sorted(every))


def raw_spaces(layers: Sequence[int]) -> Spaces:
    """Return what stands for both factors without a network: the mean of the layers that it would read."""

    def mean(means: Means) -> Vectors:
        found: Vectors = means[:, list(layers)].mean(axis=1)
        return found

    raw = Representation(f"raw.{'-'.join(map(str, layers))}", mean, FROZEN)
    return {"speaker": raw, "content": raw}
