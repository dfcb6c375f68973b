"""The ``corpus`` part of the recipe: engines, texts, blocks, conditions and checks."""

import math
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from intervox.recipe.engines import MOST_BLOCKS, ON_RECORD, EngineSettings, EspeakSettings, Split
from intervox.recipe.parts import Layers, Names, Part, Range, Share, Weight
from intervox.recipe.style import StyleSettings

TextKind = Literal["word", "pseudo-word", "phrase", "sentence", "keyword", "number", "spelled", "running"]
KINDS: tuple[TextKind, ...] = get_args(TextKind)


class TextSettings(Part):
    """The content inventory: generated, or the user's own file with one text a line.

    ``count`` is that of each language, ``kinds`` the share of each kind of generated text; shares
    are brought to a sum of one. ``file_language`` is that of the file's lines that name none.
    ``reserved`` are texts to leave out beside those of the known evaluation protocols;
    ``protocol_texts`` lets these into training, which their keyword results then no longer test.
    """

    count: int = Field(1600, ge=2, le=100_000)
    kinds: dict[TextKind, Weight] = Field(
        {"word": 0.30, "pseudo-word": 0.25, "phrase": 0.22, "sentence": 0.23}
    )
    file: Path | None = None
    file_language: str = "en"
    reserved: Names = ()
    protocol_texts: bool = False

    @field_validator("kinds")
    @classmethod
    def _shares(cls, kinds: dict[TextKind, float]) -> dict[TextKind, float]:
        total = sum(kinds.values())
        if min(kinds.values(), default=-1) < 0 or not 0 < total < math.inf:
            raise ValueError(f"give a share of 0 or more to some of {', '.join(KINDS)}, not all 0")
        return {kind: kinds[kind] / total for kind in KINDS if kinds.get(kind)}


class BlockSettings(Part):
    """A split's blocks: each crosses ``speakers`` with ``contents`` completely."""

    blocks: int = Field(ge=0, le=MOST_BLOCKS)
    speakers: int = Field(8, ge=2, le=1000)
    contents: int = Field(8, ge=2, le=1000)


CONDITION_BOUNDS = {
    "padding_seconds": (0.0, 10.0),
    "snr_db": (-30.0, 100.0),
    "low_hz": (10.0, 7900.0),
    "high_hz": (10.0, 7900.0),
    "tilt_db_per_octave": (-20.0, 20.0),
    "clipped_share": (0.0, 0.5),
    "lost_share": (0.0, 0.5),
    "level_dbfs": (-90.0, 0.0),
}
"""What the ranges of ``ConditionSettings`` may hold."""


class ConditionSettings(Part):
    """How often each disturbance is drawn, and from which range (uniformly).

    A corpus has ``count`` different conditions. ``clean`` is the share of untouched cells; with
    ``noise_recordings``, that share of the noise is from ``noise_folder`` (30 s of each recording).
    """

    count: int = Field(512, ge=1, le=100_000)
    clean: Share = 0.1
    padding: Share = 0.5
    padding_seconds: Range = (0.0, 0.35)
    room: Share = 0.04
    rooms: int = Field(48, ge=1, le=1000)
    noise: Share = 0.8
    snr_db: Range = (8.0, 40.0)
    noise_folder: Path | None = None
    noise_recordings: Share = 0.5
    microphone: Share = 0.03
    microphones: int = Field(24, ge=1, le=1000)
    band: Share = 0.04
    low_hz: Range = (40.0, 350.0)
    high_hz: Range = (3000.0, 7600.0)
    tilt: Share = 0.03
    tilt_db_per_octave: Range = (-4.0, 4.0)
    clipping: Share = 0.03
    clipped_share: Range = (0.001, 0.03)
    codec: Share = 0.03
    packet_loss: Share = 0.02
    lost_share: Range = (0.01, 0.2)
    level: Share = 1.0
    level_dbfs: Range = (-32.0, -1.0)

    @field_validator("*")
    @classmethod
    def _within_bounds(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, tuple):
            return value
        lowest, highest = CONDITION_BOUNDS[str(info.field_name)]
        if not lowest <= value[0] <= value[1] <= highest:
            raise ValueError(f"give two numbers from {lowest:g} to {highest:g}, the lower bound first")
        return value

    @model_validator(mode="after")
    def _band_is_open(self) -> "ConditionSettings":
        if self.low_hz[1] >= self.high_hz[0]:
            raise ValueError("low_hz must end below where high_hz begins")
        return self


class QualitySettings(Part):
    """What a rendition must be like; one that is not is rendered again, ``attempts`` times in all.

    ``recognise`` needs the extra ``quality``: a recogniser listens to every English rendition.
    ``min_evidence`` (nats a token; twice and three times as much for texts of two words and of more)
    is the check that finds wrong texts; the error rates ``max_cer`` and ``max_per`` also refuse what is
    good but hard to spell. ``max_voice_distance`` is a cosine distance in the casting's speaker space.
    """

    attempts: int = Field(2, ge=1, le=100)
    max_silent_share: Share = 0.8
    max_clipped_share: Share = 0.01
    seconds_per_character: Range = (0.02, 0.6)
    recognise: bool = False
    min_evidence: float | None = Field(0.5, ge=-100, le=100)
    max_cer: float | None = Field(None, gt=0, le=100)
    max_per: float | None = Field(None, gt=0, le=100)
    max_voice_distance: float | None = Field(None, gt=0, le=2)

    @field_validator("seconds_per_character")
    @classmethod
    def _in_order(cls, bounds: Range) -> Range:
        if not 0 <= bounds[0] < bounds[1] <= 60:
            raise ValueError("give two numbers from 0 to 60, the lower bound first")
        return bounds


class CastingSettings(Part):
    """The audition that finds near-duplicate voices before anything else is rendered.

    Every synthetic voice says ``texts`` texts; voices nearer to each other than ``min_distance``, in
    a speaker space over the backbone's ``layers``, are kept, merged under one label, or dropped.
    """

    near_duplicates: Literal["keep", "merge", "drop"] = "drop"
    min_distance: float = Field(0.03, ge=0, le=1)
    texts: int = Field(4, ge=4, le=1000)
    backbone: str = "bundled:whisper-tiny.en"
    layers: Layers = Field((0, 1, 2), min_length=1)


class CorpusRecipe(Part):
    """What is synthesised.

    Each training rendition appears under ``copies`` conditions, the first of them clean with
    ``dry_copy``. Each held-out split gets the share ``held_out`` of the voices and of the texts.
    """

    engines: tuple[EngineSettings, ...] = Field((EspeakSettings(),), max_length=100)
    texts: TextSettings = TextSettings()
    train: BlockSettings = BlockSettings(blocks=60)
    validation: BlockSettings = BlockSettings(blocks=0)
    test: BlockSettings = BlockSettings(blocks=10)
    held_out: Share = 0.15
    copies: int = Field(2, ge=1, le=100)
    dry_copy: bool = False
    style: StyleSettings = StyleSettings()
    conditions: ConditionSettings = ConditionSettings()
    quality: QualitySettings = QualitySettings()
    casting: CastingSettings | None = None
    shard_size: int = Field(256, ge=1, le=65_536)
    max_failures: Share = 0.01

    @model_validator(mode="after")
    def _usable(self) -> "CorpusRecipe":
        names = [engine.name for engine in self.engines]
        if not names or len({engine.key for engine in self.engines}) < len(names):
            raise ValueError(
                "engines: name at least one, and each once; several commands each need a `label`"
            )
        if not self.train.blocks:
            raise ValueError("train.blocks: at least 1")
        if names == ["unlabelled"]:
            raise ValueError(
                "engines: unlabelled recordings share no text; add an engine that speaks, as espeak"
            )
        if self.casting and set(names) <= set(ON_RECORD):
            raise ValueError("casting: people on record can't audition; leave it out")
        if self.style.on and set(names) <= set(ON_RECORD):
            raise ValueError("style: people on record keep the style they spoke in; leave it out")
        return self

    def cells(self, split: Split) -> int:
        """Count the cells of a split's synthetic blocks; what people on record add depends on their files."""
        if not any(split in engine.splits and engine.name not in ON_RECORD for engine in self.engines):
            return 0
        settings: BlockSettings = getattr(self, split)
        copies = self.copies if split == "train" else 1
        return settings.blocks * settings.speakers * settings.contents * copies
