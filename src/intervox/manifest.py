"""The manifest: the one table in which human recordings come in, for training and for evaluation.

CSV, JSON lines or Parquet with the columns ``path`` (relative to the manifest), ``speaker`` and
``content`` or ``text``, and optionally ``session`` and ``language``; others are ignored.
"""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from intervox.errors import IntervoxError
from intervox.storage import atomic_path

FORMATS = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True)
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
    """

    path: Path
    speaker: str
    content: str
    text: str = ""
    session: str = ""
    language: str = "en"


def read_manifest(path: Path) -> list[Row]:
    """Read a manifest.

    Raises
    ------
    IntervoxError
        It is missing, of no known format, or lacks a column or a value; the message names it.
    """
    if path.suffix not in FORMATS:
        raise IntervoxError(f"{path} is no manifest: give a file that ends in {', '.join(FORMATS)}")
    try:
        records = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}[path.suffix](path)
    except FileNotFoundError:
        raise IntervoxError(f"{path} is missing: give the path of a manifest") from None
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError, pa.ArrowInvalid) as error:
        reason = f"not a readable {path.suffix[1:]} file ({error})"
        raise IntervoxError(f"{path} is {reason}: save it as one, in UTF-8") from None
    return [_row(path, number, record) for number, record in enumerate(records, start=1)]


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    """Write a manifest as CSV, with absolute paths."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "speaker", "content", "text", "session", "language"])
        for row in rows:
            writer.writerow(
                [row.path.resolve(), row.speaker, row.content, row.text, row.session, row.language]
            )


def _csv(path: Path) -> list[dict[str, Any]]:
    # utf-8-sig also reads what spreadsheets write, with a byte order mark in front.
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        _check_columns(path, set(reader.fieldnames or []))
        return list(reader)


def _jsonl(path: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not all(isinstance(record, dict) for record in records):
        raise IntervoxError(f"{path} holds lines that are no JSON objects: write one object a recording")
    _check_columns(path, set().union(*records))
    return records


def _parquet(path: Path) -> list[dict[str, Any]]:
    known = ["path", "speaker", "content", "text", "session", "language"]
    names = pq.read_schema(path).names
    _check_columns(path, set(names))
    return list(pq.read_table(path, columns=[name for name in known if name in names]).to_pylist())


def _check_columns(path: Path, names: set[str]) -> None:
    missing = {"path", "speaker"} - names
    if not {"content", "text"} & names:
        missing.add("content")
    if missing:
        raise IntervoxError(f"{path} lacks the columns {', '.join(sorted(missing))}: add them")


def _row(manifest: Path, number: int, record: dict[str, Any]) -> Row:
    def value(name: str) -> str:
        return "" if record.get(name) is None else str(record[name]).strip()

    clip, speaker = value("path"), value("speaker")
    if not clip or not speaker:
        raise IntervoxError(f"{manifest}, recording {number}: path and speaker must not be empty")
    # A clip whose content is unknown shares it with no other.
    content = value("content") or value("text") or f"unknown: {clip}"
    return Row(
        manifest.parent / clip,
        speaker,
        content,
        value("text"),
        value("session"),
        value("language") or "en",
    )
