"""The command ``intervox adapt``: train the backbone itself."""

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
