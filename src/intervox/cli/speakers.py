"""The commands that compare clips, and that know whom or what to compare with: verify, match, enrol."""

import json
from dataclasses import asdict, dataclass
from itertools import chain, islice
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
    from intervox.applications.normalise import Cohort
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
    clips: Annotated[list[str], typer.Argument(help="Audio files to compare, quoted patterns, or -.")],
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
    model: ModelOption = None,
    strict: StrictOption = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Say of each clip whether it has the speaker of a reference: score, probability and decision.

    By default a clip is accepted where 1 % of strangers would be, among synthetic voices that training
    never heard; the last line says what that does on recordings of people. The exit code is 0 if all
    clips are accepted, 1 if some are not, and 2 after an error.

    \b
    intervox verify a.wav b.wav
    intervox verify people.safetensors 'inbox/*.wav' --speaker alice --json
    intervox verify alice.wav new.wav --false-accept-rate 0.01 && echo "welcome, alice"
    """
    from intervox.interop.clips import embed_clips, expand
    from intervox.model.decision import in_percent

    paths = expand(clips)
    expanded = expand([reference])
    if len(expanded) > 1:
        raise IntervoxError(f"{reference} matches {len(expanded)} files: compare with one, or enrol them all")
    (reference,) = expanded
    if Path(reference).suffix == _ENROLLED:
        known = _enrolled_reference(Path(reference), speaker, model, false_accept_rate)
        embedded = embed_clips(known.model, zip(paths, paths, strict=True))
    elif speaker is None:
        # In one go with the clips: one call of the backbone for two of them.
        together = [reference, *paths]
        loaded = open_model(model)
        embedded = embed_clips(loaded, zip(together, together, strict=True))
        _, heard, seconds = next(embedded)
        known = _heard_reference(reference, loaded, heard, seconds, false_accept_rate)
    else:
        raise IntervoxError(f"--speaker goes with a file of `intervox enrol`: {reference} has no names")
    code = YES
    for clip, vectors, seconds in watched(embedded, len(paths), "comparing"):
        if isinstance(vectors, IntervoxError):
            complain(clip, vectors, as_json)
            code = ERROR
            continue
        found = known.decide(vectors, seconds, prior)
        code = max(code, YES if found.accepted else NO)
        figures = {name: round(getattr(found, name), 5) for name in ("score", "threshold", "probability")}
        say(
            {"clip": clip, "reference": known.name, **figures, "prior": prior, "same": found.accepted},
            f"{clip}: {'same' if found.accepted else 'different'} speaker  (cosine {found.score:.3f}, "
            f"threshold {found.threshold:.3f}, probability {in_percent(found.probability)} at a prior of "
            f"{_percent(prior)})",
            as_json,
        )
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
    model: ModelOption = None,
    strict: StrictOption = False,
    as_json: JsonLinesOption = False,
) -> None:
    """Enrol speakers, or keywords, from clips: one is enough, three are better.

    Give a name and its clips, or a folder in which each sub-folder is a name and holds its clips;
    other files there are skipped. The file keeps vectors, not sound. A name that is there already
    gets further examples. If a clip can't be embedded, the file stays as it was.

    \b
    intervox enrol alice alice-*.wav --into people.safetensors
    intervox enrol people/ --into people.safetensors
    intervox verify people.safetensors new.wav --speaker alice
    intervox enrol --keyword yes 'yes/*.wav' --into words.safetensors
    intervox enrol --keyword words/ --into words.safetensors
    """
    from filelock import FileLock

    from intervox.applications.spotter import KeywordSpotter
    from intervox.applications.verifier import SpeakerVerifier
    from intervox.audio import load_audio
    from intervox.interop.clips import open_clip

    if into.suffix != _ENROLLED:
        raise IntervoxError(f"{into} is no file of names: let it end in {_ENROLLED}")
    found = _examples(name, clips, as_json)
    total = sum(map(len, found.values()))
    kind = KeywordSpotter if keyword else SpeakerVerifier
    warnings: dict[str, str] = {}
    into.parent.mkdir(parents=True, exist_ok=True)
    # Two that enrol into one file at a time take turns: neither loses what the other adds.
    with FileLock(into.with_name(f".{into.name}.lock")):
        enrolled = kind.load(into, model) if into.exists() else kind(open_model(model))
        read = watched(chain.from_iterable(found.values()), total, "enrolling", prints=False)
        for each, paths in found.items():
            # Kept where it is the only one: a pipe can't be read again.
            alone = [load_audio(open_clip(next(read)))] if len(paths) == 1 else None
            enrolled.enrol(each, alone or map(open_clip, islice(read, len(paths))))
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


def _enrolled_reference(path: Path, speaker: str | None, model: str | None, rate: float | None) -> _Reference:
    """Take a speaker of a file of ``intervox enrol``, by default the only one."""
    from intervox.applications.verifier import SpeakerVerifier

    verifier = SpeakerVerifier.load(path, model)
    names = verifier.classes_.tolist()
    if speaker is None and len(names) != 1:
        raise IntervoxError(f"{path} knows {', '.join(names) or 'nobody'}: say whom to verify with --speaker")
    name = names[0] if speaker is None else speaker
    verifier.check_name(name)
    if rate is not None:
        verifier.set_false_accept_rate(rate)
    vector = verifier.prototypes_[names.index(name)]
    seconds = verifier.seconds_[name]
    kept = verifier.threshold, verifier.cohort
    return _Reference(name, verifier.model_, verifier.space, vector, seconds, *kept)
