"""The manifest: the one table in which human recordings come in, for training and for evaluation.

CSV, JSON lines or Parquet with the columns ``path`` (relative to the manifest), ``speaker`` and
``content`` or ``text``, and optionally ``session``, ``language`` and ``split``. Every further column of
texts is a factor, such as ``gender`` or ``emotion``; columns of numbers alone, such as ``duration``, and
those of more than ``MAX_CLASSES`` values, such as remarks, are ignored. NeMo's manifests, lhotse's cuts
and tables with the audio in them are read too.
"""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from intervox.clips.paths import find_path
from intervox.clips.records import COLUMNS, Record, read_records
from intervox.errors import IntervoxError
from intervox.storage import atomic_path

UNKNOWN = "unknown: "
"""Before the path, the speaker or content of a recording of which it is not known: it shares it with none."""

MAX_CLASSES = 1_000
"""A column with more values than this is no factor."""

_MISSING = ("nan", "NaN", "<NA>")
"""How NumPy and pandas print a label that is not there."""

_WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))\.0+")
"""A whole number that pandas made a float, for the missing ones beside it."""

FactorValues = tuple[tuple[str, str], ...]
"""Further factors and their values, sorted by factor; unknown ones are left out."""


@dataclass(frozen=True, slots=True)
class Row:
    """One recording: who says what.

    Attributes
    ----------
    content
        Label of what is said; recordings of the same content share it.
    text
        The words, where they are known; otherwise the content.
    session
        Recordings of one session share a channel. Empty where it is not known.
    language
        BCP 47 tag.
    split
        ``train``, ``validation`` or ``test`` of an official split, or empty.
    labels
        What else is known, such as ``(("emotion", "fear"), ("gender", "female"))``.
    """

    path: Path
    speaker: str
    content: str
    text: str = ""
    session: str = ""
    language: str = "en"
    split: str = ""
    labels: FactorValues = ()


def as_labels(**values: str) -> FactorValues:
    """Return ``Row.labels`` of the values that are not empty."""
    return _shared(tuple(sorted((factor, value) for factor, value in values.items() if value)))


@lru_cache(MAX_CLASSES)
def _shared(labels: FactorValues) -> FactorValues:
    """Return one object for equal labels: a million rows have few different ones."""
    return labels


def read_manifest(path: Path, partial: bool = False) -> list[Row]:
    """Read a manifest.

    Parameters
    ----------
    partial
        Whether it may lack the speakers or the contents: enough to be measured on, not to learn from.
        Every recording then has one of its own.

    Raises
    ------
    IntervoxError
        It is missing, of no known format, lacks a column or a value, or names a column or a file
        twice; the message says which.
    """
    path = Path(find_path(str(path)))
    columns, records = read_records(path)
    if twice := [name for name, count in Counter(columns).items() if count > 1]:
        raise IntervoxError(f"{path} has the column {twice[0]!r} twice: keep one of them")
    names = set(columns)
    missing = {"path", "speaker"} - names | ({"content"} if not names & {"content", "text"} else set())
    if partial and missing in ({"speaker"}, {"content"}):
        missing = set()
    if missing:
        either = partial and missing == {"speaker", "content"}
        which = " or ".join(sorted(missing)) if either else ", ".join(sorted(missing))
        raise IntervoxError(f"{path} lacks the columns {which}: add {'one of ' * either}them")
    factors = _factors(records)
    rows = [_row(path, record, factors, "speaker" in names) for record in records]
    _check_each_once(path, rows, records)
    return rows


def read_paths(path: Path) -> list[tuple[str, str]]:
    """Return the name and the path of every clip of a manifest, whatever else it says or lacks."""
    columns, records = read_records(path)
    if "path" not in columns:
        raise IntervoxError(f"{path} lacks the column path: add it")
    clips = ((record.name, *_clip(path, record)) for record in records)
    return [(name or clip, str(found)) for name, clip, found in clips]


def _check_each_once(manifest: Path, rows: list[Row], records: list[Record]) -> None:
    """Refuse a file that is listed twice: it would be compared with itself, or have two speakers."""
    first: dict[str, int] = {}
    for number, row in enumerate(rows):
        earlier = first.setdefault(os.path.normpath(row.path), number)
        if earlier == number:
            continue
        speakers = rows[earlier].speaker, row.speaker
        both = f", and belongs to {speakers[0]!r} and to {speakers[1]!r}" if len(set(speakers)) > 1 else ""
        places = [records[index].place.removeprefix(f"{manifest}, ") for index in (earlier, number)]
        raise IntervoxError(
            f"{manifest} lists {row.path} twice, in {places[0]} and {places[1]}{both}: keep one of them"
        )


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    """Write a manifest as CSV, with absolute paths."""
    rows = list(rows)
    factors = sorted({factor for row in rows for factor, _ in row.labels})
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, *factors])
        for row in rows:
            own = [row.speaker, row.content, row.text, row.session, row.language, row.split]
            known = dict(row.labels)
            writer.writerow([row.path.resolve(), *own, *(known.get(factor, "") for factor in factors)])


def _factors(records: list[Record]) -> list[str]:
    """Return the further columns that hold classes rather than numbers, remarks or whole structures."""
    names = dict.fromkeys(name for record in records for name in record.values)
    return [name for name in names if name and name not in COLUMNS and _holds_classes(name, records)]


def _holds_classes(name: str, records: list[Record]) -> bool:
    values = (record.values.get(name) for record in records)
    given = {as_label(value) for value in values if not isinstance(value, list | dict)} - {""}
    return len(given) <= MAX_CLASSES and not all(map(_is_number, given))


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def as_label(value: object) -> str:
    """Return a label as text, empty where it is missing: 7 and 7.0 are one label, 7 and 007 are two."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None else str(value).strip()
    if text in _MISSING:
        return ""
    whole = _WHOLE.fullmatch(text) if text.endswith("0") else None
    return whole[1] if whole else text


def _value(record: Record, name: str) -> str:
    given = record.values.get(name)
    if isinstance(given, list | dict):
        raise IntervoxError(f"{record.place}: {name} is not one value: write a text")
    # What is said or where it lies is no label: "nan" may be a word, and "7.0" a file.
    is_written = isinstance(given, str) and name in ("path", "text")
    value = str(given).strip() if is_written else as_label(given)
    if "\0" in value:
        raise IntervoxError(f"{record.place}: {name} holds a NUL byte; save it as text")
    return value


def _clip(manifest: Path, record: Record) -> tuple[str, Path]:
    """Return the path as it is written, and where it leads."""
    clip = _value(record, "path")
    if not clip:
        raise IntervoxError(f"{record.place}: path must not be empty")
    path = manifest.parent / clip
    return clip, path if clip.isascii() else Path(find_path(str(path)))


def _row(manifest: Path, record: Record, factors: list[str], speakers: bool) -> Row:
    clip, path = _clip(manifest, record)
    speaker = _value(record, "speaker") if speakers else f"{UNKNOWN}{clip}"
    if not speaker:
        raise IntervoxError(f"{record.place}: speaker must not be empty")
    text = _value(record, "text")
    return Row(
        path,
        speaker,
        # A clip whose content is unknown shares it with no other.
        _value(record, "content") or text or f"{UNKNOWN}{clip}",
        text,
        _value(record, "session"),
        _value(record, "language") or "en",
        _value(record, "split"),
        as_labels(**{factor: _value(record, factor) for factor in factors}),
    )
