"""What the program ``ffmpeg`` decodes, read from its output as it comes."""

import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from intervox.audio.limits import whole_rate
from intervox.audio.recording import MORE, Block, Recording, joined, unreadable
from intervox.errors import IntervoxError

_PIECE = 2**16
"""Bytes per channel that are read from the pipe at once."""

_DURATION = re.compile(r"Duration: (\d+):(\d\d):(\d\d\.\d+)")
_SAYS_LENGTH = re.compile(r"Input #0, (mov|matroska)")
"""Containers whose lengths come from a header; those of the others are guessed from the bit rate."""


class FfmpegRecording(Recording):
    """The first sound in a file that ``ffmpeg`` decodes.

    Its output is AU, whose header of 24 bytes has rate and channels.
    """

    def __init__(self, program: str, options: Mapping[str, str], file: Any, name: str) -> None:
        self.name = name
        self._copy = None if isinstance(file, str) else _copied(file)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (close)
        words = [program, "-nostdin", "-hide_banner", "-nostats"]
        words += [word for key, value in options.items() for word in (f"-{key}", value)]
        words += ["-i", f"file:{self._copy.name if self._copy else file}", "-map", "0:a:0"]
        words += ["-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log
        )
        assert self._process.stdout
        self._output = self._process.stdout
        head = self._output.read(24)
        try:
            _, start, _, _, rate, self._channels = struct.unpack(">4s5I", head)
            self.rate = whole_rate(rate, name)
        except struct.error:
            self._process.wait()
            said = self._said().splitlines() or ["no output"]
            self.close()
            raise unreadable(name, said[-1]) from None
        except IntervoxError:
            self.close()
            raise
        self._output.read(start - 24)
        if _SAYS_LENGTH.search(self._said()):
            self.promised = self.duration()

    def blocks(self, seconds: float) -> Iterator[Block]:
        yield from joined(self._pieces(), max(1, round(seconds * self.rate)))
        if self._process.wait():
            self.promised = self.promised or MORE

    def _pieces(self) -> Iterator[Block]:
        frame = 4 * self._channels
        while data := self._output.read(_PIECE * frame):
            whole = np.frombuffer(data, ">f4", len(data) // frame * self._channels)
            yield whole.reshape(-1, self._channels).astype(np.float32)

    def duration(self) -> float:
        found = _DURATION.search(self._said())
        hours, minutes, seconds = map(float, found.groups()) if found else (0, 0, 0)
        return hours * 3600 + minutes * 60 + seconds

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for opened in (self._output, self._log, self._copy):
            if opened:
                opened.close()


def _copied(file: Any) -> Any:
    """Copy an open file to disk: a container may have to be read from its end."""
    copy = tempfile.NamedTemporaryFile(prefix="intervox-")  # noqa: SIM115  (close)
    file.seek(0)
    shutil.copyfileobj(file, copy)
    copy.flush()
    return copy
