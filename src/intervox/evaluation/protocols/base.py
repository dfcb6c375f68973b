"""What a protocol is, what a reader has to say of its corpus, and what readers share."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from intervox.evaluation.trials import TrialList
from intervox.manifest import Row

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
AUDIO = (".wav", ".flac")


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
    lists
        Official verification lists by name; they count in ``rows``.
    source
        Where the corpus is had.
    """

    name: str
    licence: str
    rows: list[Row]
    lists: Mapping[str, TrialList] = field(default_factory=dict)
    source: str = ""

    @property
    def languages(self) -> tuple[str, ...]:
        """BCP 47 tags of the recordings, sorted."""
        return tuple(sorted({row.language for row in self.rows}))


def no_lists(folder: Path, rows: list[Row]) -> dict[str, TrialList]:
    """Return nothing, for a corpus without official verification lists."""
    return {}


@dataclass(frozen=True)
class Corpus:
    """How a corpus is found and read.

    Attributes
    ----------
    folders
        Its usual places in the data folder, as patterns; the first that is there counts.
    licence
        Of the recordings.
    source
        Where it is had.
    read
        Turns its folder into rows in any order. Folders are listed and tables read, but no
        recording is opened or looked at: a corpus may have a million.
    lists
        Reads the official verification lists, given the folder and the sorted rows.
    automatic
        Whether ``auto`` takes it; otherwise it has to be asked for by name.
    """

    folders: tuple[str, ...]
    licence: str
    source: str
    read: Callable[[Path], list[Row]]
    lists: Callable[[Path, list[Row]], dict[str, TrialList]] = no_lists
    automatic: bool = True

    def find(self, base: Path) -> Path | None:
        """Return the corpus' folder in a data folder; of several versions the last by name."""
        for pattern in self.folders:
            if found := [path for path in base.glob(pattern) if path.is_dir()]:
                return max(found)
        return None


def audio_files(folder: Path, suffixes: tuple[str, ...] = AUDIO) -> Iterator[Path]:
    """List the recordings below a folder, through links to folders too."""
    for parent, _, names in os.walk(folder, followlinks=True):
        for name in names:
            if name.endswith(suffixes):
                yield Path(parent, name)
