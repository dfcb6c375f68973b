"""The manifest: the one table in which human recordings come in, for training and for evaluation.

CSV, JSON lines or Parquet with the columns ``path`` (relative to the manifest), ``speaker`` and
``content`` or ``text``, and optionally ``session``, ``language`` and ``split``. Every further column of
texts is a factor, such as ``gender`` or ``emotion``; columns of numbers alone, such as ``duration``, and
those of more than ``MAX_CLASSES`` values, such as remarks, are ignored.
"""

import csv
import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from intervox.errors import IntervoxError
from intervox.storage import atomic_path

MANIFEST_FORMATS = (".csv", ".jsonl", ".parquet")
COLUMNS = ("path", "speaker", "content", "text", "session", "language", "split")
UNKNOWN = "unknown: "
"""Before the path, the speaker or content of a recording of which it is not known: it shares it with none."""

MAX_CLASSES = 1_000
"""A column with more values than this is no factor."""

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
    if path.suffix not in MANIFEST_FORMATS:
        raise IntervoxError(f"{path} is no manifest: give a file that ends in {', '.join(MANIFEST_FORMATS)}")
    try:
        columns, records = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}[path.suffix](path)
    except FileNotFoundError:
        raise IntervoxError(f"{path} is missing: give the path of a manifest") from None
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError, pa.ArrowInvalid) as error:
        reason = f"not a readable {path.suffix[1:]} file ({error})"
        raise IntervoxError(f"{path} is {reason}: save it as one, in UTF-8") from None
    if twice := [name for name, count in Counter(columns).items() if count > 1]:
        raise IntervoxError(f"{path} has the column {twice[0]!r} twice: keep one of them")
    names = set(columns)
    missing = {"path", "speaker"} - names | ({"content"} if not names & {"content", "text"} else set())
    if partial and missing in ({"speaker"}, {"content"}):
        missing = set()
    if missing:
        raise IntervoxError(f"{path} lacks the columns {', '.join(sorted(missing))}: add them")
    if "speaker" not in names:
        records = [{**record, "speaker": f"{UNKNOWN}{record.get('path')}"} for record in records]
    factors = _factors(records)
    rows = [_row(path, number, record, factors) for number, record in enumerate(records, start=1)]
    _check_each_once(path, rows)
    return rows


def _check_each_once(manifest: Path, rows: list[Row]) -> None:
    """Refuse a file that is listed twice: it would be compared with itself, or have two speakers."""
    first: dict[str, int] = {}
    for number, row in enumerate(rows):
        earlier = first.setdefault(os.path.normpath(row.path), number)
        if earlier == number:
            continue
        speakers = rows[earlier].speaker, row.speaker
        both = f", and belongs to {speakers[0]!r} and to {speakers[1]!r}" if len(set(speakers)) > 1 else ""
        raise IntervoxError(
            f"{manifest} lists {row.path} twice, as recordings {earlier + 1} and {number + 1}{both}: keep "
            "one of them"
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


def _csv(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    # utf-8-sig also reads what spreadsheets write, with a byte order mark in front.
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        records: list[dict[Any, Any]] = list(reader)
        for number, record in enumerate(records, start=1):
            if any(record.pop(None, ())):
                raise IntervoxError(
                    f"{path}, recording {number} has more values than columns: put one with a comma in quotes"
                )
        return list(reader.fieldnames or ()), records


def _jsonl(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not all(isinstance(record, dict) for record in records):
        raise IntervoxError(f"{path} holds lines that are no JSON objects: write one object a recording")
    return list(set().union(*records)), records


def _parquet(path: Path) -> tuple[list[str], list[dict[str, Any]]]:
    schema = pq.read_schema(path)
    # Audio and other nested columns may be larger than memory.
    wanted = [field.name for field in schema if field.name in COLUMNS or _is_text(field.type)]
    return schema.names, pq.read_table(path, columns=wanted).to_pylist()


def _is_text(kind: Any) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _factors(records: list[dict[str, Any]]) -> list[str]:
    """Return the further columns that hold classes rather than numbers, remarks or whole structures."""
    names = dict.fromkeys(name for record in records for name in record)
    return [name for name in names if name and name not in COLUMNS and _holds_classes(name, records)]


def _holds_classes(name: str, records: list[dict[str, Any]]) -> bool:
    values = {record.get(name) for record in records if not isinstance(record.get(name), list | dict)}
    given = {str(value).strip() for value in values if value is not None} - {""}
    return len(given) <= MAX_CLASSES and not all(map(_is_number, given))


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _row(manifest: Path, number: int, record: dict[str, Any], factors: list[str]) -> Row:
    def value(name: str) -> str:
        text = "" if record.get(name) is None else str(record[name]).strip()
        if "\0" in text:
            raise IntervoxError(f"{manifest}, recording {number}: {name} holds a NUL byte; save it as text")
        return text

    clip, speaker = value("path"), value("speaker")
    if not clip or not speaker:
        raise IntervoxError(f"{manifest}, recording {number}: path and speaker must not be empty")
    # A clip whose content is unknown shares it with no other.
    content = value("content") or value("text") or f"{UNKNOWN}{clip}"
    return Row(
        manifest.parent / clip,
        speaker,
        content,
        value("text"),
        value("session"),
        value("language") or "en",
        value("split"),
        as_labels(**{factor: value(factor) for factor in factors}),
    )
