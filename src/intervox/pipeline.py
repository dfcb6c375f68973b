"""The steps of a run in order, each in its folder: corpus, features, model, metrics, report.

Every step is keyed by what it depends on. A second run redoes only what changed; a killed run goes
on where it stopped.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intervox.clips.corpus import Corpus
from intervox.errors import IntervoxError, missing_extra
from intervox.evaluation.results import (
    INGREDIENTS,
    LIKE_FOR_LIKE,
    PAPER,
    SWEEP,
    Ingredients,
    LikeForLike,
    Metrics,
    PaperRun,
    Sweep,
)
from intervox.parallel import Pool, default_workers
from intervox.recipe import Recipe, Study, dump_recipe, load_recipe
from intervox.storage import GENERATION, read_json, stable_hash, write_bytes, write_json

if TYPE_CHECKING:
    from intervox.backbones.base import Backbone
    from intervox.evaluation.loading import Source
    from intervox.evaluation.test_sets import TestSet
    from intervox.features.encoding import Encoder
    from intervox.features.store import Features
    from intervox.features.waves import Waves
    from intervox.tables import Table

SWEEP_PLOT = "sweep.svg"
PAPER_TABLES = {"markdown": "paper.md", "latex": "paper.tex", "csv": "paper.csv"}
"""Format to the file that has the paper's tables in it."""


@dataclass(frozen=True)
class Run:
    """A recipe and the folder that its results go to.

    Attributes
    ----------
    recipe
        What to do.
    folder
        ``corpus/``, ``features/``, ``model/``, ``metrics.json``, ``report.html`` and ``log.jsonl``
        are written here.
    pool
        Where synthesis runs, and on Ray what is encoded; its workers also share the measuring.
    """

    recipe: Recipe
    folder: Path
    pool: Pool = field(default_factory=Pool)

    def features_folder(self, fingerprint: str) -> Path:
        """Where the features of a backbone with this fingerprint are cached."""
        return self.folder / "features" / fingerprint

    @property
    def waves_folder(self) -> Path:
        """Where the corpus' audio is kept for training at depth ``blocks``."""
        return self.folder / "features" / "waves"


def open_run(source: str | Path, folder: Path | None = None, pool: Pool | None = None) -> Run:
    """Read a recipe and write it, with every default spelled out, into the run's folder.

    Parameters
    ----------
    source
        Name of a built-in recipe or path of a YAML file.
    folder
        By default ``runs/<recipe name>``.
    """
    from intervox.reporting.results import forget_results

    recipe = load_recipe(source)
    run = Run(recipe, folder or Path("runs") / recipe.name, pool or Pool())
    written = run.folder / "recipe.yaml"
    text = dump_recipe(recipe).encode()
    if not written.exists() or written.read_bytes() != text:
        # Results of another recipe must not lie beside this one as if they were its own.
        forget_results(run.folder)
        for name in (INGREDIENTS, SWEEP, SWEEP_PLOT, PAPER, *PAPER_TABLES.values(), LIKE_FOR_LIKE):
            (run.folder / name).unlink(missing_ok=True)
        write_bytes(written, text)
    return run


def synth(run: Run) -> Corpus:
    """Audition the voices where the recipe asks for it, and synthesise its corpus."""
    from intervox.corpus.cost import check_corpus_fits
    from intervox.corpus.render.synthesis import synthesise
    from intervox.evaluation.protocols import check_protocols_are_kept

    recipe, seed = run.recipe.corpus, run.recipe.seed
    check_corpus_fits(recipe, run.folder / "corpus")
    check_protocols_are_kept(run.recipe)
    with _logged(run, "synth") as record:
        cast = None
        if recipe.casting:
            from intervox.corpus.casting import cast_voices

            cast = cast_voices(recipe, seed, run.folder / "casting", run.pool)
        corpus = synthesise(recipe, seed, run.folder / "corpus", run.pool, cast)
        record |= {"cells": corpus.clip_count, "hours": corpus.about.hours}
    return corpus


def extract(run: Run) -> None:
    """Cache the backbone's features of the corpus, and its audio where the encoder will be trained."""
    from intervox.backbones.load import load_backbone
    from intervox.features.waves import decode

    corpus = _corpus(run)
    with _logged(run, "extract") as record:
        backbone = load_backbone(run.recipe.backbone)
        features = _extracted(run, corpus, backbone)
        if run.recipe.training.depth == "blocks":
            decode(corpus, run.waves_folder)
        write_json(run.folder / "features" / "current.json", {"fingerprint": backbone.fingerprint})
        record |= {"clips": len(features), "failed": len(features.errors)}


def refine(run: Run) -> None:
    """Train the subspaces, and the encoder beneath them where the recipe's depth says so."""
    from intervox.training.refine import refine as train

    corpus, features = _corpus_and_features(run)
    with _logged(run, "refine"):
        train(corpus.cells, features, run.recipe, run.folder / "model", _waves(run, corpus))


def evaluate(run: Run) -> Metrics:
    """Measure on held-out cells and human corpora; write ``metrics.json`` and ``report.html``.

    Where nothing has changed since, what an earlier call measured is returned.
    """
    from intervox.evaluation.baselines.peers import load_peer
    from intervox.evaluation.evaluate import measure
    from intervox.evaluation.findings import Backbone as MeasuredBackbone
    from intervox.evaluation.loading import held_out, protocols_key
    from intervox.evaluation.matching import matching_on_held_out
    from intervox.evaluation.protocols import find_protocols
    from intervox.evaluation.systems import calibrate, compared_in_run, default_decisions, draw_references
    from intervox.model.model import SubspaceModel
    from intervox.reporting.report import Made
    from intervox.reporting.results import (
        finish_results,
        finished_results,
        forget_results,
        model_card,
        write_results,
    )
    from intervox.training.refine import training_record

    recipe, settings = run.recipe, run.recipe.evaluation
    corpus, features = _corpus_and_features(run)
    model_folder = run.folder / "model"
    training = training_record(model_folder, features, recipe)
    measured_on = protocols_key(find_protocols(settings.protocols, settings.max_clips))
    key = stable_hash([GENERATION, training.key, corpus.key, recipe.model_dump(mode="json"), measured_on])
    with _logged(run, "evaluate"):
        if finished := finished_results(run.folder, key):
            return finished
        forget_results(run.folder)
        model = SubspaceModel.from_pretrained(model_folder)
        peers = [load_peer(name) for name in settings.peers]
        own = held_out(corpus)
        test_sets = _test_sets(run, model.own_backbone(), own, peers)
        of_own = _extracted(run, corpus, model.own_backbone())
        compared = compared_in_run(model, corpus, of_own, features, recipe, peers, run.folder / "baselines")
        about = features.about
        backbone = MeasuredBackbone(name=about["backbone"], fingerprint=about["fingerprint"])
        workers = run.pool.workers or default_workers()
        found = measure(compared, test_sets, settings, workers, recipe.name, recipe.seed, backbone)
        model.calibration = calibrate(model, test_sets)
        model.measured = default_decisions(found)
        rooms = run.features_folder(about["fingerprint"])
        if own and model.content_space and (matching := matching_on_held_out(model, own, rooms)):
            model.matching = matching
        if references := draw_references(model, test_sets):
            model.references = references
        model.save_pretrained(model_folder)
        write_bytes(model_folder / "README.md", model_card(found, backbone, corpus.about).encode())
        made = Made(recipe, corpus, model.layer_weights(), training.history)
        write_results(run.folder, found, compared, test_sets, made, settings.recordings)
        finish_results(run.folder, key)
    return found


def _test_sets(
    run: Run, trained: "Backbone | None", own: "Source | None", peers: "Sequence[Encoder]" = ()
) -> "list[TestSet]":
    """Extract what is evaluated: held-out cells where there are any, then the protocols.

    Parameters
    ----------
    trained
        The measured model's backbone; without, it is the recipe's.
    """
    from intervox.backbones.load import load_backbone
    from intervox.evaluation.loading import load_test_sets, sources
    from intervox.evaluation.protocols import find_protocols
    from intervox.evaluation.representations import BACKBONE, FROZEN

    recipe, settings = run.recipe, run.recipe.evaluation
    frozen = load_backbone(recipe.backbone)
    encoders: dict[str, Backbone | Encoder] = {BACKBONE: trained or frozen, FROZEN: frozen}
    encoders |= {peer.name: peer for peer in peers}
    found = [*([own] if own else []), *sources(find_protocols(settings.protocols, settings.max_clips))]
    features = run.folder / "features"
    frames = recipe.reads_frames
    return load_test_sets(found, encoders, settings, recipe.features, features, frames, run.pool)


def compare_ingredients(run: Run) -> Ingredients:
    """Measure what each ingredient of the run's corpus buys; write ``ingredients.json``."""
    from intervox.evaluation.studies.ingredients import compare_ingredients as compare

    corpus, features = _corpus_and_features(run)
    with _logged(run, "ingredients"):
        found = compare(corpus, features, _test_sets(run, None, None), run.recipe, run.folder / "ingredients")
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
    from intervox.evaluation.studies.sweep import HELD_OUT, compare_variants, held_out, light
    from intervox.evaluation.studies.variants import choose_variants, parse_vary
    from intervox.features.waves import decode
    from intervox.reporting.study_figures import difference_plot

    recipe = run.recipe.model_copy(update={"evaluation": light(run.recipe.evaluation)})
    corpus, features = _corpus_and_features(run)
    repeats = seeds or recipe.sweep.seeds
    variants = choose_variants(recipe, corpus.cells, features, parse_vary(vary), repeats)
    with _logged(run, "sweep"):
        own = held_out(corpus)

        def load(trained: "Backbone | None") -> "list[TestSet]":
            test_sets = _test_sets(replace(run, recipe=recipe), trained, own)
            return [replace(test_sets[0], name=HELD_OUT), *test_sets[1:]] if own else test_sets

        audible = any(variant.recipe.training.depth == "blocks" for variant in variants)
        waves = decode(corpus, run.waves_folder) if audible else None
        folder = run.folder / "sweep"
        found = compare_variants(corpus.cells, features, waves, load, recipe, variants, repeats, folder)
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
    from intervox.evaluation.studies.sweep import light
    from intervox.reporting.paper_tables import paper_tables

    known = read_genders(genders) if genders else {}
    recipe = run.recipe.model_copy(update={"evaluation": light(run.recipe.evaluation)})
    corpus, features = _corpus_and_features(run)

    def load(trained: "Backbone | None") -> "list[TestSet]":
        return _test_sets(replace(run, recipe=recipe), trained, None)

    with _logged(run, "paper"):
        waves, folder = _waves(run, corpus), run.folder / "sweep"
        found = evaluate_conditions(
            corpus.cells, features, waves, load, recipe, seeds or SEEDS, folder, known
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
    from intervox.evaluation.studies.sweep import HELD_OUT, held_out, light
    from intervox.features.waves import decode
    from intervox.model.files import DEFAULT
    from intervox.model.model import SubspaceModel

    recipe = run.recipe.model_copy(update={"evaluation": light(run.recipe.evaluation)})
    corpus, features = _corpus_and_features(run)
    peers = [load_peer(PEER)] if find_spec(PEER) else []
    with _logged(run, "like for like"):
        own = held_out(corpus)
        if own is None:
            raise IntervoxError(
                "layers are chosen on held-out cells, which this corpus lacks: set corpus.test.blocks"
            )

        def load(trained: "Backbone | None") -> "list[TestSet]":
            first, *others = _test_sets(replace(run, recipe=recipe), trained, own, peers)
            return [replace(first, name=HELD_OUT), *others]

        waves = decode(corpus, run.waves_folder) if blocks else None
        folder = run.folder / "sweep"
        finished = [run.folder / name for name in ("model", "model-maps")]
        packaged = SubspaceModel.from_pretrained(DEFAULT)
        found = compare_systems(
            corpus.cells, features, waves, load, recipe, seeds, folder, peers, finished, packaged
        )
        found.write(run.folder / LIKE_FOR_LIKE)
    return found


STUDIES: dict[Study, Callable[[Run], object]] = {"paper": evaluate_paper, "like_for_like": like_for_like}
"""What a recipe's ``evaluation.studies`` names."""


def run(run: Run) -> Metrics:
    """Do every step that is not done yet and return the metrics.

    What the later steps are told is looked at first: a mistake there must not show after the synthesis.
    """
    from intervox.evaluation.baselines.peers import load_peer
    from intervox.evaluation.protocols import find_protocols
    from intervox.training.refine import check_training

    settings = run.recipe.evaluation
    find_protocols(settings.protocols, settings.max_clips)
    for name in settings.peers:
        load_peer(name)
    if "leace" in settings.baselines and find_spec("concept_erasure") is None:
        raise missing_extra("concept-erasure", "baselines", "the baseline leace")
    check_training(run.recipe)
    synth(run)
    extract(run)
    refine(run)
    metrics = evaluate(run)
    for study in settings.studies:
        STUDIES[study](run)
    return metrics


def _extracted(run: Run, corpus: Corpus, backbone: "Backbone") -> "Features":
    """Cache what a backbone makes of the corpus, or read it from an earlier call."""
    from intervox.features.extraction import extract as extract_features

    folder = run.features_folder(backbone.fingerprint) / "corpus"
    # At depth ``blocks`` it is the trained backbone's frames that maps pool, in training from the audio.
    moved = backbone.name != run.recipe.backbone
    frames = run.recipe.reads_frames and (moved or run.recipe.training.depth == "frames")
    return extract_features(corpus, backbone, run.recipe.features, folder, "extracting", frames, run.pool)


def _waves(run: Run, corpus: Corpus) -> "Waves | None":
    """Open the corpus' audio where the recipe trains from it."""
    from intervox.features.waves import Waves

    return Waves.of(corpus, run.waves_folder) if run.recipe.training.depth == "blocks" else None


def _corpus(run: Run) -> Corpus:
    """Open the run's corpus, if it is that of the recipe."""
    from intervox.corpus.render.synthesis import corpus_key

    corpus = Corpus(run.folder / "corpus")
    if corpus.key != corpus_key(run.recipe.corpus, run.recipe.seed):
        raise IntervoxError(f"{corpus.folder} was made by another recipe: run `intervox synth` first")
    return corpus


def _corpus_and_features(run: Run) -> tuple[Corpus, "Features"]:
    """Open the run's corpus and the features of just this corpus and the recipe's backbone."""
    from intervox.features.store import Features

    corpus = _corpus(run)
    current = run.folder / "features" / "current.json"
    if not current.exists():
        raise IntervoxError(f"{run.folder / 'features'} is empty: run `intervox extract` first")
    features = Features(run.features_folder(read_json(current)["fingerprint"]) / "corpus")
    found = [features.about[name] for name in ("source", "backbone", "window_seconds")]
    if found != [corpus.key, run.recipe.backbone, run.recipe.features.window_seconds]:
        raise IntervoxError(
            f"{run.folder / 'features'} are of another corpus or backbone: run `intervox extract` first"
        )
    if run.recipe.training.depth == "frames" and not features.has_frames:
        raise IntervoxError(
            f"{run.folder / 'features'} lack the frames that the recipe reads: run `intervox extract` first"
        )
    return corpus, features


@contextmanager
def _logged(run: Run, step: str) -> Iterator[dict[str, Any]]:
    """Append what a step did and how long it took to ``log.jsonl``."""
    record: dict[str, Any] = {"step": step, "started": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    begun = time.monotonic()
    try:
        yield record
    except BaseException as error:
        record["failed"] = type(error).__name__
        raise
    finally:
        record["seconds"] = round(time.monotonic() - begun, 1)
        # One of several processes writes. A log that can't be written must not hide why the step failed.
        if os.environ.get("RANK", "0") == "0":
            with suppress(OSError), (run.folder / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
