"""Anyone's embeddings as test sets: an ``.npz`` of vectors with their labels, or with their paths.

Arrays of two dimensions are spaces: ``embedding``, or ``embedding.<name>`` for several. Arrays of one
dimension are columns as a manifest has them: ``speaker`` and ``content``, or ``path``, by which the
labels are taken from the protocols; optionally ``condition``, ``session``, ``duration``, ``split`` and
further factors. ``docs/formats.md`` has the whole of it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intervox.clips.labels import Clips
from intervox.errors import IntervoxError
from intervox.evaluation import SYNTHETIC
from intervox.evaluation.loading import protocol_clips
from intervox.evaluation.protocols import Protocol
from intervox.evaluation.representations import Representation
from intervox.evaluation.test_sets import CLEAN, Means, TestSet, View, draw
from intervox.interop.arrays import load_npz
from intervox.metrics.trials import PAIR_COLUMNS, STRATA, TrialList

PREFIX = "embedding"
MISSING_SHARE = 0.01
_COLUMNS = ("path", "condition", "duration", "split")
"""Columns that are no factors."""

_RESERVED = ("raw", "own", "residual", *PAIR_COLUMNS, *STRATA)
"""Names that the results use for other spaces, and for columns of trial files."""

_CONDITION = re.compile(r"\w[\w.-]*(@[01]\.\d\d)?")


@dataclass(frozen=True)
class Embeddings:
    """The content of a file.

    Attributes
    ----------
    spaces
        Name to vectors, shape (rows, dim).
    columns
        Name to values, shape (rows,).
    """

    name: str
    spaces: dict[str, NDArray[np.float32]]
    columns: dict[str, NDArray[np.str_]]

    @property
    def factors(self) -> dict[str, str]:
        """Space to the factor that its name says it holds; empty where the name says nothing."""
        return {name: name if name in ("speaker", "content") else "" for name in self.spaces}

    @cached_property
    def conditions(self) -> NDArray[np.str_]:
        """Shape (rows,): the condition of each row.

        Raises
        ------
        IntervoxError
            One has a name that the results can't hold.
        """
        rows = len(next(iter(self.spaces.values())))
        conditions = self.columns.get("condition", np.full(rows, CLEAN))
        for condition in np.unique(conditions):
            if not _CONDITION.fullmatch(condition):
                raise IntervoxError(
                    f"{self.name}.npz has the condition {str(condition)!r}: name one by letters, digits, _ "
                    "and -, or by disturbance and severity as in noise@0.50"
                )
        return conditions

    def representations(self) -> list[Representation]:
        """Each space as something to measure."""
        return [Representation(name, lambda rows: np.asarray(rows[:, 0]), name) for name in self.spaces]


class _Given:
    """Vectors in memory, read like features of one layer."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = vectors

    def rows(self, indices: NDArray[np.integer]) -> Means:
        return np.asarray(self._vectors[indices][:, None])


def read_embeddings(path: Path) -> Embeddings:
    """Read an ``.npz`` file; nothing in it is executed.

    Raises
    ------
    IntervoxError
        It is missing, no ``.npz``, holds objects, or its arrays do not belong together.
    """
    arrays = load_npz(path)
    if path.stem == SYNTHETIC:
        raise IntervoxError(f"{path} has the name of a run's held-out synthetic cells: rename it")
    spaces = {check_space(_space(name)): array for name, array in arrays.items() if array.ndim == 2}
    columns = {name: array for name, array in arrays.items() if array.ndim == 1}
    if not all(array.size for array in spaces.values()) or not spaces:
        raise IntervoxError(
            f"{path} has no vectors of shape (clips, dim): name it {PREFIX} or {PREFIX}.<space>"
        )
    rows = len(next(iter(spaces.values())))
    for name, array in arrays.items():
        if array.ndim not in (1, 2) or len(array) != rows:
            raise IntervoxError(
                f"{path}: {name} has shape {array.shape}, where the embeddings have {rows} rows: give "
                "vectors of shape (clips, dim) and labels of shape (clips,)"
            )
    return Embeddings(
        path.stem,
        {name: _vectors(path, name, array) for name, array in spaces.items()},
        {name: _texts(path, name, values) for name, values in columns.items()},
    )


def embedding_test_sets(given: Embeddings, protocols: Sequence[Protocol], max_trials: int) -> list[TestSet]:
    """Join embeddings with their labels.

    Parameters
    ----------
    protocols
        Whose labels and official trials to take, by ``path``, where the file has no ``speaker`` of
        its own.

    Raises
    ------
    IntervoxError
        Labels are missing, or more than one in a hundred clips under some condition.
    """
    if "speaker" in given.columns:
        clips = _own_clips(given)
        rows = _rows_by_condition(given, _identity(given))
        return [_test_set(given, given.name, "as its owner states", clips, rows, max_trials, {})]
    if "path" not in given.columns:
        raise IntervoxError(f"{given.name}.npz has neither speaker nor path: say whose clips these are")
    identity = np.array([str(Path(path).resolve()) for path in given.columns["path"]])
    found = []
    for protocol in protocols:
        clips = protocol_clips(protocol)
        number = {str(Path(path).resolve()): row for row, path in enumerate(clips.paths)}
        rows = _rows_by_condition(given, identity, number)
        if rows:
            found.append(
                _test_set(given, protocol.name, protocol.licence, clips, rows, max_trials, protocol.lists)
            )
    if not found:
        raise IntervoxError(
            f"{given.name}.npz has no clip of the protocols: take the paths from `intervox corpus manifest`, "
            "or add the columns speaker and content"
        )
    return found


def check_space(name: str) -> str:
    """Return the name of a space if the results can hold it.

    Raises
    ------
    IntervoxError
        It has other characters than letters, digits, ``_`` and ``-``, or means something else.
    """
    if not re.fullmatch(r"[\w-]+", name):
        raise IntervoxError(f"a space can't be named {name!r}: use letters, digits, _ and -")
    if name in _RESERVED:
        raise IntervoxError(
            f"a space can't be named {name!r}, which means something else in the results: choose another name"
        )
    return name


def _space(name: str) -> str:
    prefix, dot, space = name.partition(".")
    if prefix != PREFIX:
        raise IntervoxError(
            f"the array {name!r} has two dimensions: name a space {PREFIX} or {PREFIX}.<space>"
        )
    return space if dot else PREFIX


def _vectors(path: Path, name: str, array: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        vectors = array.astype(np.float32, copy=False) if array.dtype.kind in "fiu" else None
    if vectors is None or not np.isfinite(vectors).all():
        raise IntervoxError(
            f"{path}: {name!r} contains values that are not finite numbers: regenerate the file"
        )
    return vectors


def _texts(path: Path, name: str, values: NDArray[Any]) -> NDArray[np.str_]:
    try:
        return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values.astype(str)
    except (UnicodeDecodeError, TypeError, ValueError):
        raise IntervoxError(
            f"{path}: {name} contains something that is not text: write it as strings"
        ) from None


def _own_clips(given: Embeddings) -> Clips:
    """Labels of the clean rows."""
    clean = np.flatnonzero(given.conditions == CLEAN)
    if not len(clean):
        raise IntervoxError(f"{given.name}.npz has no row whose condition is {CLEAN}")
    columns = {name: values[clean] for name, values in given.columns.items()}
    if (columns["speaker"] == "").any():
        raise IntervoxError(f"{given.name}.npz has rows without a speaker: say whose clips these are")
    contents = columns.get("content", columns.get("text"))
    if contents is None:
        raise IntervoxError(f"{given.name}.npz lacks the column content: say what is said in each clip")
    paths = _identity(given)[clean]
    # As in a manifest, what is said in a clip without a content is like nothing else.
    columns["content"] = np.where(contents == "", np.char.add("unknown: ", paths), contents)
    try:
        duration = columns["duration"].astype(float) if "duration" in columns else np.zeros(len(clean))
    except ValueError:
        duration = np.full(len(clean), np.nan)
    if not (np.isfinite(duration) & (duration >= 0)).all():
        raise IntervoxError(f"{given.name}.npz: duration holds what is no length of time: give seconds")
    labels = {name: values for name, values in columns.items() if name not in (*_COLUMNS, "text")}
    return Clips(paths, labels, duration, columns.get("split", np.full(len(clean), "")))


def _identity(given: Embeddings) -> NDArray[np.str_]:
    """What tells one recording from another."""
    if "path" in given.columns:
        return given.columns["path"]
    if (given.conditions != CLEAN).any():
        raise IntervoxError(f"{given.name}.npz has conditions but no path: name each row's recording in path")
    return np.arange(len(given.conditions)).astype(str)


def _rows_by_condition(
    given: Embeddings, identity: NDArray[np.str_], number: Mapping[str, int] | None = None
) -> dict[str, NDArray[np.int64]]:
    """Condition to the file's row of each clip, -1 where it has none.

    Parameters
    ----------
    number
        Identity to clip; by default the clean rows in their order.
    """
    conditions = given.conditions
    if number is None:
        number = {name: clip for clip, name in enumerate(dict.fromkeys(identity[conditions == CLEAN]))}
        if strangers := sorted(set(identity) - set(number)):
            raise IntervoxError(
                f"{given.name}.npz has {strangers[0]} under a condition, but not {CLEAN}: add that row"
            )
    found = {}
    for condition in dict.fromkeys([CLEAN, *np.unique(conditions)]):
        rows = np.full(len(number), -1)
        for row in np.flatnonzero(conditions == condition):
            if (clip := number.get(str(identity[row]))) is not None:
                if rows[clip] >= 0:
                    raise IntervoxError(
                        f"{given.name}.npz has {identity[row]} twice under the condition {condition}"
                    )
                rows[clip] = row
        if (rows >= 0).any():
            found[str(condition)] = rows
    if found and CLEAN not in found:
        raise IntervoxError(f"{given.name}.npz has no row whose condition is {CLEAN}")
    return found


def _test_set(
    given: Embeddings,
    name: str,
    licence: str,
    clips: Clips,
    rows: Mapping[str, NDArray[np.int64]],
    max_trials: int,
    lists: Mapping[str, TrialList],
) -> TestSet:
    tables = {space: _Given(vectors) for space, vectors in given.spaces.items()}
    # As where we embed the clips: each stays if it is there under every condition, but for the curves'.
    good = np.all([stored >= 0 for condition, stored in rows.items() if "@" not in condition], axis=0)
    missing = np.flatnonzero(~good)
    if len(missing) > MISSING_SHARE * len(clips):
        raise IntervoxError(
            f"{given.name}.npz lacks {len(missing):,} of the {len(clips):,} clips of {name} under some "
            f"condition, more than {MISSING_SHARE:.0%}: embed them too; the first: {clips.paths[missing[0]]}"
        )
    kept = clips.take(np.flatnonzero(good))
    few = np.all([stored >= 0 for stored in rows.values()], axis=0)
    if not few.any():
        raise IntervoxError(
            f"{given.name}.npz has no clip of {name} under every condition: embed the same few clips at all "
            "severities"
        )
    views = {}
    for condition, stored in rows.items():
        there = few if "@" in condition else good
        views[condition] = View(np.flatnonzero(there[good]), tables, stored[there])
    official = {label: trials.take(good) for label, trials in lists.items()}
    trials = draw(kept, max_trials, official)
    if not trials:
        raise IntervoxError(f"{name} needs two speakers at least, and two clips of one of them")
    return TestSet(name, licence, kept, views, trials, int((~good).sum()))
