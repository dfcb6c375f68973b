"""The commands that use a model: ``embed``, ``verify``, ``enrol`` and ``spot``."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intervox.cli.output import (
    ERROR,
    NO,
    YES,
    complain,
    enrolled_reference,
    figures,
    heard_reference,
    say,
    watched,
    while_read,
)
from intervox.errors import IntervoxError
from intervox.model.loading import DEFAULT

if TYPE_CHECKING:
    from intervox.applications.enrolled import Enrolled
    from intervox.applications.spotter import Detection, KeywordSpotter
    from intervox.interop.arrays import Vectors
    from intervox.interop.clips import Clip
    from intervox.interop.vectors import VectorWriter
    from intervox.model.model import SubspaceModel

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="Folder or hub id of a refined model.", show_default="the packaged one"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print a JSON line a result.")]

_SPEAKER = "speaker"
_ENROLLED = ".safetensors"
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
        typer.Option("--list", help="File of paths, one a line, or wav.scp; - reads them from a pipe."),
    ] = None,
    as_json: JsonOption = False,
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
    loaded = _load(model)
    spaces = list(dict.fromkeys(space or [_SPEAKER]))
    for name in spaces:
        loaded.check_space(name)
    dims = {name: loaded.subspace(name).settings.dim for name in spaces}
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
def verify(
    reference: Annotated[
        str, typer.Argument(help="Audio file of the known speaker, or a file of `intervox enrol`.")
    ],
    clips: Annotated[list[str], typer.Argument(help="Audio files to compare, quoted patterns, or -.")],
    speaker: Annotated[
        str | None, typer.Option(help="Which of the enrolled speakers.", show_default="the only one")
    ] = None,
    false_accept_rate: Annotated[
        float | None,
        typer.Option(
            help="Share of strangers that may pass, measured on synthetic voices; such as 0.01.",
            show_default="decide at even odds",
        ),
    ] = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say of each clip whether it has the speaker of a reference: score, probability and decision.

    The exit code is 0 if all clips do, 1 if some do not, and 2 after an error.

    \b
    intervox verify a.wav b.wav
    intervox verify people.safetensors 'inbox/*.wav' --speaker alice --json
    intervox verify alice.wav new.wav --false-accept-rate 0.01 && echo "welcome, alice"
    """
    from intervox.interop.clips import embed_clips, expand

    paths = expand(clips)
    reference = _one(reference)
    if Path(reference).suffix == _ENROLLED:
        known = enrolled_reference(Path(reference), speaker, model, false_accept_rate)
        found = embed_clips(known.model, zip(paths, paths, strict=True))
    elif speaker is None:
        # In one go with the clips: one call of the backbone for two of them.
        together = [reference, *paths]
        loaded = _load(model)
        found = embed_clips(loaded, zip(together, together, strict=True))
        known = heard_reference(reference, loaded, next(found)[1], false_accept_rate)
    else:
        raise IntervoxError(f"--speaker goes with a file of `intervox enrol`: {reference} has no names")
    code = YES
    for clip, vectors in watched(found, len(paths), "comparing"):
        if isinstance(vectors, IntervoxError):
            complain(clip, vectors, as_json)
            code = ERROR
            continue
        score, probability, same = known.compare(vectors)
        code = max(code, YES if same else NO)
        record = {"score": round(score, 5), "probability": round(probability, 5), "same": same}
        said = f"{clip}: {'same' if same else 'different'} speaker  {figures(score, probability)}"
        say({"clip": clip, "reference": known.name} | record, said, as_json)
    raise typer.Exit(code)


@while_read()
def enrol(
    name: Annotated[str, typer.Argument(help="Of the person or keyword.")],
    clips: Annotated[list[str], typer.Argument(help="Audio files, quoted patterns, or -.")],
    into: Annotated[Path, typer.Option(help="File of names, .safetensors, to make or add to.")],
    keyword: Annotated[
        bool, typer.Option("--keyword", help="Enrol a keyword for `intervox spot`, not a speaker.")
    ] = False,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enrol a speaker, or a keyword, from clips: one is enough, three are better.

    The file keeps vectors, not sound. A name that is there already gets further examples. If a clip
    can't be embedded, the file stays as it was.

    \b
    intervox enrol alice alice-*.wav --into people.safetensors
    intervox verify people.safetensors new.wav --speaker alice
    intervox enrol --keyword yes 'yes/*.wav' --into words.safetensors
    """
    from filelock import FileLock

    from intervox.interop.clips import expand, open_clip

    if into.suffix != _ENROLLED:
        raise IntervoxError(f"{into} is no file of names: let it end in {_ENROLLED}")
    paths = expand(clips)
    kind = _kind(keyword)
    into.parent.mkdir(parents=True, exist_ok=True)
    # Two that enrol into one file at a time take turns: neither loses what the other adds.
    with FileLock(into.with_name(f".{into.name}.lock")):
        enrolled = kind.load(into, model) if into.exists() else kind(_name(model))
        enrolled.enrol(name, map(open_clip, watched(paths, len(paths), "enrolling")))
        enrolled.save(into)
    names, examples = enrolled.classes_.tolist(), enrolled.counts_[name]
    say(
        {"name": name, "examples": examples, "names": names, "into": str(into)},
        f"{name}: {examples} examples; {into} knows {', '.join(names)}",
        as_json,
    )


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
            min=-1, max=1, help="Cosine from which on a keyword is heard.", show_default="calibrated"
        ),
    ] = None,
    microphone: Annotated[
        bool, typer.Option("--microphone", help="Listen until Ctrl-C instead of reading clips.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Standard input is 16 kHz mono s16le, not a WAV file.")
    ] = False,
    model: ModelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find keywords in recordings of any length, from examples of each.

    The exit code is 0 if something was found, 1 if nothing was, and 2 after an error.

    \b
    intervox spot meeting.wav --examples words/yes --examples words/no
    intervox spot 'calls/*.wav' --examples help='recordings/help-*.wav' --json
    intervox spot --microphone --keywords words.safetensors
    ffmpeg -i stream.mp3 -f wav - | intervox spot - --examples words
    """
    from intervox.interop.clips import PIPE, expand
    from intervox.interop.clips import examples as find_examples

    if bool(examples) == (keywords is not None):
        raise IntervoxError("say what to listen for: --examples FOLDER, or --keywords FILE")
    if bool(clips) == microphone:
        raise IntervoxError("say where to listen: name recordings, - for a pipe, or --microphone")
    paths = [_MICROPHONE] if microphone else expand(clips or [])
    spotter = _spotter(find_examples(examples or []), keywords, model)
    if threshold is not None:
        spotter.threshold = threshold
    found = failed = False
    if raw and PIPE not in paths:
        raise IntervoxError("--raw says what comes through a pipe: give - as the recording")
    for path in paths:
        try:
            for detection in _detections(spotter, path, microphone, raw):
                found = True
                where = f"{path}: {detection.start:.2f}-{detection.end:.2f} s"
                what = figures(detection.score, detection.probability, odds="")
                said = f"{where}  {detection.keyword}  {what}"
                say({"clip": path} | asdict(detection), said, as_json)
        except IntervoxError as error:
            failed = True
            complain(path, error, as_json)
        except KeyboardInterrupt:
            if not microphone:
                raise
    raise typer.Exit(ERROR if failed else YES if found else NO)


def _one(reference: str) -> str:
    """Return the one file that a word stands for."""
    from intervox.interop.clips import expand

    found = expand([reference])
    if len(found) > 1:
        raise IntervoxError(f"{reference} matches {len(found)} files: compare with one, or enrol them all")
    return found[0]


def _named(clips: list[str] | None, from_list: str | None) -> "tuple[Iterable[Clip], int | None]":
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
    found: "Iterator[tuple[str, dict[str, Vectors] | IntervoxError]]",
    writer: "VectorWriter | None",
    spaces: list[str],
    as_json: bool,
) -> tuple[int, int]:
    """Write or print vectors as they come; return how many clips are embedded and how many failed."""
    from intervox.interop.tables import json_line

    good = failed = 0
    for clip, vectors in found:
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


def _kind(keyword: bool) -> "type[Enrolled]":
    if keyword:
        from intervox.applications.spotter import KeywordSpotter

        return KeywordSpotter
    from intervox.applications.verifier import SpeakerVerifier

    return SpeakerVerifier


def _spotter(enrolled: dict[str, list[str]], keywords: Path | None, model: str | None) -> "KeywordSpotter":
    from intervox.applications.spotter import KeywordSpotter

    spotter = KeywordSpotter.load(keywords, model) if keywords else KeywordSpotter(_name(model))
    for name, files in enrolled.items():
        spotter.enrol(name, files)
    return spotter


def _detections(spotter: "KeywordSpotter", path: str, microphone: bool, raw: bool) -> "Iterator[Detection]":
    from intervox.applications.live import piped_sound
    from intervox.interop.clips import PIPE, open_clip

    if microphone:
        from intervox.applications.live import microphone_chunks

        return spotter.stream(microphone_chunks())
    return spotter.stream(*piped_sound(raw)) if path == PIPE else spotter.scan(open_clip(path))


def _load(model: str | None) -> "SubspaceModel":
    from intervox.model.model import SubspaceModel

    return SubspaceModel.from_pretrained(_name(model))


def _name(model: str | None) -> str:
    return DEFAULT if model is None else model
