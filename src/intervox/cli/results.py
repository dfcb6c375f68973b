"""What comes of a run: its figures compared, listed and tabulated, its model exported and shown."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intervox.cli.common import JsonOption, ModelOption, show_found
from intervox.errors import IntervoxError
from intervox.model.files import DEFAULT

if TYPE_CHECKING:
    from intervox.export import Exported


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs; the first is the reference.")],
    out: Annotated[Path, typer.Option(help="Page to write.", dir_okay=False)] = Path("runs/compare.html"),
    as_json: JsonOption = False,
) -> None:
    """Put runs side by side, with paired differences on the trials that they share."""
    from intervox.reporting.compare import compare as compare_runs
    from intervox.reporting.compare import comparison_tables, write_comparison

    found = compare_runs(runs)
    write_comparison(out, found)
    show_found(found, comparison_tables(found), as_json)
    if not as_json:
        typer.echo(f"page: {out}")


def trials(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    protocol: Annotated[str, typer.Option(help="Evaluation set.")],
    condition: Annotated[str, typer.Option(help="clean or cross_condition.")] = "clean",
    stratum: Annotated[str | None, typer.Option(help="Such as different_text; all by default.")] = None,
    space: Annotated[str | None, typer.Option(help="Whose scores decide which errors are worst.")] = None,
    worst: Annotated[
        int | None,
        typer.Option(
            min=1, max=1_000_000, help="Only so many of the worst errors: half impostors, half targets."
        ),
    ] = None,
    csv: Annotated[Path, typer.Option(help="File to write.", dir_okay=False)] = Path("trials.csv"),
) -> None:
    """Write the trials behind a figure, with every score, as CSV."""
    from intervox.reporting.trials import select_trials, write_trials_csv

    table = select_trials(folder, protocol, condition, stratum, space, worst)
    write_trials_csv(csv, table)
    typer.echo(f"{table.num_rows:,} trials in {csv}")


def tables(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")] = Path("runs/quickstart"),
    into: Annotated[Path | None, typer.Option(help="Markdown file whose marked tables are replaced.")] = None,
    of: Annotated[
        str,
        typer.Option(
            help="metrics (the headlines), all (every table), ingredients, sweep, paper, like-for-like (its "
            "one table) or like-for-like-all."
        ),
    ] = "metrics",
    form: Annotated[str, typer.Option("--format", help="markdown, latex or csv.")] = "markdown",
) -> None:
    """Print the tables of a finished run in Markdown, LaTeX or CSV, or write them into a Markdown file."""
    from intervox.evaluation.results import (
        INGREDIENTS,
        LIKE_FOR_LIKE,
        METRICS,
        PAPER,
        SWEEP,
        Ingredients,
        LikeForLike,
        Metrics,
        PaperRun,
        Sweep,
    )
    from intervox.reporting.like_for_like_tables import like_for_like_tables, summary_table
    from intervox.reporting.paper_tables import paper_tables
    from intervox.reporting.study_tables import ingredient_tables, sweep_tables
    from intervox.reporting.tables import headline_tables, metric_tables
    from intervox.tables import FORMATS, insert_markdown

    known = {
        "metrics": lambda: headline_tables(Metrics.read(folder / METRICS)),
        "all": lambda: metric_tables(Metrics.read(folder / METRICS)),
        "ingredients": lambda: ingredient_tables(Ingredients.read(folder / INGREDIENTS)),
        "sweep": lambda: sweep_tables(Sweep.read(folder / SWEEP)),
        "paper": lambda: paper_tables([PaperRun.read(folder / PAPER)]),
        "like-for-like": lambda: [summary_table(LikeForLike.read(folder / LIKE_FOR_LIKE))],
        "like-for-like-all": lambda: like_for_like_tables(LikeForLike.read(folder / LIKE_FOR_LIKE)),
    }
    for what, given, choices in (("set of tables", of, known), ("format", form, FORMATS)):
        if given not in choices:
            raise IntervoxError(f"there is no {what} {given!r}: choose from {', '.join(choices)}")
    if into is not None and form != "markdown":
        raise IntervoxError(f"--into writes Markdown: print {form} without it")
    built = known[of]()
    if into is None:
        typer.echo(FORMATS[form](built))
    else:
        insert_markdown(into, built)


def demo(
    model: ModelOption = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other computers in.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 7860,
    megabytes: Annotated[float, typer.Option(min=0.1, max=1000, help="Largest file that is taken.")] = 25.0,
    minutes: Annotated[float, typer.Option(min=0.1, max=600, help="Longest clip that is taken.")] = 10.0,
) -> None:
    """Show a page that compares two clips and finds a keyword, until Ctrl-C.

    Needs the extra `demo`. Clips stay on this machine; the page is seen from this machine alone
    unless --host says otherwise.
    """
    import intervox.demo.page  # noqa: F401 - first: it says where Gradio is missing
    from intervox.demo.server import serve
    from intervox.demo.visitors import Limits

    serve(
        DEFAULT if model is None else model,
        host,
        port,
        Limits(megabytes, minutes),
        announce=lambda address: typer.echo(f"page: {address}  (Ctrl-C ends it)"),
    )


def export(
    model: ModelOption = None,
    out: Annotated[Path, typer.Option(help="Folder to write.", file_okay=False)] = Path("export"),
    int8: Annotated[
        bool, typer.Option("--int8", help="Weights of eight bits: a third as large, faster, only close.")
    ] = False,
    clips: Annotated[
        list[str] | None,
        typer.Option("--clip", help="Audio file to check the graphs on as well; may be repeated."),
    ] = None,
    push_to_hub: Annotated[
        str | None,
        typer.Option(
            metavar="USER/NAME", help="Upload the folder to this repository; needs `hf auth login`."
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="With --push-to-hub: a repository that is made is private.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a model as ONNX, backbone included, with all that a program without Intervox needs.

    The graph is held to PyTorch on clips of 0.1 to 60 s, and not written where it differs.
    """
    from intervox.export import export_folder, push_folder
    from intervox.export.folder import check_repository
    from intervox.model.model import SubspaceModel

    if push_to_hub:
        check_repository(push_to_hub)
    exported = export_folder(
        SubspaceModel.from_pretrained(model or DEFAULT), out, "int8" if int8 else "fp32", clips or ()
    )
    if not as_json:
        _show(exported)
    address = push_folder(exported.folder, push_to_hub, private or None) if push_to_hub else None
    if as_json:
        found = {"folder": str(exported.folder), "hub": address, **asdict(exported.check)}
        typer.echo(json.dumps(found))
    elif address:
        typer.echo(f"uploaded to {address}")


def _show(exported: "Exported") -> None:
    check = exported.check
    typer.echo(f"{exported.graph}: {exported.graph.stat().st_size / 1e6:.1f} MB, {check.said()}")
    typer.echo(
        f"checked on {check.clips} clips of {check.shortest:g} to {check.longest:g} s\n"
        f"try: python {exported.folder / 'example.py'} a.wav b.wav"
    )
