"""Files that are whole or absent, hashes, and room on the disk and in memory."""

import errno
import glob
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray
from safetensors import SafetensorError

from intervox.errors import IntervoxError

CARD = "README.md"
"""What the Hugging Face hub shows of a corpus' or a model's folder."""

GENERATION = "0.1.0"
"""Part of every step's key. Raise it when code makes other bytes of the same settings."""


def cache_folder() -> Path:
    """Return where models made ready for use are kept: ``$INTERVOX_CACHE``, or the user's cache folder."""
    given = os.environ.get("INTERVOX_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else base / "intervox"


def stable_hash(value: Any) -> str:
    """Hash a JSON-serialisable value; the same content gives the same 16 hex digits everywhere."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file as 64 hex digits, read in bounded memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_disk_full(error: Exception) -> bool:
    """Say whether a write failed for want of space; safetensors has it in the message alone."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or "No space left" in str(error)


def temporary_path(path: Path) -> Path:
    """Return the name under which this process makes a file or folder; remove those of dead processes."""
    host = socket.gethostname()
    for other in path.parent.glob(f".{glob.escape(path.name)}.*@{glob.escape(host)}.tmp"):
        number = other.name.removesuffix(f"@{host}.tmp").rpartition(".")[2]
        if number.isdecimal() and not _runs(int(number)):
            remove(other)
    return path.with_name(f".{path.name}.{os.getpid()}@{host}.tmp")


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it is another user's
    return True


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside ``path``, empty, and rename it on success.

    A reader sees the old file or the new one, never a part; a killed writer leaves only a
    ``*.tmp`` file, which the next writer of the same file removes. Whatever writes it, the file has
    the permissions that the umask gives.

    Raises
    ------
    IntervoxError
        The disk is full, the file gets too large, or ``path`` is a folder. What was complete before stays.
    OSError
        Another failure to write, with ``path`` as its file name.
    """
    if path.is_dir():
        raise IntervoxError(f"{path} is a folder: give the path of a file")
    with _blamed_on(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_path(path)
        try:
            temporary.touch()
            # Some libraries replace it by a file of their own, which only its owner may read.
            mode = temporary.stat().st_mode
            yield temporary
            if temporary.stat().st_nlink == 1:  # not another file's, which it was linked to
                temporary.chmod(mode)
            _flush(temporary)
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink()


def _flush(path: Path) -> None:
    """Wait until the disk has a file: otherwise a power cut may leave its name with nothing behind it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path``, which is removed in the end unless it was renamed.

    Raises
    ------
    IntervoxError, OSError
        As ``atomic_path``.
    """
    with _blamed_on(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = temporary_path(path)
        remove(folder)
        folder.mkdir()
        try:
            yield folder
        finally:
            remove(folder)


@contextmanager
def _blamed_on(path: Path) -> Iterator[None]:
    """Raise what goes wrong with a temporary file as an error of the file that it becomes."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if is_disk_full(error):
            raise IntervoxError(
                f"the disk is full while writing {path}: free some space and run the same command "
                "again; everything finished so far is kept"
            ) from error
        if os.strerror(errno.EFBIG) in str(error):
            raise IntervoxError(
                f"{path} gets larger than its file system or `ulimit -f` allows: write it elsewhere or raise "
                "the limit, and run the same command again; everything finished so far is kept"
            ) from error
        if isinstance(error, OSError) and error.errno and f".{path.name}.{os.getpid()}@" in str(error):
            # The temporary name is ours: what the caller gave is what they can fix.
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


@contextmanager
def growing_npy(
    path: Path, row: tuple[int, ...], dtype: DTypeLike
) -> Iterator[Callable[[NDArray[Any]], None]]:
    """Write an ``.npy`` file whose number of rows is known only at the end; atomically.

    Parameters
    ----------
    row
        Shape of a row.

    Yields
    ------
    append
        Writes an array (rows, *row), converted to ``dtype``.
    """
    kind, rows = np.dtype(dtype), 0
    with atomic_path(path) as temporary, temporary.open("wb") as file:

        def header() -> None:
            # NumPy pads it so that the first dimension may grow in its place.
            about = {"descr": npy.dtype_to_descr(kind), "fortran_order": False, "shape": (rows, *row)}
            npy.write_array_header_1_0(file, about)

        def append(part: NDArray[Any]) -> None:
            nonlocal rows
            file.write(np.ascontiguousarray(part, kind).data)
            rows += len(part)

        header()
        yield append
        file.seek(0)
        header()


def map_npy(path: Path) -> NDArray[Any]:
    """Map an ``.npy`` file of a step's folder into memory.

    Raises
    ------
    IntervoxError
        It is damaged or missing.
    """
    try:
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError, SyntaxError, TokenError) as error:
        raise IntervoxError(f"{path} is damaged or missing: delete its folder and run again") from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Link a file to another name, or copy it where that is on another disk."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copyfile(source, target)


def restore_text(path: Path, make: Callable[[], str]) -> None:
    """Write a text of ours again where it is missing, or only its beginning is left, as after a power cut.

    What somebody edited stays. The text is made only where the last line has no end, as that may take long:
    a cut just behind a line is not noticed.
    """
    found = path.read_bytes() if path.exists() else b""
    if not found.endswith(b"\n") and (whole := make().encode()).startswith(found.rstrip(b"\0")):
        write_bytes(path, whole)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically, with non-finite numbers refused."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode())


def read_json(path: Path, *needed: str) -> dict[str, Any]:
    """Read a JSON object with the needed keys, or say which file is missing or broken."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise IntervoxError(f"{path} does not exist: run the step that writes it first") from None
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or a number of too many digits
        raise IntervoxError(f"{path} is not readable JSON ({error}): delete it and run again") from None
    if not isinstance(value, dict) or not set(needed) <= set(value):
        raise IntervoxError(f"{path} is not what Intervox writes there: delete it and run again")
    return value


_MEMORY_QUOTA = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Return the bytes of memory that can still be had: the machine's, or a container's share of them."""
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        most, used = (int((_MEMORY_QUOTA / f"memory.{name}").read_text()) for name in ("max", "current"))
        return min(free, most - used)
    except (OSError, ValueError):  # no such file, or "max"
        return free


def check_memory(what: str, needed: float, remedy: str) -> None:
    """Refuse what can't fit into memory, before the system kills it without a word.

    Parameters
    ----------
    needed
        Bytes that it takes at the very least.
    """
    if needed > (free := free_memory()):
        raise IntervoxError(
            f"{what} takes at least {_gib(needed)} of memory, and {_gib(free)} are free: {remedy}"
        )


def check_disk(what: str, needed: float, folder: Path, remedy: str) -> None:
    """Refuse to begin what the disk can't hold.

    Parameters
    ----------
    needed
        Bytes that it takes at the very least.
    folder
        Where it goes; it need not exist.
    """
    home = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if needed > (free := shutil.disk_usage(home).free):
        raise IntervoxError(
            f"{what} takes at least {_gib(needed)} on disk, and {_gib(free)} are free in {home}: {remedy}"
        )


def _gib(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB"
