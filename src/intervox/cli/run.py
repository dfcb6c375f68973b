"""The steps of a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intervox.cli.common import (
    FolderOption,
    JsonOption,
    ModelOption,
    RecipeArgument,
    WorkersOption,
    show_found,
)
from intervox.cli.studies import print_study
from intervox.errors import IntervoxError
from intervox.model.files import DEFAULT

if TYPE_CHECKING:
    from intervox.evaluation.results import Metrics

PoolOption = Annotated[
    str,
    typer.Option(
        "--engine-pool", help="Where speech is rendered, and on Ray encoded: processes, ray, ray://host:port."
    ),
]


def run(
    recipe: RecipeArgument = "quickstart",
    folder: FolderOption = None,
    workers: WorkersOption = None,
    engine_pool: PoolOption = "processes",
    as_json: JsonOption = False,
) -> None:
    """Synthesise, extract, refine, evaluate and report; resume an earlier call."""
    from intervox import pipeline
    from intervox.parallel import Pool
    from intervox.runs import open_run

    opened = open_run(recipe, folder, Pool(workers, engine_pool))
    _show_metrics(pipeline.run(opened), opened.folder, as_json)
    if not as_json:
        for study in opened.recipe.evaluation.studies:
            print_study(study, opened.folder)


def synth(
    recipe: RecipeArgument = "quickstart",
    folder: FolderOption = None,
    workers: WorkersOption = None,
    engine_pool: PoolOption = "processes",
) -> None:
    """Step 1: synthesise the interventional corpus."""
    from intervox import pipeline
    from intervox.parallel import Pool
    from intervox.runs import open_run

    corpus = pipeline.synth(open_run(recipe, folder, Pool(workers, engine_pool)))
    typer.echo(f"{corpus.clip_count:,} cells, {corpus.about.hours:.2f} hours in {corpus.folder}")


def extract(
    recipe: RecipeArgument = "quickstart",
    folder: FolderOption = None,
    workers: WorkersOption = None,
    engine_pool: PoolOption = "processes",
) -> None:
    """Step 2: cache the backbone's layer means of the corpus, and at depth `blocks` its audio."""
    from intervox import pipeline
    from intervox.parallel import Pool
    from intervox.runs import open_run

    opened = open_run(recipe, folder, Pool(workers, engine_pool))
    pipeline.extract(opened)
    typer.echo(f"features in {opened.folder / 'features'}")


def refine(recipe: RecipeArgument = "quickstart", folder: FolderOption = None) -> None:
    """Step 3: train the subspaces at the recipe's depth: map, frames or blocks."""
    from intervox import pipeline
    from intervox.runs import open_run

    opened = open_run(recipe, folder)
    pipeline.refine(opened)
    typer.echo(f"model in {opened.folder / 'model'}")


def evaluate(
    context: typer.Context,
    recipe: RecipeArgument = "quickstart",
    folder: FolderOption = None,
    workers: WorkersOption = None,
    engine_pool: PoolOption = "processes",
    manifest: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Measure a model on your own recordings instead of a run: a .csv, .jsonl or .parquet table "
            "with path, and speaker or content or both.",
        ),
    ] = None,
    model: ModelOption = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            help="Measure the vectors of this .npz file instead of a run's: embedding (clips, dim), with "
            "speaker and content, or with path to take the labels from the protocols."
        ),
    ] = None,
    protocols: Annotated[
        list[str] | None,
        typer.Option("--protocol", help="With --embeddings: an evaluation set; may be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Step 4: measure on held-out cells and human corpora, and write the report.

    With --manifest mine.csv, measure the packaged model, or --model, on your own recordings, in
    runs/mine. With --embeddings FILE.npz, measure vectors of your own, in runs/FILE.

    \b
    intervox evaluate quickstart
    intervox evaluate --manifest mine.csv
    intervox evaluate --manifest mine.csv --model runs/quickstart/model
    """
    _check_evaluated(context, recipe, manifest, model, embeddings, protocols)
    given = manifest or embeddings
    if given is None:
        from intervox import pipeline
        from intervox.parallel import Pool
        from intervox.runs import open_run

        opened = open_run(recipe, folder, Pool(workers, engine_pool))
        _show_metrics(pipeline.evaluate(opened), opened.folder, as_json)
        return
    from intervox.benchmarking import benchmark_embeddings, benchmark_model

    home = folder or Path("runs") / given.stem
    if manifest:
        metrics = benchmark_model(manifest, DEFAULT if model is None else model, home, workers=workers)
    else:
        metrics = benchmark_embeddings(given, home, protocols, workers=workers)
    _show_metrics(metrics, home, as_json)


def _check_evaluated(
    context: typer.Context,
    recipe: str,
    manifest: Path | None,
    model: str | None,
    embeddings: Path | None,
    protocols: list[str] | None,
) -> None:
    """Refuse options that say of more than one thing that it is to be measured."""
    if embeddings is None and protocols:
        raise IntervoxError("--protocol goes with --embeddings: name a run's in evaluation.protocols")
    if manifest is None and model is not None:
        raise IntervoxError("--model goes with --manifest: a run measures the model that it trained")
    if manifest and embeddings:
        raise IntervoxError("--manifest measures a model and --embeddings a file of vectors: choose one")
    source = context.get_parameter_source("recipe")
    if (manifest or embeddings) and source is not None and source.name != "DEFAULT":
        option = "--manifest" if manifest else "--embeddings"
        raise IntervoxError(f"{option} measures without a recipe: leave {recipe!r} out")


def _show_metrics(metrics: "Metrics", folder: Path, as_json: bool) -> None:
    from intervox.evaluation.results import METRICS
    from intervox.reporting import REPORT
    from intervox.reporting.tables import headline_tables

    show_found(metrics, headline_tables(metrics), as_json)
    if not as_json:
        for sentence in metrics.left_out:
            typer.echo(sentence)
        typer.echo(f"metrics: {folder / METRICS}\nreport:  {folder / REPORT}")
