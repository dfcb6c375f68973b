"""The engines of a recipe's corpus: what each may be told."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from intervox.recipe.parts import Part

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

MOST_VOICES = 10_000
MOST_BLOCKS = 1_000_000


class _Engine(Part):
    """What all engines share.

    ``voices`` is how many of its voices take part (all of them where none is given), ``transformed``
    how many further speakers are made from them by voice transformation, ``share`` its part of every
    block's speakers against the other engines', ``splits`` where it may appear: an engine kept out
    of train is a held-out engine.
    """

    name: str
    voices: int | None = Field(None, ge=1, le=MOST_VOICES)
    transformed: int = Field(0, ge=0, le=MOST_VOICES)
    share: float = Field(1.0, gt=0, le=1e6)
    splits: tuple[Split, ...] = Field(SPLITS, max_length=3)

    @property
    def key(self) -> str:
        """What tells it from the recipe's other engines: the value of the column ``engine``."""
        return self.name

    @field_validator("splits")
    @classmethod
    def _some_split(cls, splits: tuple[Split, ...]) -> tuple[Split, ...]:
        if not splits or len(set(splits)) < len(splits):
            raise ValueError(f"name at least one of {', '.join(SPLITS)}, and each once")
        return splits


class EspeakSettings(_Engine):
    """eSpeak NG: formant synthesis in about a hundred languages."""

    name: Literal["espeak"] = "espeak"
    voices: int = Field(320, ge=1, le=MOST_VOICES)
    languages: tuple[str, ...] = Field(("en",), min_length=1, max_length=1000)


Prosody = Literal["own", "drawn"]


class KokoroSettings(_Engine):
    """Kokoro-82M: 54 presets, and mixtures of two of them (above 690: of three) as further speakers.

    With ``prosody: drawn`` a mixture of two has the rhythm and melody of a third preset, so that these
    tell nothing of the timbre; everything else stays as with ``own``.
    """

    name: Literal["kokoro"]
    voices: int = Field(54, ge=1, le=MOST_VOICES)
    prosody: Prosody = "own"
    languages: tuple[str, ...] = Field(("en",), min_length=1, max_length=1000)
    folder: Path | None = None


class PiperSettings(_Engine):
    """Piper voices: paths of ``.onnx`` files with their ``.onnx.json``, or ``joe`` for the wheel's.

    ``voices`` are taken from the models in turn, the speakers of each in order.
    """

    name: Literal["piper"]
    models: tuple[str, ...] = Field(("joe",), min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _every_model_is_heard(self) -> "PiperSettings":
        enough = self.voices is None or self.voices >= len(self.models)
        if not enough or len(set(self.models)) < len(self.models):
            raise ValueError("name each model once, and ask for at least as many voices as models")
        return self


class RecordingsSettings(_Engine):
    """A parallel corpus of human speech: blocks are found in its manifest, nothing is synthesised.

    ``blocks`` are cut from it for each of its ``splits``, at most as large as the split's own.
    """

    name: Literal["recordings"]
    manifest: Path
    match: Literal["exact", "normalised"] = "normalised"
    blocks: int = Field(10, ge=1, le=MOST_BLOCKS)
    licence: str = "as its owner states"


class UnlabelledSettings(_Engine):
    """Recordings without labels: each file is a voice, and its pieces are said by nobody else.

    ``files`` is a folder, searched with its sub-folders, a manifest with a column ``path``, or a text file
    with one path per line. ``voices`` is how many of the files take part, ``min_seconds`` and
    ``max_seconds`` bound a piece. Where ``blocks`` is left out, every file is in one block. A block has as
    many voices, and pieces of each, as one of ``train``.
    """

    name: Literal["unlabelled"]
    files: Path
    min_seconds: float = Field(1.0, ge=0.2, le=30)
    max_seconds: float = Field(5.0, ge=0.4, le=60)
    blocks: int | None = Field(None, ge=1, le=MOST_BLOCKS)
    language: str = "en"
    licence: str = "as its owner states"
    splits: tuple[Split, ...] = ("train",)

    @model_validator(mode="after")
    def _usable(self) -> "UnlabelledSettings":
        if self.max_seconds < 2 * self.min_seconds:
            raise ValueError(
                "max_seconds: give at least twice min_seconds, so that every recording can be cut"
            )
        if self.splits != ("train",):
            raise ValueError("splits: without labels nothing can be measured; leave it out, or [train]")
        return self


ON_RECORD = ("recordings", "unlabelled")
"""Engines of people, who say only what was recorded."""


PLACEHOLDERS = ("text", "voice", "language", "seed", "output")
"""What a command's arguments may hold in braces."""

CLONE_PLACEHOLDERS = (*PLACEHOLDERS, "reference", "reference_text")
"""The same of a command that clones voices."""


def _with_placeholders(
    command: tuple[str, ...], needed: tuple[str, ...], known: tuple[str, ...]
) -> tuple[str, ...]:
    """Return a command if its placeholders are among the known ones, and the needed ones among them."""
    found = {name for argument in command for name in re.findall(r"{(\w+)}", argument)}
    if not set(needed) <= found <= set(known):
        use = " and ".join(f"{{{name}}}" for name in needed)
        raise ValueError(f"use {use}, and no other placeholders than {', '.join(known)}")
    return command


_LABEL = r"^[a-z][a-z0-9-]{0,39}$"


class _Program(_Engine):
    """A program that speaks, whatever its arguments; ``label`` is what the corpus calls it."""

    label: str = Field(pattern=_LABEL)
    command: tuple[str, ...] = Field(min_length=1, max_length=1000)
    language: str = "en"
    timeout_seconds: float = Field(60.0, gt=0, le=3600)
    version: str = "unknown"
    licence: str = "as its owner states"

    @property
    def key(self) -> str:
        return self.label


class CommandSettings(_Program):
    """Any other synthesiser, as a command line.

    ``command`` is a list of arguments in which ``{text}``, ``{voice}``, ``{language}``, ``{seed}``
    and ``{output}`` (the WAV file to write) are filled in; no shell sees it. It runs in an empty folder,
    so name files by their full path. If a text may begin with a dash, write ``--text={text}``.
    ``label`` is what the corpus calls it; each of several commands in one recipe needs another.
    """

    name: Literal["command"]
    label: str = Field("command", pattern=_LABEL)
    speakers: tuple[str, ...] = Field(min_length=1, max_length=MOST_VOICES)

    @field_validator("command")
    @classmethod
    def _known_placeholders(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        return _with_placeholders(command, ("text", "output"), PLACEHOLDERS)

    @model_validator(mode="after")
    def _enough_speakers(self) -> "CommandSettings":
        if len(set(self.speakers)) < len(self.speakers) or (self.voices or 0) > len(self.speakers):
            raise ValueError("speakers: name each once, and at least as many as `voices`")
        return self


F5_TTS = (
    "f5-tts_infer-cli",
    "--model=F5TTS_v1_Base",
    "--ref_audio={reference}",
    "--ref_text={reference_text}",
    "--gen_text={text}",
    "--output_dir=.",
    "--output_file={output}",
)
"""The documented command line of F5-TTS (github.com/SWivid/F5-TTS, src/f5_tts/infer)."""


class CloneSettings(_Program):
    """Zero-shot voice cloning: each voice is a person's reference clip, with the text that is said in it.

    ``references`` is a manifest with the columns ``path``, ``speaker`` and ``text``, or a folder of LibriTTS
    (``<speaker>/<chapter>/*.wav`` with ``*.normalized.txt``). A speaker's reference is the longest clip of
    ``min_seconds`` to ``max_seconds``; who has none is left out. ``command`` is F5-TTS by default, or any
    other cloning system as a list of arguments as in ``command``, with ``{reference}``, the audio file, and
    ``{reference_text}`` beside ``{text}`` and ``{output}``; ``{voice}``, ``{language}`` and ``{seed}`` may be
    used. ``label`` is what the corpus calls it. The licence by default is that of F5-TTS' weights: CC BY-NC.
    """

    name: Literal["clone"]
    label: str = Field("f5-tts", pattern=_LABEL)
    references: Path
    command: tuple[str, ...] = Field(F5_TTS, min_length=1, max_length=1000)
    min_seconds: float = Field(3.0, gt=0, le=600)
    max_seconds: float = Field(10.0, gt=0, le=600)
    timeout_seconds: float = Field(300.0, gt=0, le=3600)
    licence: str = "CC BY-NC 4.0 (F5-TTS' weights; its code is MIT), and that of the reference clips"

    @field_validator("command")
    @classmethod
    def _clones(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        return _with_placeholders(command, ("text", "output", "reference"), CLONE_PLACEHOLDERS)

    @model_validator(mode="after")
    def _some_length(self) -> "CloneSettings":
        if self.min_seconds > self.max_seconds:
            raise ValueError("max_seconds: give at least min_seconds")
        return self


EngineSettings = Annotated[
    EspeakSettings
    | KokoroSettings
    | PiperSettings
    | RecordingsSettings
    | UnlabelledSettings
    | CommandSettings
    | CloneSettings,
    Field(discriminator="name"),
]
