"""The steps of a run in order, each in its folder: corpus, features, model, metrics, report.

Every step is keyed by what it depends on. A second run redoes only what changed; a killed run goes
on where it stopped.
"""

from importlib.util import find_spec

from intervox.clips.corpus import Corpus
from intervox.errors import missing_extra
from intervox.evaluation.results import Metrics
from intervox.parallel import default_workers
from intervox.runs import Run, extracted, logged, open_corpus, open_features, open_test_sets, open_waves
from intervox.storage import CARD, GENERATION, restore_text, stable_hash, write_bytes, write_json
from intervox.studies import STUDIES


def synth(run: Run) -> Corpus:
    """Audition the voices where the recipe asks for it, and synthesise its corpus."""
    from intervox.corpus.cost import check_corpus_fits
    from intervox.corpus.render.synthesis import synthesise
    from intervox.evaluation.protocols import check_protocols_are_kept

    recipe, seed = run.recipe.corpus, run.recipe.seed
    check_corpus_fits(recipe, run.folder / "corpus")
    check_protocols_are_kept(run.recipe)
    with logged(run, "synth") as record:
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

    corpus = open_corpus(run)
    with logged(run, "extract") as record:
        backbone = load_backbone(run.recipe.backbone)
        features = extracted(run, corpus, backbone, run.recipe.training.depth == "frames")
        if run.recipe.training.depth == "blocks":
            decode(corpus, run.waves_folder)
        write_json(run.folder / "features" / "current.json", {"fingerprint": backbone.fingerprint})
        record |= {"clips": len(features), "failed": len(features.errors)}


def refine(run: Run) -> None:
    """Train the subspaces, and the encoder beneath them where the recipe's depth says so."""
    from intervox.training.refine import refine as train

    corpus, features = open_features(run)
    with logged(run, "refine"):
        train(corpus.cells, features, run.recipe, run.folder / "model", open_waves(run, corpus))


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
    from intervox.training.refine import CHANGED_LATER, finished_training

    recipe, settings = run.recipe, run.recipe.evaluation
    corpus, features = open_features(run)
    model_folder = run.folder / "model"
    measured_on = protocols_key(find_protocols(settings.protocols, settings.max_clips))
    with logged(run, "evaluate"):
        step, training = finished_training(model_folder, features, recipe)
        of_recipe = recipe.model_dump(mode="json", exclude={"sweep"})
        key = stable_hash([GENERATION, training.key, corpus.key, of_recipe, measured_on])
        about = features.about
        backbone = MeasuredBackbone(name=about["backbone"], fingerprint=about["fingerprint"])
        if finished := finished_results(run.folder, key):
            restore_text(model_folder / CARD, lambda: model_card(finished, backbone, corpus.about))
            return finished
        forget_results(run.folder)
        model = SubspaceModel.from_pretrained(model_folder)
        peers = [load_peer(name) for name in settings.peers]
        own = held_out(corpus)
        test_sets = open_test_sets(run, model.own_backbone(), model.reads_frames, own, peers)
        of_own = extracted(run, corpus, model.own_backbone(), model.reads_frames)
        compared = compared_in_run(model, corpus, of_own, features, recipe, peers, run.folder / "baselines")
        workers = run.pool.workers or default_workers()
        found = measure(compared, test_sets, settings, workers, recipe.name, recipe.seed, backbone)
        model.calibration = calibrate(model, test_sets)
        model.measured = default_decisions(found)
        rooms = run.features_folder(about["fingerprint"])
        if own and model.content_space and (matching := matching_on_held_out(model, own, rooms)):
            model.matching = matching
        if references := draw_references(model, test_sets):
            model.references = references
        with step.changed(CHANGED_LATER) as folder:
            model.save_pretrained(folder)
            write_bytes(folder / CARD, model_card(found, backbone, corpus.about).encode())
        made = Made(recipe, corpus, model.layer_weights(), training.history)
        write_results(run.folder, found, compared, test_sets, made, settings.recordings)
        finish_results(run.folder, key)
    return found


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
