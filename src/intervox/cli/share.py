"""The command ``intervox export``: a folder for programs without Intervox, or for a hub."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intervox.model.loading import DEFAULT

if TYPE_CHECKING:
    from intervox.export import Exported


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


def export(
    model: Annotated[
        Path,
        typer.Option("--model", "-m", help="Folder or hub id of a refined model; default: the packaged one."),
    ] = Path(DEFAULT),
    out: Annotated[Path, typer.Option(help="Folder to write.", file_okay=False)] = Path("export"),
    int8: Annotated[
        bool, typer.Option("--int8", help="Also write a graph whose weights have eight bits.")
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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Write a model as ONNX, backbone included, with all that a program without Intervox needs.

    The graph is held to PyTorch on clips of 0.1 to 60 s, and not written where it differs.
    """
    from intervox.export import export_folder, push_folder
    from intervox.export.hub import check_repository
    from intervox.model.model import SubspaceModel

    if push_to_hub:
        check_repository(push_to_hub)
    exported = export_folder(SubspaceModel.from_pretrained(model), out, int8, clips or ())
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
    agreements = {"fp32": f"differs from PyTorch by {check.difference:.1g} at most"}
    if check.int8:
        cosines = ", ".join(f"{name} {one.lowest:.4f}" for name, one in check.int8.items())
        agreements["int8"] = f"lowest cosine to fp32: {cosines}"
    for precision, path in exported.files.items():
        typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {agreements[precision]}")
    typer.echo(
        f"checked on {check.clips} clips of {check.shortest:g} to {check.longest:g} s\n"
        f"try: python {exported.folder / 'example.py'} a.wav b.wav"
    )
