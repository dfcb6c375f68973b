"""Official verification lists: which clip is to be compared with which."""

from array import array
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from intervox.errors import IntervoxError
from intervox.evaluation.trials import TrialList

_VERDICTS = {"1": True, "0": False, "tgt": True, "imp": False, "target": True, "nontarget": False}


def read_trials(
    path: Path,
    clips: Mapping[str, int],
    name: Callable[[str], str] = str,
    columns: tuple[int, int, int] = (0, 1, 2),
) -> TrialList:
    """Read a list of one trial a line, in columns that blanks separate.

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
        A line is no trial, or a clip is not among the recordings.
    """
    verdict, first, second = columns
    enrol, test, target = array("q"), array("q"), array("b")
    known: dict[str, int] = {}

    def index(clip: str) -> int:
        if clip not in known:
            known[clip] = clips.get(name(clip), -1)
        return known[clip]

    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            fields = line.split()
            if len(fields) <= max(columns) or fields[verdict] not in _VERDICTS:
                raise IntervoxError(f"{path}, line {number} is no trial: {line.strip()[:80]!r}; correct it")
            enrol.append(index(fields[first]))
            test.append(index(fields[second]))
            target.append(_VERDICTS[fields[verdict]])
    if missing := [clip for clip, row in known.items() if row < 0]:
        raise IntervoxError(
            f"{path} names {len(missing):,} of {len(known):,} clips that are not among the recordings, "
            f"such as {missing[0]}: complete the corpus, or move the list away"
        )
    return TrialList(
        np.array(enrol, np.int64), np.array(test, np.int64), np.array(target, np.int8).astype(bool)
    )


def by_stem(paths: Iterable[Path]) -> dict[str, int]:
    """Name clips by their files' names without what follows the last dot."""
    return {path.stem: index for index, path in enumerate(paths)}


def stem(name: str) -> str:
    """Return the last part of a name in a list, without what follows its last dot."""
    last = name.rpartition("/")[2]
    return last.rpartition(".")[0] or last
