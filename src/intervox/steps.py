"""Step folders: they know what they were made from, and whether their files are those that were written."""

import os
import shutil
import warnings
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from intervox.errors import IntervoxError, IntervoxWarning
from intervox.storage import link_or_copy, read_json, remove, scratch_folder, write_json

_ENDS = 2**20
"""Bytes at each end of a file that its trace is of, so that opening a large corpus stays cheap."""


class StepFolder:
    """A folder that one step fills, keyed by a hash of everything the step depends on.

    Reopened with the same key, a partly filled folder is continued and a complete one reused. A file that
    is no longer as it was written, as after a power cut, is removed, and the step is to make it again.
    Reopened with another key, what the step itself wrote before is removed first.
    """

    RECORD = "step.json"

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.key = key
        record = path / self.RECORD
        aside = self._aside / self.RECORD
        if not path.exists() and aside.exists() and "files" in read_json(aside):
            self._aside.rename(path)  # `changed` was killed between its two renames
        if record.exists() and self._record().get("key") != key:
            # Renamed before it is removed: a kill in between leaves nothing that looks like ours.
            shutil.rmtree(self._aside, ignore_errors=True)
            path.rename(self._aside)
        shutil.rmtree(self._aside, ignore_errors=True)
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
                (path / name).unlink(missing_ok=True)
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
        with scratch_folder(self.path) as copy:
            shutil.copytree(self.path, copy, dirs_exist_ok=True, copy_function=link_or_copy)
            yield copy
            self._finish(copy, but)
            self.path.rename(self._aside)
            copy.rename(self.path)
        shutil.rmtree(self._aside, ignore_errors=True)

    @property
    def _aside(self) -> Path:
        return self.path.with_name(f".{self.path.name}.discarded")

    def _finish(self, folder: Path, but: Collection[str]) -> None:
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
        kept = [path for path in paths if path.name not in {self.RECORD, *but}]
        files = {path.relative_to(folder).as_posix(): _trace(path) for path in kept}
        write_json(folder / self.RECORD, {"key": self.key, "complete": True, "files": files})

    def _record(self) -> dict[str, Any]:
        try:
            return read_json(self.path / self.RECORD, "key", "complete")
        except IntervoxError as error:
            what = f"{self.path / self.RECORD} is damaged: delete {self.path} and run the same command again"
            raise IntervoxError(what) from error

    def _write_incomplete(self) -> None:
        write_json(self.path / self.RECORD, {"key": self.key, "complete": False})

    def _damaged(self) -> list[str]:
        files: dict[str, Any] = self._record().get("files", {})
        return [name for name, trace in files.items() if _trace(self.path / name) != trace]


def _trace(path: Path) -> list[int] | None:
    """Return a file's size and the checksum of its ends, or none of a missing one."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        checksum = zlib.crc32(file.read(_ENDS))
        file.seek(max(size - _ENDS, file.tell()))
        return [size, zlib.crc32(file.read(_ENDS), checksum)]
    return None
