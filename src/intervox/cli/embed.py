"""The command that embeds any recordings."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intervox.cli.common import (
    ERROR,
    YES,
    JsonLinesOption,
    ModelOption,
    StrictOption,
    complain,
    open_model,
    say,
    watched,
    while_read,
)
from intervox.errors import IntervoxError

if TYPE_CHECKING:
    from intervox.interop.lists import NamedPath
    from intervox.interop.vectors import VectorWriter
    from intervox.metrics.vectors import Vectors

_SPEAKER = "speaker"


@while_read()
def embed(
    clips: Annotated[
        list[str] | None, typer.Argument(help="Audio files, quoted patterns, or - for standard input.")
    ] = None,
    space: Annotated[
        list[str] | None, typer.Option(help="Which subspace; may be repeated.", show_default=_SPEAKER)
    ] = None,
    model: ModelOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write: .npy, .npz, .jsonl, .parquet, or Kaldi's .ark, .scp, .txt."),
    ] = None,
    frames: Annotated[bool, typer.Option("--frames", help="Every frame instead of every clip.")] = False,
    from_list: Annotated[
        str | None,
        typer.Option("--list", help="File with one path per line, wav.scp or a manifest; - reads a pipe."),
    ] = None,
    strict: StrictOption = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Print one JSON object per clip and subspace, with the clip's vector, or write a file of vectors.

    A clip that can't be embedded is named on standard error and the others go on; the exit code is
    then 2. With --json there is also a line {"clip", "error"}.

    \b
    intervox embed a.wav b.wav
    intervox embed 'clips/**/*.wav' --space speaker --space content --out vectors.npz
    intervox embed --list data/train/wav.scp --out xvector.scp
    find . -name '*.flac' | intervox embed --list - | jq -c .clip
    ffmpeg -i talk.mp4 -f wav - | intervox embed -
    """
    from intervox.interop import open_writer
    from intervox.interop.clips import embed_clips

    named, total = _named(clips, from_list)
    loaded = open_model(model)
    spaces = list(dict.fromkeys(space or [_SPEAKER]))
    for name in spaces:
        loaded.check_space(name)
    dims = {name: loaded.dims[name] for name in spaces}
    with ExitStack() as stack:
        writer = stack.enter_context(open_writer(out, dims, frames)) if out else None
        found = watched(embed_clips(loaded, named, frames), total, "embedding", prints=out is None)
        good, failed = _put(found, writer, spaces, as_json)
        if not good + failed:
            raise IntervoxError(f"{from_list} lists no clips: write a path a line")
        if not good:
            raise typer.Exit(ERROR)
    if out:
        said = f"{good:,} clips in {out}" + (f", {failed:,} failed" if failed else "")
        say({"out": str(out), "clips": good, "failed": failed}, said, as_json)
    raise typer.Exit(ERROR if failed else YES)


def _named(clips: list[str] | None, from_list: str | None) -> "tuple[Iterable[NamedPath], int | None]":
    """Return names and paths of what is to be embedded, and how many where that is known."""
    from intervox.interop.clips import expand, listed

    if from_list is not None and clips:
        raise IntervoxError("both clips and --list are given: choose one")
    if from_list is not None:
        return listed(from_list)
    if not clips:
        raise IntervoxError("no clips are given: name some, or list them with --list")
    paths = expand(clips)
    return zip(paths, paths, strict=True), len(paths)


def _put(
    found: "Iterator[tuple[str, dict[str, Vectors] | IntervoxError, float]]",
    writer: "VectorWriter | None",
    spaces: list[str],
    as_json: bool,
) -> tuple[int, int]:
    """Write or print vectors as they come; return how many clips are embedded and how many failed."""
    from intervox.interop.tables import json_line

    good = failed = 0
    for clip, vectors, _ in found:
        try:
            if isinstance(vectors, IntervoxError):
                raise vectors
            if writer:
                writer.append(clip, vectors)
            else:
                for space in spaces:
                    typer.echo(json_line(clip, space, vectors[space]))
            good += 1
        except IntervoxError as error:
            failed += 1
            complain(clip, error, as_json)
            if writer:
                writer.skip(clip)
    return good, failed
