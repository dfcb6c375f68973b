"""What each ingredient of a corpus buys: the same training on parts of one corpus, compared.

A variant keeps some of the training cells: one engine's, the clean copies, a third of the texts. The
variants of a group have about as many cells, unless the group is about the number of cells. Each is
refined by the run's own recipe and seed and measured on the human corpora; the first of a group is
what the others are compared with, resample by resample of the measured speakers.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from intervox.clips.corpus import Corpus
from intervox.errors import IntervoxError
from intervox.evaluation.results import Ingredient, IngredientFigure, Ingredients
from intervox.evaluation.studies.measures import (
    MEASURES,
    Samples,
    measure,
    read_samples,
    spaces_of,
    write_samples,
)
from intervox.evaluation.studies.variants import Mask, matched, measured_factors, train_on
from intervox.evaluation.test_sets import EVALUATION_SEED, TestSet
from intervox.features.store import Features
from intervox.metrics.bootstrap import interval
from intervox.recipe import Recipe
from intervox.seeds import rng
from intervox.storage import stable_hash
from intervox.training.refine import refine

MIXTURE = "*"
"""What marks the name of a mixed voice."""

REPORTED = ("different_text", "same_text_impostors", "one_shot")
"""The measures of the tables."""


class TrainingPlan:
    """The training cells' labels, and seeded orders among them to take equal parts of.

    Attributes
    ----------
    columns
        Column of the plan to an array of shape (cells,).
    """

    def __init__(self, cells: pa.Table) -> None:
        self.columns = {name: np.asarray(cells[name].to_pylist()) for name in cells.column_names}
        self.train = self.columns["split"] == "train"
        block = self.columns["block"]
        self.block_rank = _ranks(~self.train, block)
        self.text_rank = _ranks(block, self.columns["content"])
        # Within one engine's voices of a block, so that taking two takes two of each engine.
        pairs = np.char.add(block.astype(str), self.columns["engine"])
        grid = np.unique(pairs, return_inverse=True)[1]
        self.voice_rank = _ranks(grid, self.columns["speaker"])
        self.blocks = len(np.unique(block[self.train]))

    def of(self, column: str, value: Any) -> Mask:
        """Choose the cells with a value."""
        return np.asarray(self.columns[column] == value)


@dataclass(frozen=True)
class Variant:
    """A part of the training cells, named for what it is made of."""

    group: str
    name: str
    mask: Mask


def variants(plan: TrainingPlan) -> list[Variant]:
    """List the variants that a corpus can tell apart: no engines where it has but one."""
    engines = [str(name) for name in np.unique(plan.columns["engine"][plan.train])]
    groups: dict[str, dict[str, Mask]] = {}
    if len(engines) > 1:
        alone = {f"{name} alone": plan.of("engine", name) for name in engines}
        groups["engine"] = alone | {"all engines": plan.train}
    if (mixed := _mixed(plan)).any():
        groups["mixtures"] = {
            "no mixtures": ~mixed,
            "mixtures in place of presets": _swapped(plan),
            "presets and mixtures": plan.train,
        }
    dry, last = plan.of("copy", 0), int(plan.columns["copy"].max())
    if last and (plan.columns["condition"][dry & plan.train] == "clean").all():
        drawn = plan.of("copy", last)
        groups["conditions"] = {"clean": dry, "one drawn": drawn, "clean and one drawn": dry | drawn}
    groups["block shape"] = _shapes(plan)
    equal = [
        Variant(group, name, mask)
        for group, masks in groups.items()
        for name, mask in _equalised(plan, masks).items()
    ]
    amounts = [
        Variant("amount", f"{share:.0%} of the blocks", plan.block_rank < round(share * plan.blocks))
        for share in (1.0, 0.5, 0.25)
    ]
    return [variant for variant in equal + amounts if (variant.mask & plan.train).any()]


def _shapes(plan: TrainingPlan) -> dict[str, Mask]:
    """About a third of the cells: few voices of many texts, or many voices of few."""
    third = {
        "blocks": (plan.block_rank, plan.blocks),
        "voices": (plan.voice_rank, int(plan.voice_rank[plan.train].max()) + 1),
        "texts": (plan.text_rank, int(plan.text_rank[plan.train].max()) + 1),
    }
    return {f"a third of the {what}": ranks < round(count / 3) for what, (ranks, count) in third.items()}


def _equalised(plan: TrainingPlan, masks: dict[str, Mask]) -> dict[str, Mask]:
    """Leave out whole blocks of the larger parts, until each has as many cells as the smallest."""
    smallest = min(int((mask & plan.train).sum()) for mask in masks.values())
    result = {}
    for name, mask in masks.items():
        sizes = np.bincount(plan.block_rank[mask & plan.train], minlength=plan.blocks)
        fits = np.cumsum(sizes) <= smallest
        result[name] = mask & (plan.block_rank < int(fits.sum()))
    return result


def _mixed(plan: TrainingPlan) -> Mask:
    return np.char.count(plan.columns["voice"].astype(str), MIXTURE) > 0


def _swapped(plan: TrainingPlan) -> Mask:
    """Put as many cells of mixtures, one voice a block, in the place of the presets of their engine."""
    mixed = _mixed(plan)
    engine = np.isin(plan.columns["engine"], np.unique(plan.columns["engine"][mixed]))
    presets = engine & ~mixed & plan.train
    order = np.lexsort([plan.block_rank, np.where(mixed, plan.voice_rank, 10**6)])
    candidates = order[(mixed & plan.train)[order]]
    kept = np.zeros(len(mixed), bool)
    kept[candidates[: int(presets.sum())]] = True
    return ~engine | kept


def _ranks(groups: NDArray[Any], values: NDArray[Any]) -> NDArray[np.int64]:
    """Number each group's distinct values from 0 in a seeded order; shape (cells,)."""
    value = np.unique(values, return_inverse=True)[1]
    keys = rng(EVALUATION_SEED, "ingredients.ranks").permutation(value.max() + 1)[value]
    result = np.empty(len(values), np.int64)
    for group in np.unique(groups):
        rows = groups == group
        result[rows] = np.unique(keys[rows], return_inverse=True)[1]
    return result


def compare_ingredients(
    corpus: Corpus, features: Features, test_sets: list[TestSet], recipe: Recipe, folder: Path
) -> Ingredients:
    """Refine and measure every variant, or resume an earlier call.

    Parameters
    ----------
    test_sets
        The human corpora.
    folder
        Where each variant's model and measurements are kept.
    """
    if not measured_factors(recipe):
        raise IntervoxError(
            "ingredients are measured on a speaker and a content subspace: add the one missing"
        )
    if recipe.training.depth == "blocks":
        raise IntervoxError("ingredients are measured at depth map or frames: a dozen trainings follow")
    if not test_sets:
        raise IntervoxError("ingredients are measured on human corpora: set INTERVOX_DATA to their folder")
    plan = TrainingPlan(corpus.cells)
    measured = {test_set.name: test_set.about().model_dump() for test_set in test_sets}
    reported = {name: MEASURES[name] for name in REPORTED}
    rows: list[Ingredient] = []
    reference: dict[str, dict[str, Samples]] = {}
    for variant in variants(plan):
        mask = plan.train & variant.mask
        kept = np.flatnonzero(mask).tolist()
        name = stable_hash([features.about["key"], recipe.model_dump(mode="json"), measured, kept])
        home = folder / name
        if not (home / "samples.json").exists():
            table = train_on(corpus.cells, mask)
            model = refine(table, features, matched(recipe, corpus.cells, mask), home / "model")
            found = measure(spaces_of(model), test_sets, recipe.evaluation, reported)
            write_samples(home / "samples.json", found)
        samples = read_samples(home / "samples.json")
        first = reference.setdefault(variant.group, samples)
        rows.append(
            Ingredient(
                group=variant.group,
                name=variant.name,
                cells=int(mask.sum()),
                texts=len(np.unique(plan.columns["content"][mask])),
                voices=len(np.unique(plan.columns["speaker"][mask])),
                figures={key: _figure(values, first[key]) for key, values in samples.items()},
            )
        )
    return Ingredients(recipe=recipe.name, seed=recipe.seed, variants=rows)


def _figure(samples: Samples, first: Samples) -> IngredientFigure:
    """Value, its interval, and that of the paired difference from the group's first variant."""
    return IngredientFigure(
        value=round(float(samples[0]), 5),
        interval=interval(samples[0], samples[1:]),
        difference=None if samples is first else interval(samples[0] - first[0], samples[1:] - first[1:]),
    )
