"""The one place where a file, bytes or an array becomes a waveform: float32, mono, 16 kHz."""

import io
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from intervox.errors import IntervoxError

SAMPLE_RATE = 16_000
MIN_SAMPLES = 400
"""25 ms: one analysis window of every supported backbone."""

SILENCE = 1e-5
"""A clip whose peak stays below this (-100 dBFS) carries no speech."""

Waveform = NDArray[np.float32]
"""Shape (samples,), mono, 16 kHz, nominally within [-1, 1]."""

AudioSource = str | PathLike[str] | bytes | BinaryIO | NDArray[Any] | tuple[NDArray[Any], int]
"""A path, encoded bytes, an open binary file, a 16 kHz array, or ``(array, sample rate)``.

Arrays are shaped (samples,) or (samples, channels); anything with ``__array__``, such as a torch
tensor on the CPU, counts as an array.
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
    if isinstance(source, str | PathLike):
        name = str(source)
        if not Path(source).is_file():
            raise IntervoxError(f"{name} is not a file: give the path of an audio file")
        wave = _decode(name, name)
    elif isinstance(source, bytes):
        name = "the audio given as bytes"
        wave = _decode(io.BytesIO(source), name)
    elif hasattr(source, "read"):
        name = str(getattr(source, "name", "the open audio file"))
        wave = _decode(source, name)
    else:
        name = "the audio given as an array"
        samples, rate = source if isinstance(source, tuple) else (source, SAMPLE_RATE)
        wave = _from_array(np.asarray(samples), rate, name)
    _check(wave, name)
    return wave


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


def _decode(file: Any, name: str) -> Waveform:
    try:
        with sf.SoundFile(file) as sound:
            rate = sound.samplerate
            blocks = [block.mean(axis=1) for block in _resampled(sound, rate) if len(block)]
    except (sf.SoundFileError, OSError, RuntimeError, TypeError) as error:
        reason = str(error).split(": ")[-1].rstrip(".") or type(error).__name__
        raise IntervoxError(
            f"{name} can't be read as audio ({reason}): give a WAV, FLAC, OGG or MP3 file"
        ) from None
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _resampled(sound: sf.SoundFile, rate: int) -> Any:
    """Yield (samples, 1) float32 blocks at 16 kHz."""
    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32") if rate != SAMPLE_RATE else None
    for block in sound.blocks(_BLOCK_SECONDS * rate, dtype="float32", always_2d=True):
        mono = block.mean(axis=1, keepdims=True)
        yield stream.resample_chunk(mono) if stream else mono
    if stream:
        yield stream.resample_chunk(np.zeros((0, 1), np.float32), last=True)


def _from_array(samples: NDArray[Any], rate: int, name: str) -> Waveform:
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "fiu":
        raise IntervoxError(
            f"{name} has shape {samples.shape} and type {samples.dtype}: give numbers shaped "
            "(samples,) or (samples, channels)"
        )
    if samples.ndim == 2 and samples.shape[1] > 32:
        raise IntervoxError(
            f"{name} has {samples.shape[1]} channels: give shape (samples, channels), not its transpose"
        )
    if not isinstance(rate, int | np.integer) or rate <= 0:
        raise IntervoxError(f"{name} has sample rate {rate!r}: give it in Hz, as a whole number above 0")
    wave = samples.astype(np.float32)
    if samples.dtype.kind in "iu":
        half = 2.0 ** (8 * samples.dtype.itemsize - 1)
        wave = (wave - half if samples.dtype.kind == "u" else wave) / np.float32(half)
    mono = wave if wave.ndim == 1 else wave.mean(axis=1)
    return mono if rate == SAMPLE_RATE else soxr.resample(mono, rate, SAMPLE_RATE).astype(np.float32)


def _check(wave: Waveform, name: str) -> None:
    if len(wave) == 0:
        raise IntervoxError(f"{name} is empty: give a clip that holds speech")
    if not np.isfinite(wave).all():
        raise IntervoxError(f"{name} holds NaN or infinite samples: write the file again")
    if len(wave) < MIN_SAMPLES:
        raise IntervoxError(f"{name} is too short ({len(wave)} samples at 16 kHz): give at least 25 ms")
    if np.abs(wave).max() < SILENCE:
        raise IntervoxError(f"{name} is silent: give a clip that holds speech")
