"""A table's rows as they are written, each with its place: CSV, JSON lines, Parquet."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from intervox.clips.embedded import audio_column, extract_audio
from intervox.clips.foreign import PATH_COLUMNS, as_our_columns
from intervox.clips.text_files import open_text
from intervox.errors import IntervoxError, missing_extra

COLUMNS = ("path", "speaker", "content", "text", "session", "language", "split")
"""What a manifest's columns mean by their names; every other one may be a factor."""

_WHAT = "a manifest"


@dataclass(frozen=True, slots=True)
class Record:
    """A row.

    Attributes
    ----------
    place
        Where it stands, for messages: ``mine.csv, line 3``.
    values
        Column to value, as the format has it.
    name
        Of the clip, where its path is one that we made; empty where the path is its name.
    """

    place: str
    values: dict[str, Any]
    name: str = ""


Table = tuple[list[str], list[Record]]
"""Columns and rows."""


def _csv(path: Path) -> Table:
    """Read a CSV file; rows of another length than the header, or with a stray quote, are refused."""
    with open_text(path, _WHAT, newline="") as file:
        rows = _csv_rows(path, file)
        columns = [name.strip() for name in next(rows, (1, []))[1]]
        _check_separator(path, columns)
        place = next((columns.index(name) for name in PATH_COLUMNS if name in columns), 0)
        records = []
        for number, row in rows:
            where = f"{path}, line {number}"
            _check_length(where, row, columns)
            if _swallows_rows(path.parent, row, place):
                raise IntervoxError(f"{where}: a quote there swallows the next line: close or remove it")
            records.append(Record(where, dict(zip(columns, row, strict=False))))
    return columns, records


def _check_separator(path: Path, columns: list[str]) -> None:
    for separator, name in {";": "semicolons", "\t": "tabs"}.items():
        if len(columns) == 1 and separator in columns[0]:
            raise IntervoxError(f"{path} separates its values by {name}: write commas")


def _csv_rows(path: Path, file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not empty, and the lines on which they begin."""
    reader = csv.reader(file, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise IntervoxError(
                f"{path}, line {number}: a quote there does not close as it should ({error}): remove it, or "
                "double the quotes inside a value"
            ) from None
        if row is None:
            return
        if row:
            yield number, row


def _check_length(where: str, row: list[str], columns: list[str]) -> None:
    if any(row[len(columns) :]):
        raise IntervoxError(f"{where} has more values than columns: put one with a comma in quotes")
    if len(row) < len(columns):
        raise IntervoxError(
            f"{where} has fewer values ({len(row)}) than columns ({len(columns)}): add the others, "
            "empty where unknown"
        )


def _swallows_rows(folder: Path, row: list[str], place: int) -> bool:
    """Say whether a quote that closes late made one row of several.

    Values may have several lines; those of one row do not name two files.
    """
    if not any("\n" in value or "\r" in value for value in row):
        return False
    lines: list[list[str]] = [[]]
    for value in row:
        first, *others = value.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        lines[-1] += first.split(",")
        lines += [other.split(",") for other in others]
    suffix = Path(lines[0][place] if place < len(lines[0]) else row[place]).suffix
    named = [line[place].strip() for line in lines if place < len(line)]
    files = [Path(name).suffix == suffix if suffix else (folder / name).is_file() for name in named]
    return files.count(True) > 1


def _jsonl(path: Path) -> Table:
    """Read lines of JSON objects, of ours, NeMo's or lhotse's; ``.gz`` too."""
    records = []
    with open_text(path, _WHAT) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                where = f"{path}, line {number}"
                records.append(Record(where, as_our_columns(where, path.parent, _json_object(where, line))))
    return list(dict.fromkeys(name for record in records for name in record.values)), records


def _json_object(where: str, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise IntervoxError(f"{where} is not usable JSON ({error}): write one object per line") from None
    if not isinstance(found, dict):
        raise IntervoxError(f"{where} is not a JSON object: write one per recording")
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a field that is given twice, of which JSON would keep the last."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} is given twice")
        found[name] = value
    return found


def _parquet(path: Path) -> Table:
    """Read a Parquet file's columns of text; audio embedded in it becomes files in the cache folder."""
    _, pq = pyarrow_modules()
    if not path.is_file():
        raise IntervoxError(f"{path} is missing: give the path of {_WHAT}")
    with readable_parquet(path):
        schema = pq.read_schema(path)
        # Audio and other nested columns may be larger than memory.
        wanted = [field.name for field in schema if field.name in COLUMNS or _is_text(field.type)]
        rows = pq.read_table(path, columns=wanted).to_pylist()
    columns, clips = list(schema.names), [("", "")] * len(rows)
    audio = audio_column(schema)
    if audio and not any((path.parent / str(row.get("path"))).is_file() for row in rows[:1]):
        columns = ["path", *(name for name in columns if name not in ("path", audio))]
        with readable_parquet(path):
            clips = extract_audio(path, audio)
        rows = [{**row, "path": clip} for row, (_, clip) in zip(rows, clips, strict=True)]
    return columns, [
        Record(f"{path}, row {number}", row, name)
        for number, (row, (name, _)) in enumerate(zip(rows, clips, strict=True), start=1)
    ]


@contextmanager
def readable_parquet(path: Path) -> Iterator[None]:
    """Turn whatever Arrow says of a damaged Parquet file into one sentence."""
    pa, _ = pyarrow_modules()
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        if isinstance(error, FileNotFoundError) or getattr(error, "errno", None):
            raise  # the system's, such as a folder that may not be read
        reason = " ".join(str(error).split()) or type(error).__name__
        raise IntervoxError(
            f"{path} is not a readable Parquet file ({reason}): regenerate the file"
        ) from None


def pyarrow_modules() -> tuple[Any, Any]:
    """Import ``pyarrow`` and ``pyarrow.parquet``, which nothing but Parquet needs.

    Raises
    ------
    IntervoxError
        It is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise missing_extra("pyarrow", "train", "reading or writing Parquet files") from None
    return pyarrow, pyarrow.parquet


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return any(test(kind) for test in (types.is_string, types.is_large_string, types.is_string_view))


_READERS = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".jsonl.gz": _jsonl,
    ".json": _jsonl,
    ".parquet": _parquet,
}
MANIFEST_FORMATS = tuple(_READERS)


def format_of(path: Path) -> str | None:
    """Return which of ``MANIFEST_FORMATS`` a file's name ends in, if any."""
    return next((ending for ending in MANIFEST_FORMATS if path.name.endswith(ending)), None)


def read_records(path: Path) -> Table:
    """Read a table of any of the formats.

    Raises
    ------
    IntervoxError
        It is missing, of another format, or not as its format has it; the message names the row.
    """
    ending = format_of(path)
    if ending is None:
        raise IntervoxError(
            f"{path} is not a manifest: give a file that ends in {', '.join(MANIFEST_FORMATS)}"
        )
    return _READERS[ending](path)
