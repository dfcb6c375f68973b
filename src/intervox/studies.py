"""Studies on a run's corpus and features: what ingredients and parts of the method buy, and other systems."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from intervox.errors import IntervoxError
from intervox.evaluation.results import (
    INGREDIENTS,
    LIKE_FOR_LIKE,
    PAPER,
    SWEEP,
    Ingredients,
    LikeForLike,
    PaperRun,
    Sweep,
)
from intervox.parallel import default_workers
from intervox.recipe import Recipe, Study
from intervox.runs import (
    PAPER_TABLES,
    SWEEP_PLOT,
    Run,
    extracted,
    logged,
    open_features,
    open_test_sets,
    open_waves,
)
from intervox.storage import write_bytes

if TYPE_CHECKING:
    from intervox.backbones.base import Backbone
    from intervox.evaluation.loading import Source
    from intervox.evaluation.studies.trainings import LoadTestSets
    from intervox.evaluation.test_sets import TestSet
    from intervox.features.encoding import Encoder
    from intervox.features.store import Features
    from intervox.tables import Table


def compare_ingredients(run: Run) -> Ingredients:
    """Measure what each ingredient of the run's corpus buys; write ``ingredients.json``."""
    from intervox.evaluation.studies.ingredients import compare_ingredients as compare

    corpus, features = open_features(run)
    with logged(run, "ingredients"):
        test_sets = open_test_sets(run, None, run.recipe.reads_frames, None)
        found = compare(corpus, features, test_sets, run.recipe, run.folder / "ingredients")
        found.write(run.folder / INGREDIENTS)
    return found


def sweep(run: Run, vary: Sequence[str] = (), seeds: int | None = None) -> Sweep:
    """Train the recipe's variants and measure them; write ``sweep.json`` and ``sweep.svg``.

    Parameters
    ----------
    vary
        ``FIELD=V1,V2,...``: the full crossing is compared beside the recipe's own ``sweep.variants``.
    seeds
        By default the recipe's ``sweep.seeds``.
    """
    from intervox.backbones.load import load_backbone
    from intervox.evaluation.studies.sweep import compare_variants, held_out
    from intervox.evaluation.studies.variants import choose_variants, parse_vary
    from intervox.features.waves import decode
    from intervox.reporting.study_figures import difference_plot
    from intervox.training.refine import check_training

    run = _lightly(run)
    corpus, features = open_features(run)
    recipe, repeats = run.recipe, seeds or run.recipe.sweep.seeds

    def features_of(backbone: str, frames: bool) -> "Features":
        if backbone == recipe.backbone and (features.has_frames or not frames):
            return features
        with logged(run, "extract"):
            return extracted(run, corpus, load_backbone(backbone), frames)

    def fits(changed: Recipe) -> None:
        if changed.backbone != recipe.backbone or changed.training.depth == "blocks":
            check_training(changed)

    variants = choose_variants(recipe, corpus.cells, features_of, parse_vary(vary), repeats, fits)
    with logged(run, "sweep"):
        load = _loader(run, held_out(corpus))
        audible = any(variant.recipe.training.depth == "blocks" for variant in variants)
        waves = decode(corpus, run.waves_folder) if audible else None
        folder = run.folder / "sweep"
        workers = run.pool.workers or default_workers()
        found = compare_variants(corpus.cells, waves, load, recipe, variants, repeats, folder, workers)
        found.write(run.folder / SWEEP)
        write_bytes(run.folder / SWEEP_PLOT, difference_plot(found).encode())
    return found


def evaluate_paper(run: Run, seeds: int | None = None, genders: Path | None = None) -> PaperRun:
    """Train the paper's conditions on the run's corpus and measure them; write ``paper.json``.

    Parameters
    ----------
    seeds
        Trainings of each condition, the paper's number by default.
    genders
        A table of speakers and their genders, for corpora that come without them.
    """
    from intervox.evaluation.protocols.genders import read_genders
    from intervox.evaluation.studies.paper import SEEDS
    from intervox.evaluation.studies.paper import evaluate_paper as evaluate_conditions
    from intervox.reporting.paper_tables import paper_tables

    known = read_genders(genders) if genders else {}
    run = _lightly(run)
    corpus, features = open_features(run)
    with logged(run, "paper"):
        waves, folder = open_waves(run, corpus), run.folder / "sweep"
        found = evaluate_conditions(
            corpus.cells,
            features,
            waves,
            _loader(run, None),
            run.recipe,
            seeds or SEEDS,
            folder,
            known,
            [run.folder / "model"],
            run.pool.workers or default_workers(),
        )
        found.write(run.folder / PAPER)
        write_paper_tables(run, paper_tables([found]))
    return found


def write_paper_tables(run: Run, tables: "Sequence[Table]") -> None:
    """Write the paper's tables beside ``paper.json``, as Markdown, LaTeX and CSV."""
    from intervox.tables import FORMATS

    for form, name in PAPER_TABLES.items():
        write_bytes(run.folder / name, f"{FORMATS[form](tables)}\n".encode())


def like_for_like(run: Run, seeds: int = 1, blocks: bool = True) -> LikeForLike:
    """Compare ways to subspaces on the run's corpus and backbone; write ``like_for_like.json``.

    Parameters
    ----------
    seeds
        Trainings of each way that is trained.
    blocks
        Whether to train the backbone's own blocks as well, which takes longer than all the rest.
    """
    from intervox.evaluation.baselines.peers import load_peer
    from intervox.evaluation.studies.like_for_like import PEER, compare_systems
    from intervox.evaluation.studies.sweep import held_out
    from intervox.features.waves import decode
    from intervox.model.files import DEFAULT
    from intervox.model.model import SubspaceModel

    run = _lightly(run)
    corpus, features = open_features(run)
    peers = [load_peer(PEER)] if find_spec(PEER) else []
    with logged(run, "like for like"):
        own = held_out(corpus)
        if own is None:
            raise IntervoxError(
                "layers are chosen on held-out cells, which this corpus lacks: set corpus.test.blocks"
            )
        load = _loader(run, own, peers)
        waves = decode(corpus, run.waves_folder) if blocks else None
        folder = run.folder / "sweep"
        finished = [run.folder / name for name in ("model", "model-maps")]
        packaged = SubspaceModel.from_pretrained(DEFAULT)
        found = compare_systems(
            corpus.cells,
            features,
            waves,
            load,
            run.recipe,
            seeds,
            folder,
            peers,
            finished,
            packaged,
            run.pool.workers or default_workers(),
        )
        found.write(run.folder / LIKE_FOR_LIKE)
    return found


STUDIES: dict[Study, Callable[[Run], object]] = {"paper": evaluate_paper, "like_for_like": like_for_like}
"""What a recipe's ``evaluation.studies`` names."""


def _lightly(run: Run) -> Run:
    """Leave out of the evaluation what no study measures."""
    from intervox.evaluation.studies.sweep import light

    return replace(run, recipe=run.recipe.model_copy(update={"evaluation": light(run.recipe.evaluation)}))


def _loader(run: Run, own: "Source | None", peers: "Sequence[Encoder]" = ()) -> "LoadTestSets":
    """Return what opens the test sets with a backbone's features; those of the corpus go by one name."""
    from intervox.evaluation.studies.sweep import HELD_OUT

    def load(backbone: "Backbone | None", frames: bool) -> "list[TestSet]":
        test_sets = open_test_sets(run, backbone, frames, own, peers)
        return [replace(test_sets[0], name=HELD_OUT), *test_sets[1:]] if own else test_sets

    return load
