"""The commands that take any recordings: ``embed`` and ``spot``."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intervox.cli.common import (
    ERROR,
    NO,
    YES,
    JsonLinesOption,
    ModelOption,
    StrictOption,
    complain,
    open_model,
    say,
    warn_of_one_example,
    watched,
    while_read,
)
from intervox.errors import IntervoxError

if TYPE_CHECKING:
    from intervox.applications.detections import Detection
    from intervox.applications.spotter import KeywordSpotter
    from intervox.interop.lists import NamedPath
    from intervox.interop.vectors import VectorWriter
    from intervox.metrics.vectors import Vectors

_SPEAKER = "speaker"
_MICROPHONE = "microphone"


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
    """Print one JSON line a clip and subspace, with the clip's vector, or write a file of vectors.

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


@while_read()
def spot(
    clips: Annotated[
        list[str] | None,
        typer.Argument(help="Recordings of any length, quoted patterns, or - for a pipe, heard as it comes."),
    ] = None,
    examples: Annotated[
        list[str] | None,
        typer.Option(help="A keyword's folder, a folder of such folders, or NAME=PATTERN; may be repeated."),
    ] = None,
    keywords: Annotated[
        Path | None, typer.Option(help="A file of `intervox enrol --keyword` instead.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=-1,
            max=1,
            help="Cosine from which on a keyword is heard.",
            show_default="calibrated",
        ),
    ] = None,
    people: Annotated[
        Path | None, typer.Option(help="A file of `intervox enrol`: say who of them speaks each keyword.")
    ] = None,
    speaker: Annotated[
        str | None, typer.Option(help="One of --people: count a keyword in this voice only.")
    ] = None,
    microphone: Annotated[
        bool, typer.Option("--microphone", help="Listen until Ctrl-C instead of reading clips.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Standard input is 16 kHz mono s16le, not a WAV file.")
    ] = False,
    model: ModelOption = None,
    strict: StrictOption = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Find keywords in recordings of any length, from examples of each.

    The exit code is 0 if something was found, 1 if nothing was, and 2 after an error. A recording in
    which nothing is found has its best score named on standard error, and with --json a line
    {"clip", "found": false, "threshold", "closest"}.

    \b
    intervox spot meeting.wav --examples words/yes --examples words/no
    intervox spot 'calls/*.wav' --examples help='recordings/help-*.wav' --json
    intervox spot --microphone --keywords words.safetensors
    intervox spot door.wav --examples words/open --people people.safetensors --speaker alice
    ffmpeg -i stream.mp3 -f wav - | intervox spot - --examples words
    """
    from intervox.applications.spotter import KeywordSpotter
    from intervox.applications.verifier import SpeakerVerifier
    from intervox.interop.clips import PIPE, expand
    from intervox.interop.clips import examples as find_examples

    if bool(examples) == (keywords is not None):
        raise IntervoxError("say what to listen for: --examples FOLDER, or --keywords FILE")
    if bool(clips) == microphone:
        raise IntervoxError("say where to listen: name recordings, - for a pipe, or --microphone")
    paths = [_MICROPHONE] if microphone else expand(clips or [])
    enrolled = find_examples(examples or [])
    spotter = KeywordSpotter.load(keywords, model) if keywords else KeywordSpotter(open_model(model))
    for name, files in enrolled.items():
        spotter.enrol(name, files)
        if len(files) == 1:
            warning = warn_of_one_example(spotter, name, files[0])
            if as_json:
                typer.echo(json.dumps({"keyword": name, "warning": warning}))
    if threshold is not None:
        spotter.threshold = threshold
    if speaker is not None and people is None:
        raise IntervoxError("--speaker is one of --people: give a file of `intervox enrol`")
    if people is not None:
        spotter.people, spotter.speaker = SpeakerVerifier.load(people, spotter.model_), speaker
    found = failed = False
    if raw and PIPE not in paths:
        raise IntervoxError("--raw says what comes through a pipe: give - as the recording")
    for path in paths:
        heard = False
        try:
            for detection in _detections(spotter, path, microphone, raw):
                found = heard = True
                say({"clip": path, **asdict(detection)}, f"{path}: {_said(detection)}", as_json)
            if not heard:
                _say_nothing(path, spotter, as_json)
        except IntervoxError as error:
            failed = True
            complain(path, error, as_json)
        except KeyboardInterrupt:
            if not microphone:
                raise
    raise typer.Exit(ERROR if failed else YES if found else NO)


def _said(found: "Detection") -> str:
    """Put a detection into words."""
    words = (
        f"{found.start:.2f}-{found.end:.2f} s  {found.keyword}  (cosine {found.score:.3f}, probability "
        f"{found.probability:.3f})"
    )
    if found.speaker is None or found.speaker_probability is None:
        return words
    return f"{words}, said by {found.speaker} (probability {found.speaker_probability:.3f})"


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


def _detections(spotter: "KeywordSpotter", path: str, microphone: bool, raw: bool) -> "Iterator[Detection]":
    from intervox.applications.live import microphone_chunks, piped_chunks
    from intervox.interop.clips import PIPE, open_clip

    if microphone:
        return spotter.stream(microphone_chunks())
    return spotter.stream(*piped_chunks(raw)) if path == PIPE else spotter.scan(open_clip(path))


def _say_nothing(clip: str, spotter: "KeywordSpotter", as_json: bool) -> None:
    """Say how far a recording without a detection is from one."""
    closest, threshold = spotter.closest_, spotter.scan_threshold_
    if as_json:
        about = asdict(closest) if closest else None
        typer.echo(json.dumps({"clip": clip, "found": False, "threshold": threshold, "closest": about}))
        return
    best = "it is silent"
    if closest:
        place = f"{closest.keyword} at {closest.start:.2f}-{closest.end:.2f} s"
        voice = f", said by {closest.speaker}" if closest.speaker else ""
        best = f"the best is {place}{voice} (cosine {closest.score:.3f}, threshold {threshold:.3f})"
    typer.echo(f"{clip}: nothing found; {best}", err=True)
