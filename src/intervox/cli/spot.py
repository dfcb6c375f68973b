"""The command that finds keywords: from examples, from text, in anybody's or in somebody's voice."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
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
from intervox.cli.microphone import MICROPHONE, MicrophoneOption, listen
from intervox.errors import IntervoxError, missing_extra

if TYPE_CHECKING:
    from intervox.applications.detections import Detection
    from intervox.applications.spotter import KeywordSpotter


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
    text: Annotated[
        list[str] | None,
        typer.Option(help="A keyword as text, which a synthesiser says in many voices; may be repeated."),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="What says --text: espeak, or kokoro, better and slower.", show_default="espeak"),
    ] = None,
    language: Annotated[str | None, typer.Option(help="BCP 47 tag of --text.", show_default="en")] = None,
    keywords: Annotated[Path | None, typer.Option(help="A file of `intervox enrol --keyword`.")] = None,
    false_alarms_per_hour: Annotated[
        float | None,
        typer.Option(min=1e-6, max=1e6, help="Set the threshold by this rate on --background."),
    ] = None,
    background: Annotated[
        list[str] | None,
        typer.Option(help="Recordings without any keyword, for --false-alarms-per-hour; may be repeated."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=-1,
            max=1,
            help="Minimum cosine similarity for a detection.",
            show_default="calibrated",
        ),
    ] = None,
    people: Annotated[
        Path | None, typer.Option(help="A file of `intervox enrol`: say who of them speaks each keyword.")
    ] = None,
    speaker: Annotated[
        str | None, typer.Option(help="One of --people: count a keyword in this voice only.")
    ] = None,
    microphone: MicrophoneOption = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Standard input is 16 kHz mono s16le, not a WAV file.")
    ] = False,
    model: ModelOption = None,
    strict: StrictOption = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Find keywords in recordings of any length, from examples of each, or from their text.

    Text needs a synthesiser (`pip install intervox[espeak]`), which also says what sounds like it, so that
    near misses are told apart. Recorded examples of the same keyword can be added to it.

    The exit code is 0 if something was found, 1 if nothing was, and 2 after an error. A recording in
    which nothing is found has its best score named on standard error, and with --json a line
    {"clip", "found": false, "threshold", "closest"}.

    \b
    intervox spot meeting.wav --examples words/yes --examples words/no
    intervox spot 'calls/*.wav' --examples help='recordings/help-*.wav' --json
    intervox spot meeting.wav --text "hey jarvis"
    intervox spot --microphone --keywords words.safetensors
    intervox spot door.wav --examples words/open --people people.safetensors --speaker alice
    ffmpeg -i stream.mp3 -f wav - | intervox spot - --examples words
    """
    from intervox.applications.verifier import SpeakerVerifier
    from intervox.interop.clips import PIPE, expand, open_clip

    if not (examples or text or keywords):
        raise IntervoxError("say what to listen for: --examples FOLDER, --text WORDS, or --keywords FILE")
    if (engine or language) and not text:
        raise IntervoxError("--engine and --language are of --text: give a keyword as text")
    if clips and microphone:
        raise IntervoxError("recordings and --microphone are both given: leave one out")
    if not clips and not microphone:
        raise IntervoxError("there is nothing to listen to: name recordings, - for a pipe, or --microphone")
    if raw and PIPE not in (clips or []):
        raise IntervoxError("--raw says what comes through a pipe: give - as the recording")
    if threshold is not None and false_alarms_per_hour is not None:
        raise IntervoxError("--threshold and --false-alarms-per-hour both set the threshold: give one")
    if (false_alarms_per_hour is None) == bool(background):
        raise IntervoxError("--false-alarms-per-hour and --background go together: give both or neither")
    if speaker is not None and people is None:
        raise IntervoxError("--speaker is one of --people: give a file of `intervox enrol`")
    paths = [MICROPHONE] if microphone else expand(clips or [])
    others = expand(background or [])
    spotter = _spotter(
        examples or [], text or [], keywords, (engine or "espeak", language or "en"), model, as_json
    )
    if people is not None:
        spotter.people, spotter.speaker = SpeakerVerifier.load(people, spotter.model_), speaker
    if threshold is not None:
        spotter.threshold = threshold
    if false_alarms_per_hour is not None:
        quiet = watched(others, len(others), "listening to the background", prints=False)
        spotter.set_false_alarms_per_hour(false_alarms_per_hour, map(open_clip, quiet))
    found, failed = set(), False

    def tell(clip: str, detection: "Detection", **more: int) -> None:
        found.add(clip)
        say({"clip": clip} | asdict(detection) | more, f"{clip}: {_said(detection)}", as_json)

    for path in paths:
        try:
            if microphone:
                listen(spotter.stream, lambda detection, late: tell(MICROPHONE, detection, latency_ms=late))
            else:
                for detection in _detections(spotter, path, raw):
                    tell(path, detection)
            if path not in found:
                _say_nothing(path, spotter, as_json)
        except IntervoxError as error:
            failed = True
            complain(path, error, as_json)
    raise typer.Exit(ERROR if failed else YES if found else NO)


def _spotter(
    examples: list[str],
    texts: list[str],
    keywords: Path | None,
    voices: tuple[str, str],
    model: str | None,
    as_json: bool,
) -> "KeywordSpotter":
    """Enrol all that is to be listened for; warn of keywords that are known by one example."""
    from intervox.applications.spotter import KeywordSpotter
    from intervox.interop.clips import examples as find_examples

    enrolled = find_examples(examples)
    spotter = KeywordSpotter.load(keywords, model) if keywords else KeywordSpotter(open_model(model))
    if texts:
        if find_spec("espeakng_loader") is None:
            raise missing_extra("espeakng-loader", "espeak", "a typed keyword")
        from intervox.typed import enrol_typed

        for text in dict.fromkeys(texts):
            enrol_typed(spotter, text, *voices)
    for name, files in enrolled.items():
        spotter.enrol(name, files)
        if spotter.counts_[name] == 1:
            warning = warn_of_one_example(spotter, name, files[0])
            if as_json:
                typer.echo(json.dumps({"keyword": name, "warning": warning}))
    return spotter


def _said(found: "Detection") -> str:
    """Put a detection into words."""
    words = (
        f"{found.start:.2f}-{found.end:.2f} s  {found.keyword}  (cosine {found.score:.3f}, probability "
        f"{found.probability:.3f})"
    )
    if found.speaker is None or found.speaker_probability is None:
        return words
    return f"{words}, said by {found.speaker} (probability {found.speaker_probability:.3f})"


def _detections(spotter: "KeywordSpotter", path: str, raw: bool) -> "Iterator[Detection]":
    from intervox.applications.live import piped_chunks
    from intervox.interop.clips import PIPE, open_clip

    return spotter.stream(*piped_chunks(raw)) if path == PIPE else spotter.scan(open_clip(path))


def _say_nothing(clip: str, spotter: "KeywordSpotter", as_json: bool) -> None:
    """Say how far a recording without a detection is from one."""
    closest, threshold = spotter.closest_, spotter.scan_threshold_
    if as_json:
        about = asdict(closest) if closest else None
        typer.echo(json.dumps({"clip": clip, "found": False, "threshold": threshold, "closest": about}))
        return
    best = "it is silent" if spotter.rivals is None else "it is silent, or only near misses are said"
    if closest:
        place = f"{closest.keyword} at {closest.start:.2f}-{closest.end:.2f} s"
        voice = f", said by {closest.speaker}" if closest.speaker else ""
        best = f"the best is {place}{voice} (cosine {closest.score:.3f}, threshold {threshold:.3f})"
    typer.echo(f"{clip}: nothing found; {best}", err=True)
