"""Files that libsndfile decodes, and which of them go to FFmpeg instead."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import soundfile as sf

from intervox.audio.headers import find_data_chunk, is_unfinished
from intervox.audio.limits import whole_rate
from intervox.audio.media import MEDIA_SUFFIXES, is_media, open_media
from intervox.audio.recording import MORE, Block, Recording, joined, unreadable
from intervox.audio.view import View
from intervox.errors import IntervoxError

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au"} | MEDIA_SUFFIXES
"""Of the files that folders and patterns are searched for."""

_PIECE = 4096
"""Samples that are decoded at once: an error takes the piece with it in which it is."""

_BEGINNINGS = (
    b"RIFF",
    b"RIFX",
    b"RF64",
    b"riff",
    b"FORM",
    b"caff",
    b".snd",
    b"fLaC",
    b"OggS",
    b"ID3",
    b"NIST",
)
"""Of the files that libsndfile gets: it also takes tables of MATLAB and files of samplers for sound, and
prints what it makes of some of them.
"""

_OGG_PAGE = 65_307
"""The largest."""

_LONG_NAME = 1024
"""Bytes of a path that libsndfile does not open itself."""

_ERRORS = (sf.SoundFileError, OSError, RuntimeError, TypeError, ValueError, AttributeError)
"""What opening and reading raises, libsndfile's own or that of the open file it was given."""


def open_file(file: Any, name: str) -> Recording:
    """Open a path or an open file, which is read from its beginning, with whatever decodes it."""
    try:
        if not isinstance(file, str) and not getattr(file, "seekable", lambda: True)():
            file = io.BytesIO(file.read())
        head = _head(file)
    except _ERRORS as error:
        raise unreadable(name, error) from None
    if not head:
        raise unreadable(name, "it is empty")
    if is_media(head):
        return open_media(file, name)
    try:
        if not head.startswith(_BEGINNINGS) and not _is_mp3(head):
            raise unreadable(name, "Format not recognised")
        return FileRecording(file, name)
    except IntervoxError:
        if Path(name).suffix.lower() in MEDIA_SUFFIXES:
            return open_media(file, name)
        raise


class _Sequential(sf.SoundFile):  # type: ignore[misc]
    """Read from beginning to end alone: soundfile seeks after every read, which not all formats bear."""

    def seekable(self) -> bool:
        return False


class FileRecording(Recording):
    """A file, or something read like one, that libsndfile decodes."""

    def __init__(self, file: Any, name: str) -> None:
        self.name = name
        self._own = open(file, "rb") if isinstance(file, str) else None  # noqa: SIM115
        self._view: View | None = None
        given = self._own or file
        try:
            chunk = find_data_chunk(given)
            self._missing = chunk.missing if chunk else 0.0
            self._has_end = _has_end(given)
            # libsndfile refuses a CAF file that is too short, the others it reads.
            if chunk and (is_unfinished(chunk, given) or (self._missing and chunk.size_format == ">q")):
                self._view = View(given, chunk.mend)
            elif not self._own or len(os.fsencode(file)) >= _LONG_NAME:
                self._view = View(given)
            self._sound = _Sequential(self._view or file)  # a path is read faster than through Python
            self.rate = whole_rate(self._sound.samplerate, name)
        except _ERRORS as error:
            self.close()
            raise unreadable(name, error) from None
        except IntervoxError:
            self.close()
            raise
        frames = self._sound.frames
        self.promised = frames / self.rate if frames < 2**62 else 0.0

    def blocks(self, seconds: float) -> Iterator[Block]:
        size = max(1, round(seconds * self.rate))
        length = 0
        for block in joined(self._pieces(min(size, _PIECE)), size):
            length += len(block)
            yield block
        if self._missing:
            self.promised = length / self.rate / (1 - self._missing) if self._missing < 1 else MORE
        elif not self._has_end:
            self.promised = MORE

    def _pieces(self, size: int) -> Iterator[Block]:
        started = False
        try:
            while len(piece := self._sound.read(size, dtype="float32", always_2d=True)):
                started = True
                yield piece
            if self._view and self._view.error:
                raise self._view.error
        except _ERRORS as error:
            if not started:
                raise unreadable(self.name, error) from None
            self.promised = self.promised or MORE

    def close(self) -> None:
        for opened in (getattr(self, "_sound", None), self._own):
            if opened:
                opened.close()


def _head(file: Any) -> bytes:
    if isinstance(file, str):
        with open(file, "rb") as opened:
            return opened.read(32)
    file.seek(0)
    return bytes(file.read(32))


def _is_mp3(head: bytes) -> bool:
    """Tell whether a file begins with a frame of MPEG audio, layer II or III.

    Nobody uses layer I, and a text in UTF-16 begins like it.
    """
    return head[:1] == b"\xff" and head[1:2] >= b"\xe0" and head[1] & 6 in (2, 4)


def _has_end(file: Any) -> bool:
    """Tell whether an OGG file's last page is whole and says that it is the last.

    Other kinds of files have no such mark, and are taken to have an end.
    """
    file.seek(0)
    if file.read(4) != b"OggS":
        return True
    file.seek(max(0, file.seek(0, os.SEEK_END) - 2 * _OGG_PAGE))
    tail = file.read()
    _, name, page = tail.rpartition(b"OggS")
    if not name or len(page) < 23:
        return False
    segments = page[22]
    return bool(page[1] & 4) and len(page) >= 23 + segments + sum(page[23 : 23 + segments])
