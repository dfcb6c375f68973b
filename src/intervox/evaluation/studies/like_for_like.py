"""Ways to a speaker and a content subspace, like for like: one corpus, one backbone, the same recordings.

The raw layers, LDA, the paper's network on the last layer and on the best one, Intervox at two depths, and a
speaker encoder that others trained on people. Nothing is chosen on human corpora: layers are those with the
lowest mean error on the corpus' held-out cells.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from intervox.errors import IntervoxError
from intervox.evaluation.baselines.peers import ABOUT_PEERS, peer_representation
from intervox.evaluation.representations import raw_representations
from intervox.evaluation.results import ComparedSystem, LikeForLike
from intervox.evaluation.studies.measures import (
    CHOSEN_MEASURES,
    MEASURES,
    Samples,
    Spaces,
    measure,
    spaces_of,
    with_content_trials,
)
from intervox.evaluation.studies.paper import raw_spaces
from intervox.evaluation.studies.probing import PROBES
from intervox.evaluation.studies.sweep import CHOSEN_BY, HELD_OUT
from intervox.evaluation.studies.trainings import (
    Audible,
    Judge,
    LoadTestSets,
    Training,
    figures_of,
    joint,
    train_ahead,
    train_variant,
)
from intervox.evaluation.studies.variants import Variant, matched, measured_factors, train_mask
from intervox.features.encoding import Encoder
from intervox.features.store import Features
from intervox.features.waves import Waves
from intervox.model.model import SubspaceModel
from intervox.recipe import Recipe, load_recipe
from intervox.recipe.training import SharedSettings, SubspaceSettings, TrainingSettings
from intervox.training.refine import check_settings, maps_alone

PEER = "resemblyzer"
MAP = "Intervox, depth map"
BLOCKS = "Intervox, depth blocks"
PACKAGED = "the model in the package"
PAPER_LAST = "the paper's network, last layer"
CELLS_A_STEP = 1024
"""Of Intervox where the corpus has fewer blocks than a step takes, and of the maps before the encoder."""

CELLS_DEEP, STEPS_DEEP, WARP = 128, 400, 0.5
"""Of depth ``blocks``: cells a step and steps, so that it ends within the hour on two cores."""


@dataclass(frozen=True)
class _Row:
    """A system with what was measured of it, one mapping for each seed."""

    name: str
    about: str
    samples: list[dict[str, Samples]]
    layers: dict[str, list[int]]
    trainings: list[Training]


def compare_systems(
    cells: pa.Table,
    features: Features,
    waves: Waves | None,
    load: LoadTestSets,
    recipe: Recipe,
    seeds: int,
    folder: Path,
    peers: Sequence[Encoder] = (),
    finished: Sequence[Path] = (),
    packaged: SubspaceModel | None = None,
    workers: int = 1,
) -> LikeForLike:
    """Train and measure every system, or resume where an earlier call stopped.

    Parameters
    ----------
    cells, features, load, recipe, folder
        As for ``compare_variants``; the recipe gives the corpus, the backbone and the evaluation.
    waves
        The corpus' audio; without it depth ``blocks`` is left out.
    seeds
        Trainings of each system that starts at random or draws batches.
    peers
        Encoders whose features the test sets have.
    finished
        The run's own models.
    packaged
        The model in the package; it is measured where the features are of its backbone.
    workers
        Processes that train the layers of the paper's network side by side.

    Raises
    ------
    IntervoxError
        There are no human corpora, or no held-out cells to choose layers on.
    """
    test_sets = load(None, recipe.reads_frames)
    if not [one for one in test_sets if one.name != HELD_OUT]:
        raise IntervoxError("there are no human corpora to compare on: set INTERVOX_DATA to their folder")
    trials = partial(with_content_trials, max_trials=recipe.evaluation.max_trials)
    degraded = (*CHOSEN_MEASURES, "one_shot")
    judge = Judge(test_sets, recipe.evaluation, load, MEASURES | PROBES, trials, degraded)
    audible = Audible(cells, waves, finished)
    trained = partial(_trained, audible, features, judge, folder)
    last = features.layers - 1
    intervox = intervox_recipe(recipe, cells, features)
    found = [
        _raw_last(judge, folder, last),
        _raw_best(judge, folder, features.layers),
        trained("LDA", "the closed form on Intervox' layers", lda_recipe(intervox), 1),
        trained(PAPER_LAST, "one MLP cut in half", paper_recipe(recipe, features, last), seeds),
        _best_paper(audible, features, judge, folder, recipe, seeds, workers),
        trained(MAP, "linear maps from LDA, refined on layer means", intervox, seeds),
    ]
    if waves is not None:
        deep = recipe if recipe.training.depth == "blocks" else deep_recipe(intervox, cells)
        about = f"the same maps with the backbone's own blocks, {deep.training.steps} steps"
        found.append(trained(BLOCKS, about, deep, seeds))
    if packaged is not None and packaged.fingerprint == features.about["fingerprint"]:
        found.append(_packaged(judge, folder, packaged))
    found += [_peer(judge, folder, peer) for peer in peers]
    reference = joint(next(row.samples for row in found if row.name == MAP))
    return LikeForLike(
        recipe=recipe.name,
        backbone=recipe.backbone,
        reference=MAP,
        protocols={test_set.name: test_set.about() for test_set in test_sets},
        systems=[_system(row, reference) for row in found],
    )


def _system(row: _Row, reference: Mapping[str, Samples]) -> ComparedSystem:
    return ComparedSystem(
        name=row.name,
        about=row.about,
        layers=row.layers,
        seeds=[training.seed for training in row.trainings],
        seconds=[training.seconds for training in row.trainings],
        figures=figures_of(row.samples, reference),
    )


def paper_recipe(recipe: Recipe, features: Features, layer: int) -> Recipe:
    """Put the paper's network, loss and optimisation in a recipe's place, as wide as its backbone."""
    own, width = load_recipe("paper"), features.dim
    spaces = {
        name: settings.model_copy(update={"layers": (layer,), "dim": width // 2})
        for name, settings in own.subspaces.items()
    }
    shared = SharedSettings(width=width, hidden=own.shared.hidden)
    parts = {"subspaces": spaces, "shared": shared, "loss": own.loss, "training": own.training}
    return recipe.model_copy(update=parts)


def intervox_recipe(recipe: Recipe, cells: pa.Table, features: Features) -> Recipe:
    """Return the recipe at depth ``map``, or quickstart's training where it is that of the paper.

    Of a recipe at depth ``blocks`` it is what the encoder's training starts from. Quickstart's layers are
    then the lower half of the backbone's for the speaker, the upper for content. A corpus with fewer
    blocks than a step takes is trained on in shuffled batches.
    """
    chosen = recipe
    if any(settings.map == "shared" for settings in recipe.subspaces.values()):
        own = load_recipe("quickstart")
        half = features.layers // 2
        halves = {"speaker": tuple(range(half)), "content": tuple(range(half, features.layers))}
        spaces = {
            name: settings.model_copy(update={"layers": halves[settings.factor]})
            for name, settings in own.subspaces.items()
        }
        parts = {"subspaces": spaces, "loss": own.loss, "training": own.training, "encoder": own.encoder}
        chosen = recipe.model_copy(update=parts)
    if not measured_factors(chosen):
        raise IntervoxError("systems are compared on a speaker and a content subspace: add the one missing")
    if chosen.training.depth == "blocks":
        return maps_alone(chosen)
    training = chosen.training.model_copy(update={"depth": "map", "validate_every": 0})
    return _in_batches(chosen.model_copy(update={"training": training}), cells, CELLS_A_STEP)


def lda_recipe(intervox: Recipe) -> Recipe:
    """Stop at the closed form, with all directions alike."""
    spaces = {
        name: settings.model_copy(update={"reliability": 0.0})
        for name, settings in intervox.subspaces.items()
    }
    training = TrainingSettings(steps=0, initialisation="lda")
    return intervox.model_copy(update={"subspaces": spaces, "training": training})


def deep_recipe(intervox: Recipe, cells: pa.Table) -> Recipe:
    """Train the backbone's blocks as well, from the audio of as many cells a step as two cores can hold."""
    fields = {"depth": "blocks", "steps": STEPS_DEEP, "blocks_per_step": 1, "epochs": None}
    encoder = intervox.encoder.model_copy(update={"warp": WARP})
    training = intervox.training.model_copy(update=fields)
    deep = intervox.model_copy(update={"training": training, "encoder": encoder})
    return _in_batches(deep, cells, CELLS_DEEP)


def _in_batches(recipe: Recipe, cells: pa.Table, cells_a_step: int) -> Recipe:
    """Shuffle the cells where whole blocks are too few, or too large for a step."""
    train = np.asarray(cells["split"].to_pylist()) == "train"
    sizes = np.unique(np.asarray(cells["block"].to_pylist())[train], return_counts=True)[1]
    crossed = recipe.training.batches == "crossed"
    if not crossed or (len(sizes) >= recipe.training.blocks_per_step and sizes.max() <= cells_a_step):
        return recipe
    shuffled = {"batches": "shuffled", "cells_per_step": cells_a_step}
    return recipe.model_copy(update={"training": recipe.training.model_copy(update=shuffled)})


def _trained(
    audible: Audible,
    features: Features,
    judge: Judge,
    folder: Path,
    name: str,
    about: str,
    recipe: Recipe,
    seeds: int,
) -> _Row:
    variant = _variant(audible.cells, features, name, recipe)
    runs = [train_variant(audible, variant, seed, judge, folder) for seed in range(seeds)]
    every = range(features.layers)
    layers = {one.factor: list(_of(one, every)) for one in reversed(recipe.subspaces.values())}
    return _Row(name, about, [run.samples for run in runs], layers, runs)


def _variant(cells: pa.Table, features: Features, name: str, recipe: Recipe) -> Variant:
    check_settings(recipe, features.layers, features.dim, cells.column_names)
    mask = train_mask(cells)
    return Variant(name, {}, matched(recipe, cells, mask), mask, features)


def _of(settings: SubspaceSettings, every: Sequence[int]) -> Sequence[int]:
    return every if settings.layers is None else settings.layers


def _best_paper(
    audible: Audible,
    features: Features,
    judge: Judge,
    folder: Path,
    recipe: Recipe,
    seeds: int,
    workers: int,
) -> _Row:
    """Train the paper's network on every layer, and keep the best on the held-out cells."""
    about = "the same on the best layer of the held-out cells"
    recipes = {
        f"the paper's network, layer {layer}": paper_recipe(recipe, features, layer)
        for layer in range(features.layers)
    }
    trainings = [(_variant(audible.cells, features, *named), 0) for named in recipes.items()]
    train_ahead(audible, trainings, judge, folder, workers)
    trained = partial(_trained, audible, features, judge, folder)
    rows = [trained(name, about, one, 1) for name, one in recipes.items()]
    best = min(rows, key=lambda row: _error(row.samples[0])).name
    return trained(best, about, recipes[best], seeds)


def _error(samples: Mapping[str, Samples]) -> float:
    """Mean error on the held-out cells, both factors alike."""
    return float(np.mean([samples[column][0] for column in CHOSEN_BY if column in samples]))


def _raw_last(judge: Judge, folder: Path, layer: int) -> _Row:
    """Measure the last layer as the paper does, by the plain cosine."""
    samples = judge.samples(folder / f"raw-plain-{layer}", lambda: raw_spaces([layer]))
    about = "plain cosine of the time mean"
    return _Row("raw, last layer", about, [samples], {"speaker": [layer], "content": [layer]}, [])


def _raw_best(judge: Judge, folder: Path, layers: int) -> _Row:
    """Measure the best layer for each factor on the held-out cells, centred, which flatters it."""
    held = [one for one in judge.test_sets if one.name == HELD_OUT]
    once = judge.settings.model_copy(update={"bootstrap": 0})
    names = {name: MEASURES[name] for name in CHOSEN_MEASURES}
    every = raw_representations(layers)[:-1]
    found = [measure({"speaker": raw, "content": raw}, held, once, names) for raw in every]
    speaker, content = (
        int(np.argmin([np.mean([each[c][0] for c in each if c.endswith(name)]) for each in found]))
        for name in CHOSEN_MEASURES
    )
    spaces: Spaces = {"speaker": every[speaker], "content": every[content]}
    samples = judge.samples(folder / f"raw-centred-{speaker}-{content}", lambda: spaces)
    about = "time means less that of the measured clips, layers chosen on the held-out cells"
    chosen = {"speaker": [speaker], "content": [content]}
    return _Row(f"raw, layers {speaker} / {content}", about, [samples], chosen, [])


def _packaged(judge: Judge, folder: Path, model: SubspaceModel) -> _Row:
    """Measure the model in the package, which learnt from another corpus."""
    samples = judge.samples(folder / f"packaged-{model.key}", lambda: spaces_of(model))
    layers = {factor: model.subspace(name).used for name, factor in reversed(model.factors.items())}
    return _Row(PACKAGED, "learnt from another corpus", [samples], layers, [])


def _peer(judge: Judge, folder: Path, peer: Encoder) -> _Row:
    space = peer_representation(peer)
    samples = judge.samples(folder / peer.fingerprint, lambda: {"speaker": space})
    return _Row(peer.name.capitalize(), ABOUT_PEERS[peer.name], [samples], {}, [])
