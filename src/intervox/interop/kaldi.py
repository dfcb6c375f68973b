"""Kaldi's archives of vectors, binary and text, with and without an index.

An archive holds one space. That of several is ``NAME.<space>.ark`` each.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import numpy as np

from intervox.errors import IntervoxError, missing_extra
from intervox.interop.arrays import UNNAMED, Contents, WriteClip, stacked
from intervox.interop.lists import read_scp
from intervox.metrics.vectors import Vectors
from intervox.storage import atomic_path

_BINARY = b"\0B"
"""What Kaldi begins a binary object with."""

_NOT_KALDI = (ValueError, TypeError, AssertionError, RuntimeError, MemoryError, struct.error)
"""What kaldiio's readers answer other bytes with."""


@contextmanager
def write_ark(path: Path, dims: Mapping[str, int], _frames: bool) -> Iterator[WriteClip]:
    """Write a binary archive a space."""
    save = _kaldiio().save_ark
    yield from _archives(path, dims, lambda file, name, vectors: save(file, {name: vectors}))


@contextmanager
def write_text(path: Path, dims: Mapping[str, int], _frames: bool) -> Iterator[WriteClip]:
    """Write a text archive a space (``ark,t``), in digits that give the same float32 when read."""
    yield from _archives(path, dims, lambda file, name, vectors: file.write(_text(name, vectors)))


@contextmanager
def write_index(path: Path, dims: Mapping[str, int], _frames: bool) -> Iterator[WriteClip]:
    """Write a binary archive a space, and an index beside it, with absolute paths as Kaldi has them."""
    save = _kaldiio().save_ark
    with ExitStack() as stack:
        # Left in reverse: the archive is in place before its index is.
        indices = {s: stack.enter_context(_opened(p)) for s, p in _paths(path, dims).items()}
        arks = _paths(path.with_suffix(".ark"), dims)
        files = {s: stack.enter_context(_opened(ark)) for s, ark in arks.items()}

        def row(name: str, vectors: Mapping[str, Vectors]) -> None:
            _check_name(name)
            for space, file in files.items():
                offset = file.tell() + len(f"{name} ".encode())
                save(file, {name: vectors[space]})
                indices[space].write(f"{name} {arks[space].resolve()}:{offset}\n".encode())

        yield row


def read_archive(path: Path) -> Contents:
    """Read archives, binary or text; what executes anything, such as a pickle in one, is refused."""
    return _read_spaces(path, _archive)


def read_index(path: Path) -> Contents:
    """Read the vectors that an index points to; commands in it are refused."""
    return _read_spaces(path, _index)


def _archives(
    path: Path, dims: Mapping[str, int], write: Callable[[BinaryIO, str, Vectors], object]
) -> Iterator[WriteClip]:
    with ExitStack() as stack:
        files = {s: stack.enter_context(_opened(p)) for s, p in _paths(path, dims).items()}

        def row(name: str, vectors: Mapping[str, Vectors]) -> None:
            _check_name(name)
            for space, file in files.items():
                write(file, name, vectors[space])

        yield row


def _paths(path: Path, spaces: Mapping[str, object]) -> dict[str, Path]:
    if len(spaces) == 1:
        return dict.fromkeys(spaces, path)
    return {space: path.with_suffix(f".{space}{path.suffix}") for space in spaces}


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        yield file


def _check_name(name: str) -> None:
    if not name or name.split() != [name]:
        raise IntervoxError(
            f"Kaldi's files can't hold the name {name!r}, for its spaces: give the clips by --list with "
            "lines of a name and a path"
        )


def _text(name: str, vectors: Vectors) -> bytes:
    # Nine digits tell any two float32 apart; readers take a number without a point for an integer.
    rows = [" ".join(f"{value:#.9g}" for value in row) for row in np.atleast_2d(vectors)]
    inner = f" {rows[0]} " if vectors.ndim == 1 else "\n  " + " \n  ".join(rows) + " "
    return f"{name} [{inner}]\n".encode()


def _read_spaces(path: Path, rows: Callable[[Path], Iterator[tuple[str, Vectors]]]) -> Contents:
    """Read the one file, or where it is missing those of several spaces."""
    parts = {UNNAMED: path}
    if not path.exists():
        found = sorted(path.parent.glob(f"{path.stem}.*{path.suffix}"))
        parts = {part.name.removeprefix(f"{path.stem}.").removesuffix(path.suffix): part for part in found}
    if not parts:
        raise IntervoxError(f"{path} is missing: give the path of a Kaldi archive or index")
    try:
        names, spaces = stacked(path, {space: list(rows(part)) for space, part in parts.items()})
    except _NOT_KALDI as error:
        raise IntervoxError(f"{path} holds no vectors in Kaldi's form ({error})") from None
    if next(iter(spaces.values())).ndim != 2:
        raise IntervoxError(f"{path} holds the frames of clips: read it with kaldiio")
    return names, spaces


def _archive(path: Path) -> Iterator[tuple[str, Vectors]]:
    token = _kaldiio().matio.read_token
    with path.open("rb") as file:
        while (name := token(file)) is not None:
            yield name.strip(), _object(file)


def _index(path: Path) -> Iterator[tuple[str, Vectors]]:
    for name, entry in read_scp(path):
        ark, _, offset = entry.rpartition(":")
        if not offset.isdecimal():
            raise ValueError(f"{name} has no place in an archive, but {entry}")
        with open(ark, "rb") as file:
            file.seek(int(offset))
            yield name, _object(file)


def _object(file: BinaryIO) -> Vectors:
    """Read one vector or matrix; kaldiio's own readers would also unpickle."""
    matio = _kaldiio().matio
    begin = file.read(len(_BINARY))
    file.seek(-len(begin), 1)
    found: Vectors = matio.read_matrix_or_vector(file) if begin == _BINARY else matio.read_ascii_mat(file)
    return found


def _kaldiio() -> ModuleType:
    try:
        import kaldiio.matio  # type: ignore[import-untyped]
    except ImportError:
        raise missing_extra("kaldiio", "kaldi", "reading or writing Kaldi's files") from None
    found: ModuleType = kaldiio
    return found
