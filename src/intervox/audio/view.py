"""Open files as native decoders may see them: those can't take an exception, and print it instead."""

import io
import os
from typing import Any


class View(io.RawIOBase):
    """An open file, read from its beginning, with other bytes in its header where they are wrong.

    A place outside the file becomes one of its ends; an error of the file is kept in ``error``, and
    ends it.
    """

    def __init__(self, file: Any, patch: tuple[int, bytes] = (0, b"")) -> None:
        self._file = file
        self._patch_at, self._patch = patch
        self._place = 0
        self._length = file.seek(0, os.SEEK_END)
        self.error: Exception | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._length}[whence]
        self._place = min(max(0, start + offset), self._length)
        return self._place

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        try:
            self._file.seek(self._place)
            data = self._file.read(len(view))
        except (OSError, ValueError) as error:
            self.error = error
            return 0
        view[: len(data)] = data
        for at, byte in enumerate(self._patch, self._patch_at - self._place):
            if 0 <= at < len(data):
                view[at] = byte
        self._place += len(data)
        return len(data)
