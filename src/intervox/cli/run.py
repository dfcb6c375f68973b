"""The command ``intervox sweep``: train variants of a recipe on its corpus and compare them."""

import json
from pathlib import Path
from typing import Annotated

import typer


def adapt(
    recipe: Annotated[
        str, typer.Argument(help="A built-in recipe or the path of a .yaml file.")
    ] = "quickstart",
    folder: Annotated[
        Path | None,
        typer.Option("--folder", "-f", help="Where the run's files go.", show_default="runs/<recipe name>"),
    ] = None,
) -> None:
    """Adapt the backbone (LoRA) to the recipe's corpus; needs `synth`, `extract` and `refine`.

    Another recipe takes the result as its backbone: FOLDER/adapter.
    """
    from intervox import pipeline

    home = pipeline.adapt(pipeline.open_run(recipe, folder))
    typer.echo(f"adapter in {home}; train on it with `backbone: {home}` in a recipe of another name")


def sweep(
    recipe: Annotated[str, typer.Argument(help="A built-in recipe, such as paper, or a .yaml file.")],
    folder: Annotated[
        Path | None,
        typer.Option("--folder", "-f", help="Where the run's files are.", show_default="runs/<recipe name>"),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="FIELD=VALUE,VALUE,... such as loss.denominator=all,negatives; a field under subspaces, "
            "loss or training, or seed, or cells (clean, COLUMN=VALUE). Repeated: the full crossing."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Trainings of each variant.", show_default="the recipe's")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Train variants of a recipe on the run's corpus and compare them with the recipe itself.

    The variants are those under `sweep:` in the recipe and those of --vary. Each is measured on the
    corpus' held-out cells and on the human corpora. Needs `synth` and `extract`; goes on where an
    earlier call stopped.
    """
    from intervox import pipeline
    from intervox.evaluation.results import SWEEP
    from intervox.reporting.formats import print_tables
    from intervox.reporting.study_tables import selection_sentence, sweep_tables

    opened = pipeline.open_run(recipe, folder)
    found = pipeline.sweep(opened, vary or (), seeds).dump()
    if as_json:
        typer.echo(json.dumps(found))
        return
    print_tables(sweep_tables(found))
    typer.echo(selection_sentence(found))
    typer.echo(f"sweep: {opened.folder / SWEEP}\nplot:  {opened.folder / pipeline.SWEEP_PLOT}")
