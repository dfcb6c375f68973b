"""What the header of a file in chunks (WAV, AIFF, W64, CAF, AU) promises, and what is there.

libsndfile reads what is there without saying what was promised, and takes a size of 0, as a recorder
leaves it that was cut off, at its word.
"""

import os
import struct
from dataclasses import dataclass
from typing import Any

_UNKNOWN = 0x7FFF_F000
"""Sizes of 32 bits from here on stand for a stream of unknown length; SoX writes this one."""

_UNKNOWN_WIDE = 2**62
"""The same in 64 bits."""

_MAX_CHUNKS = 256
"""Before the samples. No writer comes near it; a damaged file could have millions."""


@dataclass(frozen=True)
class _Layout:
    """How a kind of file lines up its chunks: a header with name and size, then the content."""

    first: int
    header: str
    data: bytes
    pad: int = 2
    size_has_header: bool = False


_LAYOUTS = {
    b"RIFF": _Layout(12, "<4sI", b"data"),
    b"RIFX": _Layout(12, ">4sI", b"data"),
    b"RF64": _Layout(12, "<4sI", b"data"),
    b"FORM": _Layout(12, ">4sI", b"SSND"),
    b"caff": _Layout(8, ">4sq", b"data", pad=1),
    b"riff": _Layout(
        40, "<16sQ", b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0O\x8e\xdb\x8a", pad=8, size_has_header=True
    ),
}
"""By the first four bytes."""


@dataclass(frozen=True)
class DataChunk:
    """The chunk of the samples: how many bytes its header promises (0: doesn't say), how many are there.

    ``size_at`` and ``size_format`` are of the field that promises them.
    """

    promised: int
    present: int
    size_at: int
    size_format: str

    @property
    def missing(self) -> float:
        """Return the share of the promised samples that is not there."""
        return max(0.0, 1 - self.present / self.promised) if self.promised else 0.0

    @property
    def mend(self) -> tuple[int, bytes]:
        """Return the place of the size, and the size of what is there."""
        most = 2 ** (8 * struct.calcsize(self.size_format)) - 1
        return self.size_at, struct.pack(self.size_format, min(self.present, most))


def find_data_chunk(file: Any) -> DataChunk | None:
    """Find the samples of a file in chunks; None where it is another kind or damaged before them."""
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(40)
    if head[:4] == b".snd" and len(head) >= 12:
        start, size = struct.unpack_from(">II", head, 4)
        return _chunk(0 if size >= _UNKNOWN else size, length - start, 8, ">I")
    layout = _LAYOUTS.get(head[:4])
    if layout is None:
        return None
    place, width, wide = layout.first, struct.calcsize(layout.header), None
    for _ in range(_MAX_CHUNKS):
        file.seek(place)
        chunk = file.read(width + 16)
        if len(chunk) < width:
            return None
        name, size = struct.unpack_from(layout.header, chunk)
        size -= width * layout.size_has_header
        if name == b"ds64" and len(chunk) >= width + 16:  # RF64: the sizes of 64 bits
            wide = (struct.unpack_from("<Q", chunk, width + 8)[0], place + width + 8)
        if name == layout.data:
            present = length - place - width
            if wide and size >= _UNKNOWN:
                return _chunk(wide[0], present, wide[1], "<Q")
            unknown = size < 0 or (width == 8 and size >= max(_UNKNOWN, present))
            field = layout.header[0] + layout.header[-1]
            return _chunk(0 if unknown else size, present, place + width - struct.calcsize(field), field)
        if size < 0:
            return None
        place += width + size + -size % layout.pad
        if place >= length:
            return None
    return None


def is_unfinished(chunk: DataChunk, file: Any) -> bool:
    """Tell whether a size of 0 means that nobody came to write it, not that there is no sound."""
    file.seek(4)
    size = file.read(4)
    whole = {int.from_bytes(size, "little") + 8, int.from_bytes(size, "big") + 8}
    return chunk.promised == 0 < chunk.present and file.seek(0, os.SEEK_END) not in whole


def _chunk(promised: int, present: int, size_at: int, size_format: str) -> DataChunk:
    known = 0 <= promised < _UNKNOWN_WIDE
    return DataChunk(promised if known else 0, max(0, present), size_at, size_format)
