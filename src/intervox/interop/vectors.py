"""Files of vectors: one registry from a file's suffix to how it is written and read.

========  ==============================  ====================  ======
suffix    what it holds                   several spaces        frames
========  ==============================  ====================  ======
.npy      an array (clips, dim) alone     no                    no
.npz      ``path, embedding.<space>``     yes                   no
.jsonl    one line per clip and space         yes                   yes
.parquet  ``path, embedding.<space>``     yes                   yes
.ark      Kaldi's binary archive          ``NAME.<space>.ark``  yes
.scp      the same, with its index        ``NAME.<space>.scp``  yes
.txt      Kaldi's text archive            ``NAME.<space>.txt``  yes
========  ==============================  ====================  ======

Writers take a clip at a time in bounded memory; an old file is there until the new one is whole.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from intervox.errors import IntervoxError
from intervox.interop.arrays import Contents, WriteClip, read_npy, read_npz, write_npy, write_npz
from intervox.interop.kaldi import read_archive, read_index, write_ark, write_index, write_text
from intervox.interop.tables import read_jsonl, read_parquet, write_jsonl, write_parquet
from intervox.metrics.vectors import Vectors


@dataclass(frozen=True)
class Format:
    """How one kind of file is written and read, and what it can't hold.

    Attributes
    ----------
    write
        Takes the path, each space's dimension and whether clips have frames.
    named
        Whether it has a place for the clips' names and the spaces'.
    """

    write: Callable[[Path, Mapping[str, int], bool], AbstractContextManager[WriteClip]]
    read: Callable[[Path], Contents]
    named: bool = True
    frames: bool = True


VECTOR_FORMATS = {
    ".npy": Format(write_npy, read_npy, named=False, frames=False),
    ".npz": Format(write_npz, read_npz, frames=False),
    ".jsonl": Format(write_jsonl, read_jsonl),
    ".parquet": Format(write_parquet, read_parquet),
    ".ark": Format(write_ark, read_archive),
    ".scp": Format(write_index, read_index),
    ".txt": Format(write_text, read_archive),
}


class VectorWriter:
    """A file that takes one clip after another."""

    def __init__(self, dims: Mapping[str, int], frames: bool, named: bool, row: WriteClip) -> None:
        self._dims = dims
        self._axes = 2 if frames else 1
        self._named = named
        self._row = row

    def append(self, key: str, vectors: Mapping[str, Vectors]) -> None:
        """Add a clip.

        Parameters
        ----------
        key
            Its name.
        vectors
            Space to shape (dim,), or (frames, dim) in a file of frames; other spaces are left out.

        Raises
        ------
        IntervoxError
            The format can't hold the name.
        ValueError
            A vector has another shape than the file was opened for.
        """
        chosen = {space: np.asarray(vectors[space], np.float32) for space in self._dims}
        for space, dim in self._dims.items():
            if chosen[space].ndim != self._axes or chosen[space].shape[-1] != dim:
                raise ValueError(f"{key}: {space} has shape {chosen[space].shape}, where dim is {dim}")
        self._row(key, chosen)

    def skip(self, key: str) -> None:
        """Leave a clip out; where rows have no names it is a row of NaN, so that the others keep theirs."""
        if not self._named:
            self._row(key, {space: np.full(dim, np.nan, np.float32) for space, dim in self._dims.items()})


@contextmanager
def open_writer(path: Path, dims: Mapping[str, int], frames: bool = False) -> Iterator[VectorWriter]:
    """Write vectors clip by clip; the file is there when the block ends well, and else as it was.

    Parameters
    ----------
    path
        Its suffix says the format.
    dims
        Each space's dimension.
    frames
        Whether clips come with the vectors of their frames instead of one.

    Raises
    ------
    IntervoxError
        The format is unknown, can't hold this, or needs a package that is not installed.
    """
    form = _format(path)
    if len(dims) != 1 and not form.named:
        raise IntervoxError(f"{path}: {path.suffix} holds one space: choose one, or write .npz or .parquet")
    if frames and not form.frames:
        raise IntervoxError(f"{path}: {path.suffix} holds no frames: write .jsonl, .parquet or .ark")
    if path.is_dir():
        raise IntervoxError(f"{path} is a folder: give another path")
    with form.write(path, dims, frames) as row:
        yield VectorWriter(dims, frames, form.named, row)


def read_vectors(path: Path) -> Contents:
    """Read a file of vectors whole.

    Returns
    -------
    keys
        The clips' names; numbers from "0" where the file has none.
    vectors
        Space to shape (clips, dim). The one space of a file that does not name it is ``embedding``.

    Raises
    ------
    IntervoxError
        The file is missing, of no known format, or holds something else.
    """
    form = _format(path)
    try:
        return form.read(path)
    except FileNotFoundError as error:
        raise IntervoxError(
            f"{error.filename or path} is missing: give the path of a file of vectors"
        ) from None


def _format(path: Path) -> Format:
    if path.suffix not in VECTOR_FORMATS:
        raise IntervoxError(
            f"{path} is of no known format: give another path, ending in {', '.join(VECTOR_FORMATS)}"
        )
    return VECTOR_FORMATS[path.suffix]
