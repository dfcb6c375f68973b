"""Trainings on one corpus, compared: each variant refined with every seed and measured on the same speech.

Differences from the recipe are paired: the same resamples of the speakers, and the same draws of the
seeds. The choice among variants reads the held-out cells of the corpus alone.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa

from intervox.clips.corpus import Corpus
from intervox.errors import IntervoxError
from intervox.evaluation import loading
from intervox.evaluation.loading import Source
from intervox.evaluation.representations import raw_representations
from intervox.evaluation.results import Selected, Sweep, SweepBaseline, SweepVariant
from intervox.evaluation.studies.measures import (
    CHOSEN_MEASURES,
    MEASURES,
    Samples,
    Spaces,
    measure,
    with_content_trials,
)
from intervox.evaluation.studies.trainings import (
    Audible,
    Judge,
    LoadTestSets,
    figures_of,
    joint,
    train_ahead,
    train_variant,
)
from intervox.evaluation.studies.variants import Variant
from intervox.evaluation.test_sets import CLEAN, CROSS_CONDITION
from intervox.features.waves import Waves
from intervox.recipe import EvaluationSettings, Recipe, SeveritySettings

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
    waves: Waves | None,
    load: LoadTestSets,
    recipe: Recipe,
    variants: Sequence[Variant],
    seeds: int,
    folder: Path,
    workers: int = 1,
) -> Sweep:
    """Refine and measure every variant with every seed, or resume an earlier call.

    Parameters
    ----------
    cells, waves
        The corpus' plan, and its audio where a variant's depth is ``blocks``.
    load
        Gives the held-out cells, named ``HELD_OUT``, and the human corpora.
    variants
        The recipe itself first.
    seeds
        How often each is trained: with its recipe's seed and those that follow it.
    folder
        Where each training's model and measurements are kept.
    workers
        Processes that train side by side where the backbone is frozen.

    Raises
    ------
    IntervoxError
        There is nothing to measure on.
    """
    frozen = [one.recipe.training.depth for one in variants if one.recipe.backbone == recipe.backbone]
    test_sets = load(None, "frames" in frozen)
    if not test_sets:
        raise IntervoxError(
            "a sweep has nothing to measure on: set corpus.test.blocks, or INTERVOX_DATA to the human corpora"
        )
    trials = partial(with_content_trials, max_trials=recipe.evaluation.max_trials)
    judge = Judge(test_sets, recipe.evaluation, load, MEASURES, trials)
    audible = Audible(cells, waves)
    train_ahead(audible, product(variants, range(seeds)), judge, folder, workers)
    trained = [[train_variant(audible, v, seed, judge, folder) for seed in range(seeds)] for v in variants]
    reference = joint([training.samples for training in trained[0]])
    rows = [
        SweepVariant(
            name=variant.name,
            overrides=dict(variant.overrides),
            cells=int(variant.mask.sum()),
            blocks_per_step=variant.recipe.training.blocks_per_step,
            seeds=[training.seed for training in runs],
            steps=[training.steps for training in runs],
            seconds=[training.seconds for training in runs],
            figures=figures_of([training.samples for training in runs], reference),
        )
        for variant, runs in zip(variants, trained, strict=True)
    ]
    return Sweep(
        recipe=recipe.name,
        seeds=seeds,
        protocols={test_set.name: test_set.about() for test_set in test_sets},
        variants=rows,
        baselines=_raw_rows(variants[0].features.layers, judge, folder, reference),
        selected=_selected(rows),
    )


def _raw_rows(
    layers: int, judge: Judge, folder: Path, reference: Mapping[str, Samples]
) -> list[SweepBaseline]:
    """Measure the raw layers: their mean, and the best for each factor on the held-out cells."""
    *by_layer, mean = raw_representations(layers)
    rows: list[tuple[str, dict[str, int] | None, Spaces]] = [
        ("raw, mean over layers", None, {"speaker": mean, "content": mean})
    ]
    held = [test_set for test_set in judge.test_sets if test_set.name == HELD_OUT]
    once = judge.settings.model_copy(update={"bootstrap": 0})
    chosen_measures = {name: MEASURES[name] for name in CHOSEN_MEASURES}
    found = [measure({"speaker": raw, "content": raw}, held, once, chosen_measures) for raw in by_layer]
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
        figures = figures_of([judge.samples(home, partial(dict, chosen))], reference)
        result.append(SweepBaseline(name=name, layers=layers_of, figures=figures))
    return result


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
