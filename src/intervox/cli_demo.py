"""The command ``intervox demo``: a page on which anyone tries a model."""

from typing import Annotated

import typer

from intervox.default_model import DEFAULT


def demo(
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="Folder or hub id of a refined model; default: the packaged one."),
    ] = DEFAULT,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other computers in.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 7860,
    megabytes: Annotated[float, typer.Option(min=0.1, help="Largest file that is taken.")] = 25.0,
    minutes: Annotated[float, typer.Option(min=0.1, help="Longest clip that is taken.")] = 10.0,
) -> None:
    """Show a page that compares two clips and finds a keyword, until Ctrl-C.

    Needs the extra `demo`. Clips stay on this machine; the page is seen from this machine alone
    unless --host says otherwise.
    """
    from intervox.demo.clips import Limits
    from intervox.demo.server import serve

    serve(model, host, port, Limits(megabytes, minutes), _announce)


def _announce(address: str) -> None:
    typer.echo(f"page: {address}  (Ctrl-C ends it)")
