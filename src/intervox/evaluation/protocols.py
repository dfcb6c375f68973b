"""Evaluation sets: folders as they are distributed, turned into one manifest.

A reader maps a folder to rows of path, speaker and content. Adding a corpus is one function and one
registry line; any other corpus comes with a ``manifest.csv`` of those columns.
"""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from intervox.errors import IntervoxError
from intervox.manifest import Row, read_manifest

MANIFEST = "manifest.csv"
_OURS = ("corpus", "synthetic")


@dataclass(frozen=True)
class Protocol:
    """An evaluation set.

    Attributes
    ----------
    name
        Key in ``metrics.json``.
    licence
        Of the recordings.
    rows
        Sorted by path.
    """

    name: str
    licence: str
    rows: list[Row]


def _librispeech(folder: Path) -> list[Row]:
    """Read ``<speaker>/[<chapter>/]<speaker>-<chapter>-<n>.flac``; each utterance has its own text."""
    return [Row(path, path.stem.split("-")[0], path.stem) for path in folder.glob("**/*-*-*.flac")]


def _speech_commands(folder: Path) -> list[Row]:
    """Read ``<word>/<speaker>_nohash_<n>.{wav,flac}``."""
    return [
        Row(path, path.stem.split("_nohash_")[0], path.parent.name) for path in folder.glob("*/*_nohash_*")
    ]


_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def _fsdd(folder: Path) -> list[Row]:
    """Read ``<digit>_<speaker>_<n>.wav``."""
    rows = []
    for path in folder.glob("**/[0-9]_*_*.wav"):
        digit, speaker = path.stem.split("_")[:2]
        rows.append(Row(path, speaker, digit, text=_DIGITS[int(digit)]))
    return rows


@dataclass(frozen=True)
class _Known:
    folder: str
    licence: str
    read: Callable[[Path], list[Row]]


READERS = {
    "librispeech": _Known("librispeech/test-other", "CC BY 4.0", _librispeech),
    "speech_commands": _Known("speech_commands", "CC BY 4.0", _speech_commands),
    "fsdd": _Known("fsdd", "CC BY-SA 4.0", _fsdd),
}


def data_folder() -> Path:
    """Return where human corpora are looked for: ``$INTERVOX_DATA`` or ``../shared/corpora``."""
    return Path(os.environ.get("INTERVOX_DATA") or "../shared/corpora")


def find_protocols(names: tuple[str, ...], max_clips: int | None = None) -> list[Protocol]:
    """Read the named protocols, or with ``auto`` every one that the data folder holds.

    Parameters
    ----------
    names
        Keys of ``READERS``, folders with a ``manifest.csv``, or ``auto``.
    max_clips
        Keep about this many clips of each, evenly spaced over the sorted paths.

    Raises
    ------
    IntervoxError
        A protocol that was asked for by name is not there.
    """
    base = data_folder()
    if "INTERVOX_DATA" in os.environ and not base.is_dir():
        raise IntervoxError(f"INTERVOX_DATA is {base}, which is not a folder: correct or unset it")
    found = [name for name, known in READERS.items() if (base / known.folder).is_dir()]
    own = sorted(path.parent.name for path in base.glob(f"*/{MANIFEST}"))
    found += [name for name in own if name not in READERS]
    wanted = [name for asked in names for name in (found if asked == "auto" else [asked])]
    return [_thin(_read(name, base), max_clips) for name in dict.fromkeys(wanted)]


def _read(name: str, base: Path) -> Protocol:
    if Path(name).name != name or name in _OURS:
        raise IntervoxError(f"protocol {name!r}: give the name of a folder in {base}, not {_OURS}")
    if name in READERS:
        known = READERS[name]
        folder, licence, rows = base / known.folder, known.licence, known.read(base / known.folder)
    else:
        folder, licence = base / name, "as its owner states"
        rows = read_manifest(folder / MANIFEST) if (folder / MANIFEST).is_file() else []
    if not rows:
        raise IntervoxError(
            f"protocol {name!r} has no recordings in {folder}: set INTERVOX_DATA to the folder that holds it"
        )
    speakers = Counter(row.speaker for row in rows)
    if len(speakers) < 2 or max(speakers.values()) < 2:
        raise IntervoxError(
            f"protocol {name!r} needs at least two speakers, and two clips of one of them: it has "
            f"{len(rows)} clips of {len(speakers)}"
        )
    return Protocol(name, licence, sorted(rows, key=lambda row: str(row.path)))


def _thin(protocol: Protocol, max_clips: int | None) -> Protocol:
    if max_clips is None or len(protocol.rows) <= max_clips:
        return protocol
    step = len(protocol.rows) / max_clips
    kept = [protocol.rows[int(index * step)] for index in range(max_clips)]
    return Protocol(protocol.name, protocol.licence, kept)
