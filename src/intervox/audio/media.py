"""What libsndfile can't decode and FFmpeg can: M4A, AAC, WebM, MP4, AMR and others.

Through PyAV (``pip install intervox[media]``), or through a program ``ffmpeg`` where there is one.
"""

import shutil
from collections.abc import Iterator
from itertools import chain
from typing import Any

from intervox.audio.ffmpeg import FfmpegRecording
from intervox.audio.limits import whole_rate
from intervox.audio.recording import MORE, Block, Recording, joined, unreadable
from intervox.audio.view import View
from intervox.errors import IntervoxError, install_command

MEDIA_SUFFIXES = {
    ".3gp", ".aac", ".ac3", ".amr", ".ape", ".caf", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp4",
    ".spx", ".tta", ".webm", ".wma", ".wv",
}  # fmt: skip
"""Of files that go to FFmpeg where libsndfile doesn't know them."""

_FORMATS = "aac,ac3,amr,ape,asf,caf,matroska,mov,ogg,tta,wv"
"""The demuxers that may be used: containers of sound alone, no playlists that name other files."""

_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}

_BEGINNINGS = (
    b"\x1aE\xdf\xa3",  # WebM, MKV
    b"#!AMR",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # WMA
    *(b"\xff\xf1", b"\xff\xf9", b"\xff\xf0", b"\xff\xf8"),  # AAC in ADTS
    *(b"MAC ", b"wvpk", b"TTA1", b"\x0b\x77"),  # APE, WavPack, TTA, AC-3
)


def is_media(head: bytes) -> bool:
    """Tell from its first 32 bytes whether a file is for FFmpeg."""
    if head[:4] == b"caff":
        return head[28:32] == b"alac"  # where it is damaged, libsndfile prints to standard output
    return head.startswith(_BEGINNINGS) or head[4:8] == b"ftyp"  # MP4, M4A, 3GP


def open_media(file: Any, name: str) -> Recording:
    """Open a path or an open file with whatever of FFmpeg there is."""
    try:
        import av
    except ImportError:
        program = shutil.which("ffmpeg")
        if program:
            return FfmpegRecording(program, _OPTIONS, file, name)
        raise IntervoxError(
            f"{name} needs FFmpeg to be read: {install_command('media')}, or install ffmpeg"
        ) from None
    return AvRecording(av, file, name)


class AvRecording(Recording):
    """The first sound in a file that PyAV decodes."""

    def __init__(self, av: Any, file: Any, name: str) -> None:
        self.name = name
        self._av = av
        self._container: Any = None
        # An open file, never a path: FFmpeg opens nothing by itself.
        self._own = open(file, "rb") if isinstance(file, str) else None  # noqa: SIM115
        try:
            self._view = View(self._own or file)
            self._container = av.open(self._view, "r", options=_OPTIONS, metadata_errors="ignore")
            streams = self._container.streams
            if not streams.audio:
                raise IntervoxError(f"{name} holds no sound: give a recording")
            self._stream = streams.audio[0]
            self._frames = self._decoded()
            self._first = next(self._frames, None)
            if self._first is None:
                raise IntervoxError(f"{name} is empty: give a clip that holds speech")
            self.rate = whole_rate(self._first.sample_rate, name)
        except (av.FFmpegError, OSError, ValueError) as error:
            self.close()
            raise unreadable(name, getattr(error, "strerror", None) or error) from None
        except IntervoxError:
            self.close()
            raise
        self._channels = self._first.layout.nb_channels
        kind = self._container.format.name
        # Of other containers a length is guessed from the bit rate.
        if kind.startswith("mov") and self._stream.duration:
            self.promised = float(self._stream.duration * self._stream.time_base)
        elif kind.startswith("matroska") and len(streams) == 1 and self._container.duration:
            self.promised = self._container.duration / av.time_base

    def _decoded(self) -> Iterator[Any]:
        """Yield frames; damage before the first is passed over, as in a stream that began amid one."""
        heard = False
        for packet in self._container.demux(self._stream):
            try:
                for frame in packet.decode():
                    heard = True
                    yield frame
            except self._av.FFmpegError:
                if heard:
                    raise

    def blocks(self, seconds: float) -> Iterator[Block]:
        yield from joined(self._pieces(), max(1, round(seconds * self.rate)))

    def _pieces(self) -> Iterator[Block]:
        # Interleaved: of planar frames with 8 channels or more PyAV reads planes that aren't there.
        convert = self._av.AudioResampler(format="flt")
        try:
            for frame in chain([self._first], self._frames):
                if (frame.sample_rate, frame.layout.nb_channels) != (self.rate, self._channels):
                    raise ValueError("rate or channels change")
                for converted in convert.resample(frame):
                    yield converted.to_ndarray().reshape(-1, self._channels)
            if self._view.error:
                raise self._view.error
        except (self._av.FFmpegError, OSError, ValueError):  # after the first frame: the rest is lost
            self.promised = self.promised or MORE

    def duration(self) -> float:
        if self.promised or not self._first:
            return self.promised
        first = self._first.samples / self.rate
        rest = (packet.duration or 0 for packet in self._container.demux(self._stream))
        return float(first + sum(rest) * self._stream.time_base)

    def close(self) -> None:
        for opened in (self._container, self._own):
            if opened:
                opened.close()
