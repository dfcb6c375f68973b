"""Genders of speakers from a file, for corpora that come without them."""

import csv
from pathlib import Path

from intervox.clips.text_files import read_lines
from intervox.errors import IntervoxError
from intervox.evaluation.protocols.base import GENDERS

_SPEAKER = ("speaker", "voxceleb1 id", "id", "reader")
_GENDER = ("gender", "sex")
_KNOWN = GENDERS | {name: name for name in GENDERS.values()}


def read_genders(path: Path) -> dict[str, str]:
    """Read a table of speakers: ours, LibriSpeech's ``SPEAKERS.TXT``, or VoxCeleb's ``vox1_meta.csv``.

    Columns are separated by commas, tabs or bars, and named by a first line, which may be a comment:
    ``speaker,gender`` is enough. Genders are ``f`` or ``m``, or in words, in any case; an empty one is
    unknown.

    Returns
    -------
    dict
        Speaker to ``female`` or ``male``.

    Raises
    ------
    IntervoxError
        The file is missing, a column is, or a gender is another word.
    """
    lines = [line for line in read_lines(path) if line.strip()]
    header = next((line for line in reversed(lines) if _columns(line) is not None), None)
    if header is None:
        raise IntervoxError(f"{path} names no columns speaker and gender: write them in its first line")
    separator, speaker, gender = _columns(header) or (",", 0, 0)
    found = {}
    for number, row in enumerate(csv.reader(lines, delimiter=separator), start=1):
        if lines[number - 1] == header or row[0].startswith(";"):
            continue
        if len(row) <= max(speaker, gender):
            raise IntervoxError(f"{path}, line {number} lacks the gender: {lines[number - 1][:60]!r}")
        said = row[gender].strip().lower()
        if said and said not in _KNOWN:
            raise IntervoxError(f"{path}, line {number}: the gender is {row[gender].strip()!r}: write f or m")
        if said:
            found[row[speaker].strip()] = _KNOWN[said]
    return found


def _columns(line: str) -> tuple[str, int, int] | None:
    """Return the separator and the places of speaker and gender, where a line names both."""
    for separator in (",", "\t", "|"):
        names = [name.strip().lower() for name in line.strip().lstrip(";").split(separator)]
        speaker = next((names.index(name) for name in _SPEAKER if name in names), None)
        gender = next((names.index(name) for name in _GENDER if name in names), None)
        if speaker is not None and gender is not None:
            return separator, speaker, gender
    return None
