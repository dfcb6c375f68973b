"""The schema of a corpus: the cells of its plan, the columns of its shards, the facts of ``corpus.json``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field


@dataclass
class Cell:
    """One cell of the plan: ``copy`` of the rendition ``seed`` of a text by a speaker, under a condition.

    Attributes
    ----------
    severity
        Of the condition, in [0, 1].
    session
        Recording session; empty for synthetic speech.
    factors
        Further columns: those of a recordings manifest, and ``style``. Every cell of a plan has the
        same ones; empty values are unknown.
    """

    cell_id: int
    block: int
    split: str
    speaker: str
    content: str
    condition: str
    severity: float
    text: str
    kind: str
    language: str
    engine: str
    voice: str
    transformation: str
    session: str
    seed: int
    copy: int
    factors: Mapping[str, str] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """Return the values of the plan's columns."""
        row = {**vars(self), **self.factors}
        del row["factors"]
        return row


_TYPES = {int: pa.int64(), float: pa.float64(), str: pa.string()}

CELL_SCHEMA = pa.schema([(one.name, _TYPES[one.type]) for one in fields(Cell) if one.type in _TYPES])
"""The plan: one row per cell; further factors are further columns of strings."""

QUALITY_FIELDS = [
    *(
        pa.field(name, pa.float32())
        for name in (
            *("clipped_share", "silent_share", "leading_silence", "trailing_silence", "crest_db"),
            *("dc_offset", "seconds_per_character", "evidence", "cer", "wer", "per", "voice_distance"),
        )
    ),
    pa.field("transcript", pa.string()),
]
"""What is measured on a rendition before any condition; null where a measure does not apply."""

SHARD_SCHEMA = pa.schema(
    [
        *CELL_SCHEMA,
        ("audio", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("duration", pa.float64()),
        *QUALITY_FIELDS,
        ("attempt", pa.int64()),
        ("error", pa.string()),
    ]
)
"""A shard holds the plan's columns too: it can be read on its own."""


def read_cells(plan: pa.Table) -> list[Cell]:
    """Read the rows of a plan."""
    factors = plan.column_names[len(CELL_SCHEMA) :]
    return [Cell(factors={name: row.pop(name) for name in factors}, **row) for row in plan.to_pylist()]


def with_factors(schema: pa.Schema, factors: Sequence[str]) -> pa.Schema:
    """Add the columns of further factors to the schema of a plan or a shard."""
    return pa.schema([*schema, *((name, pa.string()) for name in factors)])


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class VoiceFacts(_Facts):
    """A voice that a corpus uses, and the family that no two splits share."""

    name: str
    family: str
    language: str = ""


class EngineFacts(_Facts):
    """An engine, and those of its voices that the corpus uses."""

    version: str = "?"
    licence: str = "?"
    voices: tuple[VoiceFacts, ...] = ()


class CastingFacts(_Facts):
    """How many voices were auditioned and how much they differ.

    Attributes
    ----------
    distinct
        Groups of near-duplicates count once.
    effective
        Vendi score: the number of voices without any likeness that would be as diverse.
    min_distance
        Voices nearer than that are near-duplicates.
    near_duplicates
        Groups of speakers; the first one stays.
    merged, dropped
        Old label to new; labels that are left out.
    """

    voices: int
    distinct: int
    effective: float
    min_distance: float
    near_duplicates: list[list[str]]
    merged: dict[str, str]
    dropped: list[str]


class CorpusFacts(_Facts):
    """What ``corpus.json`` says; empty where somebody else made the corpus.

    Attributes
    ----------
    format_version
        ``schema`` in the file.
    key
        Hash of all that decides the bytes.
    splits
        Cells of each split.
    shard_size
        Cells per shard; the last one may have fewer.
    failed
        Cells without audio.
    """

    format_version: int | None = Field(None, alias="schema")
    key: str = ""
    seed: int | None = None
    engines: dict[str, EngineFacts] = {}
    casting: CastingFacts | None = None
    cells: int | None = None
    renditions: int | None = None
    splits: dict[str, int] = {}
    shard_size: int = Field(0, ge=0)
    failed: int | None = None
    hours: float | None = None

    @property
    def families(self) -> dict[tuple[str, str], str]:
        """Engine and voice to voice family, as far as they are listed."""
        return {
            (name, voice.name): voice.family
            for name, engine in self.engines.items()
            for voice in engine.voices
        }
