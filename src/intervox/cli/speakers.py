"""The commands that compare clips: verify, match."""

from dataclasses import asdict, dataclass
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
    watched,
    while_read,
)
from intervox.cli.microphone import MICROPHONE, MicrophoneOption, check_source, listen
from intervox.errors import IntervoxError

if TYPE_CHECKING:
    from intervox.applications.identity import Answer
    from intervox.applications.normalise import Cohort
    from intervox.applications.verifier import SpeakerVerifier
    from intervox.metrics.vectors import Vectors
    from intervox.model.decision import Decision
    from intervox.model.embedder import Embedder
    from intervox.model.matching import Match

_SPEAKER = "speaker"
_ENROLLED = ".safetensors"


@while_read()
def verify(
    reference: Annotated[
        str, typer.Argument(help="Audio file of the known speaker, or a file of `intervox enrol`.")
    ],
    clips: Annotated[
        list[str] | None,
        typer.Argument(help="Audio files to compare, quoted patterns, or -.", show_default=False),
    ] = None,
    speaker: Annotated[
        str | None, typer.Option(help="Which of the enrolled speakers.", show_default="the only one")
    ] = None,
    false_accept_rate: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of strangers that may pass, measured on synthetic voices; such as 0.001.",
            show_default="the model's operating point, 0.01",
        ),
    ] = None,
    prior: Annotated[
        float,
        typer.Option(
            min=1e-9,
            max=1 - 1e-9,
            help="How probable it is, before a clip is heard, that it has the speaker; changes the "
            "probability, not the decision.",
        ),
    ] = 0.5,
    microphone: MicrophoneOption = False,
    model: ModelOption = None,
    strict: StrictOption = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Say of each clip whether it has the speaker of a reference: score, probability and decision.

    By default a clip is accepted where 1 % of strangers would be, among synthetic voices that training
    never heard; the last line says what that does on recordings of people. The exit code is 0 if all
    clips are accepted, 1 if some are not, and 2 after an error. With --microphone, speech is answered while
    it is heard, and takes the place of clips; that needs the extras `microphone` and `vad`.

    \b
    intervox verify a.wav b.wav
    intervox verify people.safetensors 'inbox/*.wav' --speaker alice --json
    intervox verify alice.wav new.wav --false-accept-rate 0.01 && echo "welcome, alice"
    intervox verify people.safetensors --microphone --speaker alice
    """
    from intervox.interop.clips import embed_clips, expand

    paths = expand(check_source(clips, microphone))
    expanded = expand([reference])
    if len(expanded) > 1:
        raise IntervoxError(f"{reference} matches {len(expanded)} files: compare with one, or enrol them all")
    (reference,) = expanded
    if speaker is not None and Path(reference).suffix != _ENROLLED:
        raise IntervoxError(f"--speaker goes with a file of `intervox enrol`: {reference} has no names")
    if microphone:
        raise typer.Exit(_verify_live(reference, speaker, model, false_accept_rate, prior, as_json))
    if Path(reference).suffix == _ENROLLED:
        known = _reference(*_enrolled(Path(reference), speaker, model, false_accept_rate))
        embedded = embed_clips(known.model, zip(paths, paths, strict=True))
    else:
        # In one go with the clips: one call of the backbone for two of them.
        together = [reference, *paths]
        loaded = open_model(model)
        embedded = embed_clips(loaded, zip(together, together, strict=True))
        _, heard, seconds = next(embedded)
        known = _heard_reference(reference, loaded, heard, seconds, false_accept_rate)
    code = YES
    for clip, vectors, seconds in watched(embedded, len(paths), "comparing"):
        if isinstance(vectors, IntervoxError):
            complain(clip, vectors, as_json)
            code = ERROR
            continue
        found = known.decide(vectors, seconds, prior)
        code = max(code, YES if found.accepted else NO)
        said, figures = _verified(found, known.measure, prior)
        say({"clip": clip, "reference": known.name} | figures, f"{clip}: {said}", as_json)
    measured = known.model.measured.get(known.space)
    if measured and known.threshold is None and code != ERROR and not as_json:
        rates = [
            f"{name} {_percent(accepted)} and {_percent(refused)}"
            for name, (accepted, refused) in measured.items()
        ]
        typer.echo(
            f"default threshold: on people, strangers accepted and speakers refused: {', '.join(rates)}",
            err=True,
        )
    raise typer.Exit(code)


def _verify_live(
    reference: str, speaker: str | None, model: str | None, rate: float | None, prior: float, as_json: bool
) -> int:
    """Verify what the microphone hears, and return the exit code."""
    from intervox.applications.verifier import SpeakerVerifier
    from intervox.interop.clips import open_clip

    if Path(reference).suffix == _ENROLLED:
        known, name = _enrolled(Path(reference), speaker, model, rate)
    else:
        known, name = SpeakerVerifier(open_model(model)).enrol(reference, [open_clip(reference)]), reference
        if rate is not None:
            known.set_false_accept_rate(rate)
    codes = set()

    def show(answer: "Answer[Decision]", late: int) -> None:
        codes.add(YES if answer.found.accepted else NO)
        said, figures = _verified(answer.found, _measure(known.cohort), prior)
        record = {"clip": MICROPHONE, "start": answer.start, "end": answer.end, "reference": name} | figures
        text = f"{answer.start:.2f}-{answer.end:.2f} s: {said}"
        say(record | {"latency_ms": late}, text, as_json)

    listen(lambda sound: known.verify_stream(sound, name, prior=prior), show)
    return max(codes, default=NO)


def _verified(found: "Decision", measure: str, prior: float) -> tuple[str, dict[str, float | bool]]:
    """Put a decision into words, and into the fields of a JSON line."""
    from intervox.model.decision import in_percent

    figures = {name: round(getattr(found, name), 5) for name in ("score", "threshold", "probability")}
    said = (
        f"{'same' if found.accepted else 'different'} speaker  ({measure} {found.score:.3f}, threshold "
        f"{found.threshold:.3f}, one speaker with probability {in_percent(found.probability)} at a prior "
        f"of {_percent(prior)})"
    )
    return said, figures | {"prior": prior, "same": found.accepted}


def _measure(cohort: "Cohort | None") -> str:
    """Return what the score is called."""
    return "normalised score" if cohort else "cosine"


def _percent(share: float) -> str:
    """Write a measured rate, or a share that the user gave."""
    return f"{100 * share:.3g} %"


@while_read()
def match(
    reference: Annotated[str, typer.Argument(help="Audio file.")],
    clips: Annotated[list[str], typer.Argument(help="Audio files to compare, quoted patterns, or -.")],
    model: ModelOption = None,
    strict: StrictOption = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Say of each clip whether it says what a reference says: the same, partly the same, or something else.

    Clips are compared along their best alignment in time, whoever speaks. For "partly", the share that is
    the same is given, and where they differ. The exit code is 0 if all clips say the same, 1 if some do
    not or can't be compared, and 2 after an error.

    \b
    intervox match prompt.wav reading.wav
    intervox match prompt.wav 'readings/*.wav' --json
    """
    from intervox.interop.clips import expand, open_clip

    paths = expand(clips)
    loaded = open_model(model)
    expanded = expand([reference])
    if len(expanded) > 1:
        raise IntervoxError(f"{reference} matches {len(expanded)} files: compare with one")
    code = YES
    matching = loaded.own_matching()
    (spoken,) = loaded.spoken([open_clip(expanded[0])])
    for clip in watched(paths, len(paths), "comparing"):
        try:
            found = matching.match(spoken, *loaded.spoken([open_clip(clip)]))
        except IntervoxError as error:
            complain(clip, error, as_json)
            code = ERROR
            continue
        code = max(code, YES if found.answer == "same" else NO)
        say({"clip": clip, "reference": reference, **asdict(found)}, f"{clip}: {_said(found)}", as_json)
    raise typer.Exit(code)


def _said(found: "Match") -> str:
    """Put an answer into words."""
    from intervox.model.decision import in_percent

    if found.answer == "unclear":
        return f"can't be compared: {found.reason}"
    sure = f"probability {in_percent(found.probability)}"
    if found.answer != "partly":
        return f"{'the same words' if found.answer == 'same' else 'different words'}  ({sure})"
    places = ", ".join("{:.1f}-{:.1f} s".format(*each.second) for each in found.differences)
    return f"partly the same words, {100 * found.share:.0f} % of the speech  ({sure}); differs at {places}"


@dataclass(frozen=True)
class _Reference:
    """A speaker with whom clips are compared: a unit vector (dim,), and the threshold if one is set."""

    name: str
    model: "Embedder"
    space: str
    vector: "Vectors"
    seconds: float
    threshold: float | None
    cohort: "Cohort | None" = None

    @property
    def measure(self) -> str:
        """What the score is called."""
        return _measure(self.cohort)

    def decide(self, vectors: "dict[str, Vectors]", seconds: float, prior: float) -> "Decision":
        """Compare a clip of some seconds, by its vectors, with the speaker."""
        heard = vectors[self.space]
        score = float(heard @ self.vector)
        if self.cohort:
            score = float(self.cohort.scores(heard[None], self.vector[None])[0, 0])
        lengths = self.seconds, seconds
        return self.model.decide(score, self.space, lengths, self.threshold, prior, self.name)


def _heard_reference(
    clip: str,
    model: "Embedder",
    vectors: "dict[str, Vectors] | IntervoxError",
    seconds: float,
    rate: float | None,
) -> _Reference:
    """Take one clip as the reference; without a rate scikit-learn stays out, which costs half a second."""
    model.check_space(_SPEAKER)
    if isinstance(vectors, IntervoxError):
        raise vectors
    threshold = None
    if rate is not None:
        from intervox.applications.verifier import SpeakerVerifier

        threshold = SpeakerVerifier(model).set_false_accept_rate(rate).threshold
    return _Reference(clip, model, _SPEAKER, vectors[_SPEAKER], seconds, threshold)


def _enrolled(
    path: Path, speaker: str | None, model: str | None, rate: float | None
) -> "tuple[SpeakerVerifier, str]":
    """Open a file of ``intervox enrol``, and choose a speaker, by default the only one."""
    from intervox.applications.verifier import SpeakerVerifier

    verifier = SpeakerVerifier.load(path, model)
    names = verifier.classes_.tolist()
    if speaker is None and len(names) != 1:
        raise IntervoxError(f"{path} knows {', '.join(names) or 'nobody'}: say whom to verify with --speaker")
    name = names[0] if speaker is None else speaker
    verifier.check_name(name)
    if rate is not None:
        verifier.set_false_accept_rate(rate)
    return verifier, name


def _reference(verifier: "SpeakerVerifier", name: str) -> _Reference:
    """Take an enrolled speaker as the reference."""
    vector = verifier.prototypes_[verifier.classes_.tolist().index(name)]
    kept = verifier.threshold, verifier.cohort
    return _Reference(name, verifier.model_, verifier.space, vector, verifier.seconds_[name], *kept)
