"""Where a path leads that somebody typed or listed, and which files in a folder of clips are none."""

import unicodedata
import warnings
from collections.abc import Iterable
from glob import escape, glob, has_magic
from pathlib import Path
from typing import Literal

from intervox.errors import IntervoxWarning

_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
_CLUTTER = (".DS_Store", "Thumbs.db", "desktop.ini")


def find_path(name: str) -> str:
    """Return a path as it was given, or in the other Unicode normal form where only that is there.

    macOS decomposes accents in file names and other systems compose them: "é" may be one character or
    two, and a list made on one machine names files of another.
    """
    if name.isascii() or Path(name).exists():
        return name
    path = Path(name)
    found = Path(path.anchor)
    for part in path.relative_to(found).parts:
        spellings = (found / unicodedata.normalize(form, part) for form in _FORMS)
        there = next((each for each in (found / part, *spellings) if each.exists()), None)
        if there is None:
            return name
        found = there
    return str(found)


def match(pattern: str) -> list[str]:
    """Return the files that a pattern stands for, sorted; what systems leave in folders is skipped.

    Folders that are there by the pattern's own spelling, such as ``clips [2024]``, are taken by it.
    """
    spellings = {pattern, *(unicodedata.normalize(form, pattern) for form in _FORMS)}
    found = (path for each in spellings for path in glob(_with_literal_folders(each), recursive=True))
    # macOS finds one folder under both of its spellings.
    files = {
        (unicodedata.normalize("NFC", path), Path(path).stat().st_ino): path
        for path in found
        if Path(path).is_file()
    }.values()
    clutter = {path for path in files if is_clutter(Path(path).name)}
    warn_of_skipped(sorted(clutter), repr(pattern))
    return sorted({*files} - clutter)


def _with_literal_folders(pattern: str) -> str:
    """Escape the leading folders of a pattern, as far as they are there."""
    path = Path(pattern)
    there = next((folder for folder in path.parents if Path(find_path(str(folder))).is_dir()), Path())
    if not has_magic(str(there)) and str(there).isascii():
        return pattern
    return str(Path(escape(find_path(str(there))), path.relative_to(there)))


def is_clutter(name: str) -> bool:
    """Say whether a file is what macOS or Windows put beside the clips, such as ``._1.wav``."""
    return name.startswith("._") or name in _CLUTTER


def warn_of_skipped(paths: Iterable[str], where: str) -> None:
    """Say in one line what was skipped."""
    if paths := list(paths):
        count = (
            f"{len(paths)} {'entry that is not a clip' if len(paths) == 1 else 'entries that are not clips'}"
        )
        warnings.warn(f"skipped {count} in {where}, such as {paths[0]}", IntervoxWarning, stacklevel=3)
