"""Sound files of every kind, made in memory."""

import io
import struct
from typing import Any

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

RATE = 16_000

SNDFILE_KINDS = {
    "wav": ("WAV", "PCM_16"),
    "wav-float": ("WAV", "FLOAT"),
    "wav-ulaw": ("WAV", "ULAW"),
    "wav-adpcm": ("WAV", "MS_ADPCM"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
}
"""What libsndfile writes: format and subtype."""

MEDIA_KINDS = {
    "m4a": ("mp4", "aac", 16_000),
    "aac": ("adts", "aac", 16_000),
    "webm": ("webm", "libopus", 48_000),
    "amr": ("amr", "libopencore_amrnb", 8_000),
}
"""What PyAV writes: container, codec and rate."""


def voiced(seconds: float = 2.0, rate: int = RATE) -> NDArray[np.float32]:
    """Make a tone that glides and swells, so that no part of it equals another."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * (150 * time + 40 * time**2)
    tones = sum(np.sin(k * phase) / k for k in range(1, 8))
    return np.asarray(0.2 * tones * (0.6 + 0.4 * np.sin(2 * np.pi * 2.3 * time)), np.float32)


def encoded(kind: str, wave: NDArray[np.float32], rate: int = RATE) -> bytes:
    """Encode a wave with libsndfile or, for ``MEDIA_KINDS``, with PyAV."""
    buffer = io.BytesIO()
    if kind in MEDIA_KINDS:
        _write_media(buffer, kind, wave, rate)
    else:
        form, subtype = SNDFILE_KINDS[kind]
        sf.write(buffer, wave, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def riff(
    samples: NDArray[Any], rate: int = RATE, riff_size: int | None = None, data_size: int | None = None
) -> bytes:
    """Write a WAV file with any sizes and any rate in its header."""
    raw = samples.tobytes()
    channels, width = (samples.shape[1] if samples.ndim == 2 else 1), samples.dtype.itemsize
    form = struct.pack(
        "<4sIHHIIHH", b"fmt ", 16, 3 if samples.dtype.kind == "f" else 1, channels, rate,
        rate * channels * width & 0xFFFFFFFF, channels * width, 8 * width,
    )  # fmt: skip
    data = struct.pack("<4sI", b"data", len(raw) if data_size is None else data_size) + raw
    body = b"WAVE" + form + data
    return struct.pack("<4sI", b"RIFF", len(body) if riff_size is None else riff_size) + body


def _write_media(buffer: io.BytesIO, kind: str, wave: NDArray[np.float32], rate: int) -> None:
    import av
    import soxr

    container, codec, own_rate = MEDIA_KINDS[kind]
    with av.open(buffer, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=own_rate, layout="mono")
        if kind == "amr":
            stream.bit_rate = 12_200
        samples = (soxr.resample(wave, rate, own_rate)[None] * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = own_rate
        for part in [frame, None]:
            for packet in stream.encode(part):
                output.mux(packet)
