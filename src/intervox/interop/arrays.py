"""NumPy's own formats, written a row at a time."""

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray

from intervox.errors import IntervoxError
from intervox.storage import atomic_path

Vectors = NDArray[np.float32]
"""Shape (dim,) of a clip, (frames, dim) of its frames, (clips, dim) of a file."""

Row = Callable[[str, Mapping[str, Vectors]], None]
"""Writes one clip: its name, and its vectors by space."""

Table = tuple[list[str], dict[str, Vectors]]
"""A file's content: names of the clips, and space to vectors (clips, dim)."""

NAMES = "path"
"""The column of the clips' names in tables; ``intervox evaluate`` finds labels by it."""

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


@contextmanager
def write_npy(path: Path, dims: Mapping[str, int], _frames: bool) -> Iterator[Row]:
    """Write the one space's vectors as an array (clips, dim)."""
    ((space, dim),) = dims.items()
    with atomic_path(path) as temporary, temporary.open("wb") as file, _growing(file, dim) as append:
        yield lambda _name, vectors: append(vectors[space])


def read_npy(path: Path) -> Table:
    """Read an array (clips, dim); its rows are named by their numbers."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise IntervoxError(f"{path} is not a readable .npy of numbers ({error})") from None
    if array.ndim != 2 or array.dtype.kind != "f":
        raise IntervoxError(
            f"{path} has shape {array.shape} and type {array.dtype}: give floats (clips, dim)"
        )
    return [str(row) for row in range(len(array))], {UNNAMED: array.astype(np.float32, copy=False)}


@contextmanager
def write_npz(path: Path, dims: Mapping[str, int], _frames: bool) -> Iterator[Row]:
    """Write an array a space and the names, as ``intervox evaluate --embeddings`` reads them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # An archive takes one member after another, the vectors come for all at once.
    with TemporaryDirectory(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent) as scratch:
        parts = {space: Path(scratch) / f"{column(space)}.npy" for space in dims}
        names = Path(scratch) / "names.jsonl"
        with ExitStack() as stack:
            appends = {
                space: stack.enter_context(_growing(stack.enter_context(part.open("wb")), dims[space]))
                for space, part in parts.items()
            }
            listed = stack.enter_context(names.open("w", encoding="utf-8"))

            def row(name: str, vectors: Mapping[str, Vectors]) -> None:
                for space, append in appends.items():
                    append(vectors[space])
                listed.write(json.dumps(name) + "\n")

            yield row
        texts = Path(scratch) / f"{NAMES}.npy"
        _write_texts(texts, names)
        with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for part in (texts, *parts.values()):
                archive.write(part, part.name)


def read_npz(path: Path) -> Table:
    """Read what ``write_npz`` wrote, or any file that ``intervox evaluate --embeddings`` takes."""
    from intervox.evaluation.embeddings import read_embeddings

    found = read_embeddings(path)
    rows = len(next(iter(found.spaces.values())))
    return found.columns.get(NAMES, np.arange(rows).astype(str)).tolist(), found.spaces


@contextmanager
def _growing(file: BinaryIO, dim: int) -> Iterator[Callable[[Vectors], None]]:
    """Write an .npy file whose number of rows is known only at the end: NumPy leaves room for it."""
    rows = 0

    def header() -> None:
        file.seek(0)
        write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, dim)})

    def append(vector: Vectors) -> None:
        nonlocal rows
        file.write(vector.astype("<f4").tobytes())
        rows += 1

    header()
    yield append
    header()


def _write_texts(path: Path, names: Path) -> None:
    """Turn JSON lines into an array of texts as wide as the longest; objects would need pickle."""
    with names.open(encoding="utf-8") as lines:
        lengths = [len(json.loads(line)) for line in lines]
    kind = np.dtype(f"<U{max([1, *lengths])}")
    with path.open("wb") as file, names.open(encoding="utf-8") as lines:
        about = {"descr": kind.str, "fortran_order": False, "shape": (len(lengths),)}
        write_array_header_1_0(file, about)
        for line in lines:
            file.write(np.array(json.loads(line), kind).tobytes())
