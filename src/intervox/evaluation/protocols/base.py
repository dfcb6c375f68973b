"""What a protocol is, what a reader has to say of its corpus, and what readers share."""

import os
import warnings
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intervox.clips.manifest import UNKNOWN, Row
from intervox.clips.paths import is_clutter
from intervox.clips.text_files import open_text
from intervox.errors import IntervoxError, IntervoxWarning
from intervox.metrics.trials import TrialList

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
AUDIO = (".wav", ".flac")
GENDERS = {"f": "female", "m": "male"}
_VERDICTS = {"1": True, "0": False, "tgt": True, "imp": False, "target": True, "nontarget": False}


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


def are_known(values: Sequence[str]) -> bool:
    """Say whether a manifest gives the speaker, or the content, of some clip."""
    return not all(value.startswith(UNKNOWN) for value in values)


def why_no_verification(speakers: Sequence[str]) -> str:
    """Say what the speakers of some clips lack to be verified; empty where that can be measured."""
    counts = Counter(speakers)
    if not are_known(speakers):
        return "no speakers are given"
    if len(counts) < 2:
        return "all clips are of one speaker"
    return "" if max(counts.values()) > 1 else "no speaker has two clips"


LEAST_KEYWORDS = 3
"""Contents of a keyword task: a choice between two is no vocabulary."""


def why_no_keywords(speakers: Sequence[str], contents: Sequence[str]) -> str:
    """Say what the contents of some clips lack to be keywords, which several speakers say often enough."""
    different = len(set(contents))
    if not are_known(contents):
        return "no contents are given"
    if len(set(speakers)) < 2:
        return "all clips are of one speaker"
    if different < LEAST_KEYWORDS:
        return f"the clips have {different} contents, and a keyword task needs {LEAST_KEYWORDS}"
    if different == len(contents):
        return "no two clips share a content"
    few = f"{len(contents):,} clips have {different:,} contents, where three clips a content are needed"
    return few if 3 * different > len(contents) else ""


def no_lists(folder: Path, rows: list[Row]) -> dict[str, TrialList]:
    """Return nothing, for a corpus without official verification lists."""
    return {}


@dataclass(frozen=True)
class CorpusReader:
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
            if name.endswith(suffixes) and not is_clutter(name):
                yield Path(parent, name)


def read_trials(
    path: Path,
    clips: Mapping[str, int],
    name: Callable[[str], str] = str,
    columns: tuple[int, int, int] = (0, 1, 2),
) -> TrialList:
    """Read a list of one trial a line, in columns that blanks separate; a repeated one counts once.

    Parameters
    ----------
    clips
        Name of a clip to the index of its row.
    name
        Turns what stands in the list into a key of ``clips``.
    columns
        Where the verdict (1 or 0, ``tgt`` or ``imp``, ``target`` or ``nontarget``), the enrolment and
        the test stand; ``1 enrol test`` by default, as VoxCeleb has it.

    Raises
    ------
    IntervoxError
        A line is no trial or contradicts another, or a clip is not among the recordings.
    """
    verdict, first, second = columns
    enrol, test, target, numbers = array("q"), array("q"), array("b"), array("q")
    known: dict[str, int] = {}
    missing: dict[str, int] = {}

    def index(clip: str) -> int:
        if clip not in known:
            known[clip] = clips.get(name(clip), -1)
            if known[clip] < 0:
                missing[clip] = number
        return known[clip]

    with open_text(path, "a list of trials") as file:
        for number, line in enumerate(file, start=1):
            fields = line.split()
            if not fields:
                continue
            if len(fields) <= max(columns) or fields[verdict] not in _VERDICTS:
                raise IntervoxError(f"{path}, line {number} is no trial: {line.strip()[:80]!r}; correct it")
            enrol.append(index(fields[first]))
            test.append(index(fields[second]))
            target.append(_VERDICTS[fields[verdict]])
            numbers.append(number)
    for clip, number in missing.items():
        raise IntervoxError(
            f"{path} names {len(missing):,} of {len(known):,} clips that are not among the recordings, "
            f"such as {clip} in line {number}: complete the corpus, or move the list away"
        )
    trials = TrialList(
        np.array(enrol, np.int64), np.array(test, np.int64), np.array(target, np.int8).astype(bool)
    )
    return _each_once(path, trials, np.array(numbers, np.int64))


def _each_once(path: Path, trials: TrialList, numbers: NDArray[np.int64]) -> TrialList:
    """Leave out repeated trials with a warning, and refuse a pair that is both target and impostor.

    A pair in the other order is another trial, as in VoxCeleb's lists, but of the same speakers.
    """
    if not len(trials):
        return trials
    both = np.stack([trials.enrol, trials.test])
    size = both.max() + 1
    pairs = both.min(axis=0) * size + both.max(axis=0)
    _, first, which = np.unique(pairs, return_index=True, return_inverse=True)
    contradicting = np.flatnonzero(trials.target != trials.target[first[which]])
    if len(contradicting):
        line, earlier = numbers[contradicting[0]], numbers[first[which[contradicting[0]]]]
        raise IntervoxError(
            f"{path}, line {line} contradicts line {earlier}: one pair can't be both target and impostor; "
            "remove one of the lines"
        )
    _, kept = np.unique(trials.enrol * size + trials.test, return_index=True)
    if repeated := len(trials) - len(kept):
        warnings.warn(
            f"{path} repeats {repeated:,} of its {len(trials):,} trials: each counts once",
            IntervoxWarning,
            stacklevel=3,
        )
    kept.sort()
    return TrialList(trials.enrol[kept], trials.test[kept], trials.target[kept])


def by_stem(paths: Iterable[Path]) -> dict[str, int]:
    """Name clips by their files' names without what follows the last dot."""
    return {path.stem: index for index, path in enumerate(paths)}


def stem(name: str) -> str:
    """Return the last part of a name in a list, without what follows its last dot."""
    last = name.rpartition("/")[2]
    return last.rpartition(".")[0] or last
