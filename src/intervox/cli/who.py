"""The command that says who spoke when."""

import json
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
    say,
    while_read,
)
from intervox.cli.microphone import MICROPHONE, MicrophoneOption, check_source, listen
from intervox.errors import IntervoxError
from intervox.model.files import DEFAULT

if TYPE_CHECKING:
    from intervox.applications.diarise import Turn
    from intervox.applications.verifier import SpeakerVerifier


@while_read()
def who(
    recordings: Annotated[
        list[str] | None,
        typer.Argument(help="Recordings of any length, quoted patterns, or -.", show_default=False),
    ] = None,
    people: Annotated[
        Path | None, typer.Option(help="File of `intervox enrol`; without, voices get numbers.")
    ] = None,
    speakers: Annotated[
        int | None,
        typer.Option(
            min=1, max=1000, help="How many speak in each recording, without --people.", show_default="found"
        ),
    ] = None,
    rttm: Annotated[Path | None, typer.Option(help="File to write in RTTM, for scoring tools.")] = None,
    microphone: MicrophoneOption = False,
    model: ModelOption = None,
    strict: StrictOption = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Say who spoke when: turns with start, end, speaker and probability.

    Speech is found first, with the extra `vad`. With --people, each turn has the name of somebody
    enrolled, or is unknown; without, the voices of each recording are told apart and numbered. Overlapping
    speech is not told apart: each moment has one speaker. The exit code is 0 if every recording holds
    speech, 1 if some do not, and 2 after an error. With --microphone, which needs --people and the extra
    `microphone`, turns are printed while they are heard.

    \b
    intervox who meeting.wav --people people.safetensors
    intervox who meeting.wav --speakers 3 --rttm meeting.rttm
    intervox who 'calls/*.wav' --json
    intervox who --microphone --people people.safetensors
    """
    from intervox.applications import diarise
    from intervox.applications.verifier import SpeakerVerifier
    from intervox.interop.clips import expand, open_clip
    from intervox.model.loading import load_model
    from intervox.storage import atomic_path

    paths = expand(check_source(recordings, microphone))
    if microphone and people is None:
        raise IntervoxError("voices are told apart in whole recordings only: --microphone needs --people")
    known = SpeakerVerifier.load(people, model) if people else None
    loaded = known.model_ if known else load_model(DEFAULT if model is None else model)
    code, written = YES, []
    if microphone and known:
        turns = _listen(known, as_json)
        code, written = YES if turns else NO, [_rttm(MICROPHONE, turn) for turn in turns]
    for path in paths:
        try:
            turns = diarise.who(open_clip(path), known, loaded, speakers)
        except IntervoxError as error:
            complain(path, error, as_json)
            code = ERROR
            continue
        code = max(code, YES if turns else NO)
        written += [_rttm(path, turn) for turn in turns]
        _show(path, turns, as_json)
    if rttm:
        with atomic_path(rttm) as temporary:
            temporary.write_text("".join(written))
    raise typer.Exit(code)


def _listen(known: "SpeakerVerifier", as_json: bool) -> "list[Turn]":
    """Print the turns that the microphone hears, and return them."""
    from intervox.applications import diarise
    from intervox.model.decision import in_percent

    turns = []

    def show(turn: "Turn", late: int) -> None:
        turns.append(turn)
        text = f"{_clock(turn.start)}-{_clock(turn.end)}: {turn.speaker}  ({in_percent(turn.probability)})"
        say({"clip": MICROPHONE} | asdict(turn) | {"latency_ms": late}, text, as_json)

    listen(lambda sound: diarise.stream(sound, known), show)
    return turns


def _show(path: str, turns: "list[Turn]", as_json: bool) -> None:
    """Print the turns of a recording, as JSON lines or as a table."""
    if as_json:
        for turn in turns:
            typer.echo(json.dumps({"clip": path} | asdict(turn)))
        return
    if not turns:
        typer.echo(f"{path}: no speech is found", err=True)
        return
    from intervox.model.decision import in_percent
    from intervox.tables import Table, print_tables

    rows = [
        [_clock(turn.start), _clock(turn.end), turn.speaker, in_percent(turn.probability)] for turn in turns
    ]
    print_tables([Table(path, "", ["start", "end", "speaker", "probability"], rows, labels=3)])


def _clock(seconds: float) -> str:
    """Write a time as h:mm:ss.ss, as far as it is needed."""
    hours, rest = divmod(round(seconds, 2), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours:.0f}:{minutes:02.0f}:{rest:05.2f}" if hours else f"{minutes:.0f}:{rest:05.2f}"


def _rttm(path: str, turn: "Turn") -> str:
    """Write a turn as a line of NIST's Rich Transcription Time Marked format; its fields hold no spaces."""
    clip, speaker = ("_".join(name.split()) for name in (Path(path).stem, turn.speaker))
    seconds = turn.end - turn.start
    return (
        f"SPEAKER {clip} 1 {turn.start:.3f} {seconds:.3f} <NA> <NA> {speaker} {turn.probability:.3f} <NA>\n"
    )
