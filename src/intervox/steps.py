"""Step folders: what they were made from, and whether their files are still as they were written."""

import os
import shutil
import warnings
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from intervox.errors import IntervoxError, IntervoxWarning
from intervox.storage import link_or_copy, read_json, remove, scratch_folder, write_json

_ENDS = 2**16
"""Bytes at each end of a file that its trace is of, so that opening a large corpus stays cheap."""


class StepFolder:
    """A folder that one step fills, keyed by a hash of everything the step depends on.

    Reopened with the same key, a partly filled folder is continued and a complete one reused. A file that
    is no longer as it was written, as after a power cut, is removed, and the step is to make it again.
    Reopened with another key, what the step itself wrote before is removed first.
    """

    RECORD = "step.json"

    def __init__(self, path: Path, key: str) -> None:
        # A link stays where it is, and the folder behind it is what gets replaced.
        self.path = path = path.resolve() if path.is_symlink() else path
        self.key = key
        restore(path)
        record = path / self.RECORD
        if record.exists() and self._record().get("key") != key:
            # Renamed before it is removed: a kill in between leaves nothing that looks like ours.
            shutil.rmtree(_aside(path), ignore_errors=True)
            path.rename(_aside(path))
        shutil.rmtree(_aside(path), ignore_errors=True)
        for leftover in path.rglob(".*.tmp"):
            remove(leftover)
        if not record.exists():
            if path.exists() and any(path.iterdir()):
                raise IntervoxError(
                    f"{path} holds files that Intervox did not write: choose another folder or empty it"
                )
            self._write_incomplete()
        elif damaged := self._damaged():
            more = f" and {len(damaged) - 1:,} more" if damaged[1:] else ""
            what = f"making again what is missing or not as it was written: {path / damaged[0]}{more}"
            warnings.warn(what, IntervoxWarning, stacklevel=2)
            for name in damaged:
                self._remove(name)
            self._write_incomplete()  # last: after a kill before it they are found missing

    @property
    def complete(self) -> bool:
        """Whether the step ran to its end with this key."""
        return bool(self._record()["complete"])

    def finish(self, but: Collection[str] = ()) -> None:
        """Mark the step as complete; call it after the last output is in place.

        Parameters
        ----------
        but
            Names of files that later commands or people may change.
        """
        self._finish(self.path, but)

    @contextmanager
    def changed(self, but: Collection[str] = ()) -> Iterator[Path]:
        """Yield a copy of the folder, which takes its place in the end: a kill leaves the one or the other.

        The files are links where the disk has them: replace a file, do not write into it.

        Parameters
        ----------
        but
            As for ``finish``.
        """
        theirs = _files(self.path) - self._traces().keys()
        with scratch_folder(self.path) as copy:
            shutil.copytree(self.path, copy, dirs_exist_ok=True, copy_function=link_or_copy)
            yield copy
            self._finish(copy, {*but, *theirs})
            self.path.rename(_aside(self.path))
            copy.rename(self.path)
        shutil.rmtree(_aside(self.path), ignore_errors=True)

    def _finish(self, folder: Path, but: Collection[str]) -> None:
        files = {name: _trace(folder / name) for name in sorted(_files(folder) - {self.RECORD, *but})}
        write_json(folder / self.RECORD, {"key": self.key, "complete": True, "files": files})

    def _write_incomplete(self) -> None:
        write_json(self.path / self.RECORD, {"key": self.key, "complete": False})

    def _record(self) -> dict[str, Any]:
        record = self.path / self.RECORD
        try:
            return read_json(record, "key", "complete")
        except IntervoxError as error:
            raise self._spoilt() from error

    def _spoilt(self) -> IntervoxError:
        return IntervoxError(
            f"{self.path / self.RECORD} is damaged: delete {self.path} and run the same command again"
        )

    def _traces(self) -> dict[str, Any]:
        """Read which files the step has written; none of another folder are believed."""
        files = self._record().get("files", {})
        if not isinstance(files, dict) or not all(map(_is_within, files)):
            raise self._spoilt()
        return files

    def _remove(self, name: str) -> None:
        path = self.path / name
        if path.exists() and not path.resolve().is_relative_to(self.path.resolve()):
            raise IntervoxError(
                f"{path} is not as it was written, and lies elsewhere: delete it, and run again"
            )
        remove(path)

    def _damaged(self) -> list[str]:
        return [name for name, trace in self._traces().items() if _trace(self.path / name) != trace]


def restore(path: Path) -> None:
    """Put a folder back that a kill has left between the two renames of ``StepFolder.changed``."""
    aside = _aside(path) / StepFolder.RECORD
    if not path.exists() and aside.exists() and "files" in read_json(aside):
        _aside(path).rename(path)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.discarded")


def _is_within(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


def _files(folder: Path) -> set[str]:
    """List the files below a folder, but for hidden ones: those are others', or not finished."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts)}


def _trace(path: Path) -> list[int] | None:
    """Return a file's size and the checksum of its ends, or none of a missing one."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        checksum = zlib.crc32(file.read(_ENDS))
        file.seek(max(size - _ENDS, file.tell()))
        return [size, zlib.crc32(file.read(_ENDS), checksum)]
