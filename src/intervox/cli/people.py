"""The commands that enrol names, and tell many people apart: enrol, identify, calibrate."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intervox.cli.common import (
    ERROR,
    NO,
    YES,
    JsonLinesOption,
    JsonOption,
    ModelOption,
    StrictOption,
    complain,
    open_model,
    say,
    warn_of_one_example,
    watched,
    while_read,
)
from intervox.cli.microphone import MICROPHONE, MicrophoneOption, check_source, listen
from intervox.errors import IntervoxError

if TYPE_CHECKING:
    from intervox.applications.identity import Answer, Identity
    from intervox.applications.verifier import SpeakerVerifier

_SUFFIX = ".safetensors"

PeopleArgument = Annotated[Path, typer.Argument(help="File of `intervox enrol`.")]


@while_read()
def enrol(
    name: Annotated[
        str,
        typer.Argument(
            help="Of the person or keyword; or, without clips, a folder with a sub-folder of examples for "
            "each name."
        ),
    ],
    into: Annotated[Path, typer.Option(help="File of names, .safetensors, to make or add to.")],
    clips: Annotated[
        list[str] | None, typer.Argument(help="Audio files, quoted patterns, or -.", show_default=False)
    ] = None,
    keyword: Annotated[
        bool, typer.Option("--keyword", help="Enrol a keyword for `intervox spot`, not a speaker.")
    ] = False,
    trim: Annotated[
        bool,
        typer.Option(
            "--trim", help="Cut silence before and after the speech of each clip; needs the extra `vad`."
        ),
    ] = False,
    model: ModelOption = None,
    strict: StrictOption = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Enrol speakers, or keywords, from clips: one is enough, three are better.

    Give a name and its clips, or a folder in which each sub-folder is a name and holds its clips;
    other files there are skipped. The file keeps vectors, not sound. A name that is there already
    gets further examples. If a clip can't be embedded, the file stays as it was. Silence around the speech
    counts as part of an example: cut it, or let --trim cut it.

    \b
    intervox enrol alice alice-*.wav --into people.safetensors
    intervox enrol people/ --into people.safetensors
    intervox verify people.safetensors new.wav --speaker alice
    intervox enrol --keyword yes 'yes/*.wav' --into words.safetensors
    intervox enrol --keyword words/ --into words.safetensors
    """
    from intervox.applications.spotter import KeywordSpotter
    from intervox.applications.verifier import SpeakerVerifier
    from intervox.audio import AudioSource, Waveform, load_audio
    from intervox.interop.clips import open_clip

    if into.suffix != _SUFFIX:
        raise IntervoxError(f"{into} is not a file of names: let it end in {_SUFFIX}")
    load: Callable[[AudioSource], Waveform] = load_audio
    if trim:
        from intervox.applications.vad import trimmed

        load = trimmed
    found = _examples(name, clips, as_json)
    total = sum(map(len, found.values()))
    kind = KeywordSpotter if keyword else SpeakerVerifier
    warnings: dict[str, str] = {}
    into.parent.mkdir(parents=True, exist_ok=True)
    with _turn(into):
        enrolled = kind.load(into, model) if into.exists() else kind(open_model(model))
        read = watched(chain.from_iterable(found.values()), total, "enrolling", prints=False)
        for each, paths in found.items():
            # Kept where it is the only one: a pipe can't be read again.
            alone = [load(open_clip(next(read)))] if len(paths) == 1 else None
            enrolled.enrol(each, alone or map(load, map(open_clip, islice(read, len(paths)))))
            if alone and isinstance(enrolled, KeywordSpotter) and enrolled.counts_[each] == 1:
                warnings[each] = warn_of_one_example(enrolled, each, alone[0])
        enrolled.save(into)
    names = enrolled.classes_.tolist()
    for each in found:
        examples = enrolled.counts_[each]
        said = f"{examples} example{'' if examples == 1 else 's'}"
        warning = {"warning": warnings[each]} if each in warnings else {}
        say(
            {"name": each, "examples": examples, "names": names, "into": str(into)} | warning,
            f"{each}: {said}; {into} knows {', '.join(names)}",
            as_json,
        )


def _turn(path: Path) -> AbstractContextManager[None]:
    """Let commands that add to one file take turns: none loses what another adds."""
    from intervox.locks import in_turn

    return in_turn(path.with_name(f".{path.name}.lock"), path)


def _examples(name: str, clips: list[str] | None, as_json: bool) -> dict[str, list[str]]:
    """Return name to clips: of one name, or of every sub-folder; say what is skipped there."""
    from intervox.clips.paths import find_path, warn_of_skipped
    from intervox.interop.clips import expand, names_in

    if clips:
        return {name: expand(clips)}
    folder = Path(find_path(name))
    if not folder.is_dir():
        raise IntervoxError(
            f"no clips are given for {name!r}: name some, or give a folder with a sub-folder for each name"
        )
    found, skipped = names_in(folder)
    warn_of_skipped(skipped, name)
    if as_json:
        for path in skipped:
            typer.echo(json.dumps({"skipped": path}))
    return found


@while_read()
def identify(
    people: PeopleArgument,
    clips: Annotated[
        list[str] | None, typer.Argument(help="Audio files, quoted patterns, or -.", show_default=False)
    ] = None,
    prior: Annotated[
        float,
        typer.Option(
            min=1e-9,
            max=1 - 1e-9,
            help="How probable it is, before a clip is heard, that it is of anybody enrolled; changes the "
            "probability, not the decision.",
        ),
    ] = 0.5,
    microphone: MicrophoneOption = False,
    model: ModelOption = None,
    strict: StrictOption = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Say of each clip who of the enrolled speaks, or nobody of them.

    A stranger is taken for somebody as rarely as `intervox verify` accepts one, however many are
    enrolled; `intervox calibrate` sets that on people of your own. The exit code is 0 if every clip has a
    name, 1 if some have none, and 2 after an error. With --microphone, speech is answered while it is
    heard, and takes the place of clips; that needs the extras `microphone` and `vad`.

    \b
    intervox enrol people/ --into people.safetensors
    intervox identify people.safetensors 'inbox/*.wav'
    intervox identify people.safetensors call.wav --json
    intervox identify people.safetensors --microphone
    """
    from intervox.applications.enrolled import UNKNOWN
    from intervox.applications.verifier import SpeakerVerifier
    from intervox.interop.clips import embed_clips, expand

    paths = expand(check_source(clips, microphone))
    verifier = SpeakerVerifier.load(people, model)
    assert len(verifier.prototypes_)  # or it raises that nobody is enrolled
    if microphone:
        raise typer.Exit(_identify_live(verifier, prior, as_json))
    code = YES
    embedded = embed_clips(verifier.model_, zip(paths, paths, strict=True))
    for clip, vectors, seconds in watched(embedded, len(paths), "identifying"):
        if isinstance(vectors, IntervoxError):
            complain(clip, vectors, as_json)
            code = ERROR
            continue
        found = verifier.identity(vectors[verifier.space], seconds, prior)
        known = found.name != UNKNOWN
        code = max(code, YES if known else NO)
        say({"clip": clip, "known": known} | asdict(found), f"{clip}: {_said(found, known)}", as_json)
    raise typer.Exit(code)


def _identify_live(verifier: "SpeakerVerifier", prior: float, as_json: bool) -> int:
    """Identify whom the microphone hears, and return the exit code."""
    from intervox.applications.enrolled import UNKNOWN

    codes = set()

    def show(answer: "Answer[Identity]", late: int) -> None:
        known = answer.found.name != UNKNOWN
        codes.add(YES if known else NO)
        record = {"clip": MICROPHONE, "start": answer.start, "end": answer.end, "known": known}
        text = f"{answer.start:.2f}-{answer.end:.2f} s: {_said(answer.found, known)}"
        say(record | asdict(answer.found) | {"latency_ms": late}, text, as_json)

    listen(lambda sound: verifier.identify_stream(sound, prior=prior), show)
    return max(codes, default=NO)


def _said(found: "Identity", known: bool) -> str:
    """Put an identity into words."""
    from intervox.model.decision import in_percent

    closest, *others = found.candidates
    about = f"probability {in_percent(closest.probability)}, score {closest.score:.3f}"
    if not known:
        return f"nobody enrolled  (the closest is {closest.name}: {about}, threshold {found.threshold:.3f})"
    rest = f"; next {others[0].name}, {in_percent(others[0].probability)}" if others else ""
    return f"{found.name}  ({about}{rest})"


@while_read()
def calibrate(
    people: PeopleArgument,
    others: Annotated[
        Path,
        typer.Option(
            help="Folder of people who are not enrolled, recorded as clips will be: a sub-folder, or a clip, "
            "for each."
        ),
    ],
    false_accept_rate: Annotated[
        float, typer.Option(min=0, max=1, help="Share of comparisons with a stranger that may be accepted.")
    ] = 0.01,
    anybody: Annotated[
        bool,
        typer.Option(
            "--anybody", help="Let it be the share of strangers taken for anybody enrolled, for `identify`."
        ),
    ] = False,
    normalise: Annotated[
        bool,
        typer.Option(help="Normalise scores by half of the others (adaptive s-norm), and test on the rest."),
    ] = True,
    model: ModelOption = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """Set the threshold of a file of people by how often strangers may pass, on recordings of your own.

    The rate is printed with its 95 % interval over people, and with how many comparisons stand behind it.
    A rate that the recordings can't show is refused, and the file stays as it was.

    \b
    intervox calibrate people.safetensors --others strangers/
    intervox calibrate people.safetensors --others strangers/ --false-accept-rate 0.001
    intervox verify people.safetensors new.wav --speaker alice
    """
    from intervox.applications.verifier import SpeakerVerifier
    from intervox.interop.clips import open_clip, people_in

    known = SpeakerVerifier.load(people, model)  # or it is refused before anything lies beside it
    found = people_in(others)
    total = sum(map(len, found.values()))
    with _turn(people):
        verifier = SpeakerVerifier.load(people, known.model_)
        read = watched(chain.from_iterable(found.values()), total, "listening", prints=False)
        strangers = {name: map(open_clip, islice(read, len(clips))) for name, clips in found.items()}
        shown = verifier.calibrate(strangers, false_accept_rate, anybody, normalise)
        verifier.save(people)
    low, high = (f"{100 * bound:.2g}" for bound in shown.interval)
    whom = "strangers are taken for somebody" if anybody else "comparisons with a stranger are accepted"
    behind = f"in {shown.comparisons:,} comparisons with {shown.people} people"
    cohort = f"; scores are normalised by {shown.cohort_clips:,} other clips" if shown.cohort_clips else ""
    say(
        {"file": str(people)} | asdict(shown),
        f"{people}: threshold {shown.threshold:.3f}; {100 * shown.rate:.2g} % of {whom} (95 % interval "
        f"{low} to {high} %), {behind}{cohort}",
        as_json,
    )
