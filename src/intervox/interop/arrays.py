"""NumPy's own formats, written a row at a time."""

import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intervox.errors import IntervoxError
from intervox.metrics.vectors import Vectors
from intervox.storage import growing_npy, scratch_folder

WriteClip = Callable[[str, Mapping[str, Vectors]], None]
"""Writes one clip: its name, and its vectors by space."""

Contents = tuple[list[str], dict[str, Vectors]]
"""A file's content: names of the clips, and space to vectors (clips, dim)."""

NAMES = "path"
"""The column of the clips' names in tables; ``intervox evaluate`` finds labels by it."""

_UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error),
    *(SyntaxError, TokenError),  # of a header that is no Python
    MemoryError,  # of one that claims more than there is
)

UNNAMED = "embedding"
"""The space of a file with no place for its name."""


def column(space: str) -> str:
    """Return what a space is called in tables that also hold other columns."""
    return space if space == UNNAMED else f"{UNNAMED}.{space}"


def space_of(name: str) -> str | None:
    """Return the space that a column holds, or None for another column."""
    if name == UNNAMED:
        return name
    prefix, dot, space = name.partition(".")
    return space if dot and prefix == UNNAMED else None


def stacked(path: Path, rows: Mapping[str, Sequence[tuple[str, Vectors]]]) -> Contents:
    """Stack the named vectors of every space; all of them name the same clips in the same order."""
    names = [name for name, _ in next(iter(rows.values()), ())]
    if any([name for name, _ in found] != names for found in rows.values()):
        raise IntervoxError(f"{path}: a clip lacks a space that another has: embed the clips again")
    try:
        return names, {
            space: np.stack([vector for _, vector in found]).astype(np.float32, copy=False)
            for space, found in rows.items()
        }
    except ValueError:
        raise IntervoxError(f"{path} holds vectors of different dimensions, or none: embed again") from None


@contextmanager
def write_npy(path: Path, dims: Mapping[str, int], _frames: bool) -> Iterator[WriteClip]:
    """Write the one space's vectors as an array (clips, dim)."""
    ((space, dim),) = dims.items()
    with growing_npy(path, (dim,), np.float32) as append:
        yield lambda _name, vectors: append(vectors[space][None])


def read_npy(path: Path) -> Contents:
    """Read an array (clips, dim); its rows are named by their numbers."""
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise IntervoxError(f"{path} is missing: give the path of an .npy file") from None
    except _UNREADABLE as error:
        raise IntervoxError(f"{path} is not a readable .npy of numbers ({_reason(error)})") from None
    if array.ndim != 2 or array.dtype.kind != "f":
        raise IntervoxError(
            f"{path} has shape {array.shape} and type {array.dtype}: give floats (clips, dim)"
        )
    return [str(row) for row in range(len(array))], {UNNAMED: array.astype(np.float32, copy=False)}


@contextmanager
def write_npz(path: Path, dims: Mapping[str, int], _frames: bool) -> Iterator[WriteClip]:
    """Write an array a space and the names, as ``intervox evaluate --embeddings`` reads them."""
    # An archive takes one member after another, the vectors come for all at once.
    with scratch_folder(path) as scratch:
        parts = {space: scratch / f"{column(space)}.npy" for space in dims}
        names: list[str] = []
        with ExitStack() as stack:
            appends = {
                space: stack.enter_context(growing_npy(part, (dims[space],), np.float32))
                for space, part in parts.items()
            }

            def row(name: str, vectors: Mapping[str, Vectors]) -> None:
                names.append(name)
                for space, append in appends.items():
                    append(vectors[space][None])

            yield row
        texts = scratch / f"{NAMES}.npy"
        # As wide as the longest: objects would need pickle.
        with growing_npy(texts, (), f"<U{max([1, *map(len, names)])}") as append_text:
            for name in names:
                append_text(np.array([name]))
        with zipfile.ZipFile(scratch / path.name, "w") as archive:
            for part in (texts, *parts.values()):
                # Without the time that ``archive.write`` would add: the same vectors are the same bytes.
                with (
                    part.open("rb") as content,
                    archive.open(zipfile.ZipInfo(part.name), "w", force_zip64=True) as member,
                ):
                    shutil.copyfileobj(content, member)
        (scratch / path.name).replace(path)


def read_npz(path: Path) -> Contents:
    """Read what ``write_npz`` wrote, or any file that ``intervox evaluate --embeddings`` takes."""
    arrays = load_npz(path)
    spaces = {
        space: array.astype(np.float32, copy=False)
        for name, array in arrays.items()
        if (space := space_of(name)) is not None and array.ndim == 2 and array.dtype.kind == "f"
    }
    names = arrays.get(NAMES, np.arange(len(next(iter(spaces.values()), ()))).astype(str)).tolist()
    if not spaces or {len(vectors) for vectors in spaces.values()} != {len(names)}:
        raise IntervoxError(f"{path} has no vectors of shape (clips, dim), named {UNNAMED}[.<space>]")
    return names, spaces


def load_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of an ``.npz`` file; nothing in it is executed.

    Raises
    ------
    IntervoxError
        It is missing, no ``.npz``, or holds objects.
    """
    try:
        if path.is_file() and not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile("it is no archive that np.savez wrote")
        with np.load(path, allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in file.files}
    except FileNotFoundError:
        raise IntervoxError(f"{path} is missing: give the path of an .npz file") from None
    except _UNREADABLE as error:
        raise IntervoxError(f"{path} is not a readable .npz of plain arrays ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    return [*str(error).splitlines(), type(error).__name__][0]
