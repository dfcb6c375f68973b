"""The commands that tell many people apart: identify, calibrate."""

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
    say,
    watched,
    while_read,
)
from intervox.errors import IntervoxError

if TYPE_CHECKING:
    from intervox.applications.verifier import Identity

PeopleArgument = Annotated[Path, typer.Argument(help="File of `intervox enrol`.")]


@while_read()
def identify(
    people: PeopleArgument,
    clips: Annotated[list[str], typer.Argument(help="Audio files, quoted patterns, or -.")],
    prior: Annotated[
        float,
        typer.Option(
            min=1e-9,
            max=1 - 1e-9,
            help="How probable it is, before a clip is heard, that it is of anybody enrolled; changes the "
            "probability, not the decision.",
        ),
    ] = 0.5,
    model: ModelOption = None,
    strict: StrictOption = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Say of each clip who of the enrolled speaks, or nobody of them.

    A stranger is taken for somebody as rarely as `intervox verify` accepts one, however many are
    enrolled; `intervox calibrate` sets that on people of your own. The exit code is 0 if every clip has a
    name, 1 if some have none, and 2 after an error.

    \b
    intervox enrol people/ --into people.safetensors
    intervox identify people.safetensors 'inbox/*.wav'
    intervox identify people.safetensors call.wav --json
    """
    from intervox.applications.enrolled import UNKNOWN
    from intervox.applications.verifier import SpeakerVerifier
    from intervox.interop.clips import embed_clips, expand

    paths = expand(clips)
    verifier = SpeakerVerifier.load(people, model)
    assert len(verifier.prototypes_)  # or it raises that nobody is enrolled
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
    from filelock import FileLock

    from intervox.applications.verifier import SpeakerVerifier
    from intervox.interop.clips import open_clip, people_in

    found = people_in(others)
    total = sum(map(len, found.values()))
    with FileLock(people.with_name(f".{people.name}.lock")):
        verifier = SpeakerVerifier.load(people, model)
        read = watched(chain.from_iterable(found.values()), total, "listening", prints=False)
        strangers = {name: map(open_clip, islice(read, len(clips))) for name, clips in found.items()}
        shown = verifier.calibrate(strangers, false_accept_rate, anybody, normalise)
        verifier.save(people)
    low, high = (f"{100 * bound:.2g}" for bound in shown.interval)
    whom = "strangers are taken for somebody" if anybody else "comparisons with a stranger are accepted"
    behind = f"in {shown.comparisons:,} comparisons with {shown.people} people"
    cohort = f"; scores are normalised by {shown.cohort_clips:,} other clips" if shown.cohort_clips else ""
    say(
        {"people": str(people)} | asdict(shown),
        f"{people}: threshold {shown.threshold:.3f}; {100 * shown.rate:.2g} % of {whom} (95 % interval "
        f"{low} to {high} %), {behind}{cohort}",
        as_json,
    )
