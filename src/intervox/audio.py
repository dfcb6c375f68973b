"""The one place where a file, bytes or an array becomes a waveform: float32, mono, 16 kHz."""

import io
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from intervox.errors import IntervoxError

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au"}
"""Of the files that folders and patterns are searched for."""

SAMPLE_RATE = 16_000
MIN_SAMPLES = 400
"""25 ms: one analysis window of every supported backbone."""

MIN_RATE = 1_000
"""In Hz. Below it a rate was given in kHz, or is no rate; no speech survives it either."""

SILENCE = 1e-5
"""A clip whose peak stays below this (-100 dBFS) carries no speech."""

Waveform = NDArray[np.float32]
"""Shape (samples,), mono, 16 kHz, nominally within [-1, 1]."""


class ArrayLike(Protocol):
    """What NumPy takes for an array, such as a torch tensor on the CPU."""

    def __array__(self) -> NDArray[Any]: ...


AudioSource = (
    str
    | PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | BinaryIO
    | NDArray[Any]
    | ArrayLike
    | tuple[NDArray[Any], int]
    | Mapping[str, Any]
)
"""A path, encoded bytes, an open binary file, a 16 kHz array, or ``(array, sample rate)``.

Arrays are shaped (samples,) or (samples, channels); a torch tensor, or anything with ``__array__``,
counts as an array. A mapping is a row of an Audio column of ``datasets``:
``{"array", "sampling_rate"}``, or ``{"bytes", "path"}`` of which one may be None.
"""

_BLOCK_SECONDS = 30


def load_audio(source: AudioSource) -> Waveform:
    """Read, mix to mono and resample one clip, and refuse what no embedding can describe.

    Files are decoded in blocks, so that an hour of 96 kHz stereo costs no more memory than its
    16 kHz mono waveform.

    Raises
    ------
    IntervoxError
        The clip is missing, undecodable, empty, shorter than 25 ms, silent or not finite.
    """
    name, blocks = _open(source, _BLOCK_SECONDS)
    wave = np.concatenate(list(_checked(name, blocks)))
    if np.abs(wave).max() < SILENCE:
        raise IntervoxError(f"{name} is silent: give a clip that holds speech")
    return wave


def stream_audio(source: AudioSource, block_seconds: float = _BLOCK_SECONDS) -> Iterator[Waveform]:
    """Yield a recording of any length in blocks, mono at 16 kHz, in bounded memory.

    Parameters
    ----------
    block_seconds
        About how long a block is; resampling may move its end by a few milliseconds.

    Raises
    ------
    IntervoxError
        The recording is missing, undecodable, empty, shorter than 25 ms or not finite. Silence is
        part of a long recording and is yielded as it is.
    """
    yield from _checked(*_open(source, block_seconds))


def resample_chunks(chunks: Iterable[NDArray[Any]], rate: int) -> Iterator[Waveform]:
    """Turn a live iterator of sound into mono at 16 kHz, chunk by chunk.

    Parameters
    ----------
    chunks
        Arrays of any lengths, (samples,) or (samples, channels), integers or floats in [-1, 1].
    rate
        Of the chunks, in Hz. Another rate than 16 kHz delays the sound by some milliseconds.

    Raises
    ------
    IntervoxError
        A chunk is no array of numbers, or not finite; the rate is no whole number from 1,000 on.
    """
    name = "a chunk of sound"
    _check_rate(rate, name)
    stream = _resampler(rate)
    for chunk in chunks:
        mono = _mono(np.asarray(chunk), name)
        _check_finite(mono, name)
        yield stream.resample_chunk(mono[:, None])[:, 0] if stream else mono
    if stream:
        yield stream.resample_chunk(np.zeros((0, 1), np.float32), last=True)[:, 0]


def encode_flac(wave: Waveform) -> bytes:
    """Encode a waveform as 16-bit FLAC."""
    buffer = io.BytesIO()
    sf.write(buffer, wave, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def duration_seconds(path: str | PathLike[str]) -> float:
    """Return a file's length from its header, or 0 where that cannot be read.

    Only the batch plan depends on it; reading the clip itself reports what is wrong with it.
    """
    try:
        return float(sf.info(str(path)).duration)
    except (sf.SoundFileError, OSError):
        return 0.0


def _open(source: AudioSource, block_seconds: float) -> tuple[str, Iterator[Waveform]]:
    """Return what to call a source in messages, and its sound in blocks at 16 kHz."""
    if isinstance(source, Mapping):
        return _open(_row(source), block_seconds)
    if isinstance(source, str | PathLike):
        name = str(source)
        _check_file(name)
        return name, _decode(name, name, block_seconds)
    if isinstance(source, bytes | bytearray | memoryview):
        name = "the audio given as bytes"
        return name, _decode(io.BytesIO(source), name, block_seconds)
    if isinstance(source, io.TextIOBase):
        raise IntervoxError(f"{getattr(source, 'name', 'the file')} is open as text: open it with 'rb'")
    if hasattr(source, "read"):
        name = str(getattr(source, "name", "the open audio file"))
        return name, _decode(source, name, block_seconds)
    name = "the audio given as an array"
    samples, rate = _pair(source, name)
    wave = _mono(samples, name)
    _check_rate(rate, name)
    if rate != SAMPLE_RATE:
        wave = soxr.resample(wave, rate, SAMPLE_RATE).astype(np.float32)
    size = max(1, round(block_seconds * SAMPLE_RATE))
    return name, (wave[start : start + size] for start in range(0, len(wave), size))


def _check_file(name: str) -> None:
    """Refuse what libsndfile could only call a system error."""
    shown = name if name.isprintable() and name else repr(name)
    try:
        if not Path(name).is_file():
            raise IntervoxError(f"{shown} is not a file: give the path of an audio file")
        with open(name, "rb"):
            pass
    except OSError as error:
        reason = str(error.strerror).lower()
        raise IntervoxError(f"{shown} can't be read ({reason}): allow it, or give another file") from None


def _pair(source: Any, name: str) -> tuple[NDArray[Any], int]:
    """Take an array, or an array and its rate, whatever library it is of."""
    samples, rate = source if isinstance(source, tuple) and len(source) == 2 else (source, SAMPLE_RATE)
    if hasattr(samples, "detach"):  # a tensor: NumPy has neither gradients nor bfloat16
        samples = samples.detach().cpu()
        samples = samples.float() if samples.is_floating_point() else samples
    try:
        return np.asarray(samples), rate
    except (ValueError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise IntervoxError(
            f"{name} is no array of numbers ({reason}): give numbers shaped (samples,) or (samples, channels)"
        ) from None


def _row(row: Mapping[str, Any]) -> AudioSource:
    """Take the sound out of a row of an Audio column of ``datasets``."""
    if row.get("array") is not None and "sampling_rate" in row:
        return np.asarray(row["array"]), row["sampling_rate"]
    for key in ("bytes", "path"):
        if row.get(key) is not None:
            found: AudioSource = row[key]
            return found
    raise IntervoxError(
        f"a mapping with the keys {', '.join(map(str, row)) or '(none)'} is no clip: give array and "
        "sampling_rate, or bytes, or path"
    )


def _decode(file: Any, name: str, block_seconds: float) -> Iterator[Waveform]:
    try:
        with sf.SoundFile(file) as sound:
            stream = _resampler(sound.samplerate)
            size = max(1, round(block_seconds * sound.samplerate))
            for block in sound.blocks(size, dtype="float32", always_2d=True):
                mono = block.mean(axis=1, keepdims=True)
                yield (stream.resample_chunk(mono) if stream else mono)[:, 0]
            if stream:
                yield stream.resample_chunk(np.zeros((0, 1), np.float32), last=True)[:, 0]
    except (sf.SoundFileError, OSError, RuntimeError, TypeError) as error:
        reason = str(error).split(": ")[-1].rstrip(".") or type(error).__name__
        raise IntervoxError(
            f"{name} can't be read as audio ({reason}): give a WAV, FLAC, OGG or MP3 file"
        ) from None


def _resampler(rate: int) -> Any:
    """A stateful resampler of one channel to 16 kHz; None where there is nothing to do."""
    return soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32") if rate != SAMPLE_RATE else None


def _mono(samples: NDArray[Any], name: str) -> Waveform:
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "fiu":
        raise IntervoxError(
            f"{name} has shape {samples.shape} and type {samples.dtype}: give numbers shaped "
            "(samples,) or (samples, channels)"
        )
    if samples.ndim == 2 and samples.shape[1] > 32:
        raise IntervoxError(
            f"{name} has {samples.shape[1]} channels: give shape (samples, channels), not its transpose"
        )
    wave = samples.astype(np.float32)
    if samples.dtype.kind in "iu":
        half = 2.0 ** (8 * samples.dtype.itemsize - 1)
        wave = (wave - half if samples.dtype.kind == "u" else wave) / np.float32(half)
    return wave if wave.ndim == 1 else wave.mean(axis=1)


def _check_rate(rate: int, name: str) -> None:
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer) or rate < MIN_RATE:
        raise IntervoxError(
            f"{name} has sample rate {rate!r}: give it in Hz, as a whole number from {MIN_RATE:,} on"
        )


def _check_finite(wave: Waveform, name: str) -> None:
    if not np.isfinite(wave).all():
        raise IntervoxError(f"{name} holds NaN or infinite samples: write the file again")


def _checked(name: str, blocks: Iterable[Waveform]) -> Iterator[Waveform]:
    """Pass blocks on; together they have to be long enough."""
    length = 0
    for block in blocks:
        _check_finite(block, name)
        length += len(block)
        yield block
    if length == 0:
        raise IntervoxError(f"{name} is empty: give a clip that holds speech")
    if length < MIN_SAMPLES:
        raise IntervoxError(f"{name} is too short ({length} samples at 16 kHz): give at least 25 ms")
