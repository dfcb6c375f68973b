"""Studies on the corpus of a run: variants, ingredients, the paper's evaluation, systems like for like."""

from pathlib import Path
from typing import Annotated

import typer

from intervox.cli.common import FolderOption, JsonOption, RecipeArgument, WorkersOption, show_found
from intervox.errors import IntervoxError
from intervox.parallel import Pool


def sweep(
    recipe: RecipeArgument,
    folder: FolderOption = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="FIELD=VALUE,VALUE,... such as loss.denominator=all,negatives; a field under subspaces, "
            "loss or training, or seed, backbone, or cells (a share, clean, COLUMN=VALUE). "
            "Repeated: the full crossing."
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Trainings of each variant.", show_default="the recipe's"),
    ] = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train variants of a recipe on the run's corpus and compare them with the recipe itself.

    The variants are those under `sweep:` in the recipe and those of --vary. Each is measured on the
    corpus' held-out cells and on the human corpora. Needs `synth` and `extract`; resumes an
    earlier call.
    """
    from intervox import studies
    from intervox.evaluation.results import SWEEP
    from intervox.reporting.study_tables import selection_sentence, sweep_tables
    from intervox.runs import SWEEP_PLOT, open_run

    opened = open_run(recipe, folder, Pool(workers))
    found = studies.sweep(opened, vary or (), seeds)
    show_found(found, sweep_tables(found), as_json)
    if not as_json:
        typer.echo(selection_sentence(found))
        typer.echo(f"sweep: {opened.folder / SWEEP}\nplot:  {opened.folder / SWEEP_PLOT}")


def ingredients(
    recipe: RecipeArgument = "standard", folder: FolderOption = None, as_json: JsonOption = False
) -> None:
    """Measure what each ingredient of a corpus buys: engines, mixtures, conditions, shape, amount.

    The subspaces are refined anew on parts of the corpus, of equal size within a comparison, and
    measured on the human corpora. Needs `synth` and `extract`; a minute per row.
    """
    from intervox import studies
    from intervox.evaluation.results import INGREDIENTS
    from intervox.reporting.study_tables import ingredient_tables
    from intervox.runs import open_run

    opened = open_run(recipe, folder)
    found = studies.compare_ingredients(opened)
    show_found(found, ingredient_tables(found), as_json)
    if not as_json:
        typer.echo(f"ingredients: {opened.folder / INGREDIENTS}")


def paper(
    recipes: Annotated[
        list[str] | None,
        typer.Argument(help="Recipes whose runs to evaluate, one for each backbone.", show_default="paper"),
    ] = None,
    folder: FolderOption = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Trainings of each condition.")] = 5,
    genders: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Table of speakers and genders (speaker,gender; SPEAKERS.TXT; vox1_meta.csv), for corpora "
            "that come without.",
        ),
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="Print markdown, latex or csv.", show_default="a table")
    ] = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the paper's two tables: no network, content only, speaker only, joint; its figures beside ours.

    Verification on VoxCeleb1's list where it is found, by gender where genders are known, and keywords by a
    linear head; each from the matching and from the other space. The tables are also written into the
    run's folder as paper.md, paper.tex and paper.csv. Needs `synth` and `extract`.
    """
    from intervox import studies
    from intervox.reporting.paper_tables import paper_tables
    from intervox.runs import open_run
    from intervox.tables import FORMATS

    asked = recipes or ["paper"]
    if folder is not None and len(asked) > 1:
        raise IntervoxError("--folder is of one run: leave it out with several recipes")
    if form is not None and form not in FORMATS:
        raise IntervoxError(f"there is no format {form!r}: choose from {', '.join(FORMATS)}")
    opened = [open_run(recipe, folder, Pool(workers)) for recipe in asked]
    found = [studies.evaluate_paper(run, seeds, genders) for run in opened]
    tables = paper_tables(found)
    for run in opened:
        studies.write_paper_tables(run, tables)
    if form and not as_json:
        typer.echo(FORMATS[form](tables))
    else:
        show_found(found, tables, as_json)


def like_for_like(
    recipe: RecipeArgument = "quickstart",
    folder: FolderOption = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Trainings of each way.")] = 1,
    blocks: Annotated[
        bool, typer.Option(help="Train the backbone's blocks as well: longer than all the rest.")
    ] = True,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare raw layers, LDA, the paper's network and Intervox on one corpus, backbone and recordings.

    Resemblyzer stands beside them where its extra is installed. Needs `synth` and `extract`; resumes.
    """
    from intervox import studies
    from intervox.evaluation.results import LIKE_FOR_LIKE
    from intervox.reporting.like_for_like_tables import like_for_like_tables
    from intervox.runs import open_run

    opened = open_run(recipe, folder, Pool(workers))
    found = studies.like_for_like(opened, seeds, blocks)
    show_found(found, like_for_like_tables(found), as_json)
    if not as_json:
        typer.echo(f"like for like: {opened.folder / LIKE_FOR_LIKE}")


def print_study(study: str, folder: Path) -> None:
    """Print the tables of a study that a run has just made."""
    from intervox.evaluation.results import LIKE_FOR_LIKE, PAPER, LikeForLike, PaperRun
    from intervox.reporting.like_for_like_tables import like_for_like_tables
    from intervox.reporting.paper_tables import paper_tables
    from intervox.tables import print_tables

    if study == "paper":
        print_tables(paper_tables([PaperRun.read(folder / PAPER)]))
    else:
        print_tables(like_for_like_tables(LikeForLike.read(folder / LIKE_FOR_LIKE)))
