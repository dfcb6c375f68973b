"""What commands share: options, exit codes, and how results and errors are printed."""

import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from intervox.errors import IntervoxError, IntervoxWarning
from intervox.model.files import DEFAULT

if TYPE_CHECKING:
    from intervox.applications.spotter import KeywordSpotter
    from intervox.audio import AudioSource
    from intervox.model.embedder import Embedder
    from intervox.tables import Table

_RECIPES = sorted(file.stem for file in Path(__file__).parents[1].glob("recipe/builtin/*.yaml"))
"""Those of ``intervox.recipe.names``, which costs too much to import for every command."""

RecipeArgument = Annotated[
    str, typer.Argument(help=f"A built-in recipe ({', '.join(_RECIPES)}) or the path of a .yaml file.")
]
FolderOption = Annotated[
    Path | None,
    typer.Option("--folder", "-f", help="Folder of the run.", show_default="runs/<recipe name>"),
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", "-w", min=1, max=1024, help="Processes.", show_default="one per core"),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="Folder or hub id of a refined model.", show_default="the packaged one"
    ),
]


def _refuse_what_is_warned_of(strict: bool) -> bool:
    if strict:
        warnings.simplefilter("error", IntervoxWarning)
    return strict


StrictOption = Annotated[
    bool,
    typer.Option(
        "--strict",
        callback=_refuse_what_is_warned_of,
        help="Refuse what is otherwise only warned of, such as files that end early.",
    ),
]
"""Its callback does what it says: a command takes it as a parameter and has nothing to do with it."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
JsonLinesOption = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]

Item = TypeVar("Item")


YES, NO, ERROR = 0, 1, 2
"""Exit codes."""

_SIGPIPE = 141
"""What a shell reports of a process that ended because nobody read its output."""

_MANY = 10
"""The fewest items that are worth a progress bar."""


def help_without_command(context: typer.Context) -> None:
    """Print the help of a group of commands where none of them is named."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


def open_model(name: str | None) -> "Embedder":
    """Load the model that ``--model`` names, or the packaged one."""
    from intervox.model.loading import load_model

    return load_model(DEFAULT if name is None else name)


@contextmanager
def while_read() -> Iterator[None]:
    """End quietly when whoever reads standard output has had enough, as ``head`` does."""
    try:
        yield
    except BrokenPipeError:
        # Python flushes it once more while ending.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_SIGPIPE) from None


def show_found(found: Any, tables: "Sequence[Table]", as_json: bool) -> None:
    """Print a result whole, dataclasses and models alike: as JSON, or as tables."""
    if as_json:
        from pydantic_core import to_json

        typer.echo(to_json(found, by_alias=True).decode())
    else:
        from intervox.tables import print_tables

        print_tables(tables)


def say(record: dict[str, Any], text: str, as_json: bool) -> None:
    """Print a result at once, as a JSON line or as text."""
    typer.echo(json.dumps(record) if as_json else text)


def complain(clip: str, error: IntervoxError, as_json: bool) -> None:
    """Print what is wrong with one clip of many on standard error, as a JSON line also among the results."""
    typer.echo(f"error: {error}", err=True)
    if as_json:
        typer.echo(json.dumps({"clip": clip, "error": str(error)}))


def warn_of_one_example(spotter: "KeywordSpotter", keyword: str, example: "AudioSource") -> str:
    """Print on standard error, and return, what it costs that a keyword has this example alone."""
    from intervox.applications.stability import WEAK_STABILITY

    stability = spotter.stability(example)
    weak = (
        f", and a weak one: slight cuts and noise change it much (stability {stability:.2f}, below "
        f"{WEAK_STABILITY:.2f}), and such examples find half of what others do"
        if stability < WEAK_STABILITY
        else ""
    )
    sentence = (
        f"only one example of {keyword!r}{weak}: add two more, by other people; three find 1.3 to 1.6 "
        "times as many as one"
    )
    typer.echo(f"warning: {sentence}", err=True)
    return sentence


def watched(
    items: Iterable[Item], total: int | None, description: str, prints: bool = True
) -> Iterator[Item]:
    """Pass items on under a progress bar, if there are many and a bar would disturb nobody.

    Parameters
    ----------
    total
        None where it is not known.
    prints
        Whether results go to standard output, which may be the same terminal.
    """
    if not sys.stderr.isatty() or (prints and sys.stdout.isatty()) or (total or 0) < _MANY:
        yield from items
        return
    from intervox.progress import progress_bar

    with progress_bar(description, total or 0, "clips") as bar:
        for item in items:
            yield item
            bar.advance(1)
