"""Clips, recordings and live sound as waveforms: checked, mixed to mono, resampled."""

import io
import warnings
from collections.abc import Iterable, Iterator
from contextlib import closing
from os import PathLike
from typing import Any

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from intervox.audio.files import open_file
from intervox.audio.limits import (
    MAX_HOURS,
    MIN_SAMPLES,
    SAMPLE_RATE,
    SILENCE,
    Waveform,
    check_samples,
    whole_rate,
)
from intervox.audio.mono import Downmix, to_floats
from intervox.audio.recording import MORE, Block, Recording
from intervox.audio.sources import AudioSource, open_source
from intervox.errors import IntervoxError, IntervoxWarning

_BLOCK_SECONDS = 30.0

_TOLERANCE = 0.1
"""In seconds. Headers of compressed sound are off by a frame, many others by a few bytes."""


def load_audio(source: AudioSource, strict: bool = False) -> Waveform:
    """Read, mix to mono and resample one clip, and refuse what no embedding can describe.

    Channels are averaged, unless they cancel each other, as with opposite phases: then the loudest
    is taken. Files are decoded in blocks, so that an hour of 96 kHz stereo costs no more memory than
    its 16 kHz mono waveform.

    Parameters
    ----------
    source
        A path, encoded bytes, an open file (read from its beginning), an array, or an array and its
        rate.
    strict
        Refuse a file that ends before its header says so. Otherwise it is read as far as it goes,
        with an ``IntervoxWarning``.

    Raises
    ------
    IntervoxError
        The clip is missing, undecodable, damaged, empty, shorter than 25 ms, longer than three hours,
        silent or not finite, or its samples are far outside [-1, 1].
    """
    with closing(open_source(source)) as recording:
        wave, length = np.empty(0, np.float32), 0
        for block in _waves(recording, _BLOCK_SECONDS, strict):
            first, length = length, length + len(block)
            if length > MAX_HOURS * 3600 * SAMPLE_RATE:
                raise IntervoxError(f"{recording.name} is longer than {MAX_HOURS} hours: cut it into clips")
            if length > len(wave):  # in place: no second copy of hours
                wave.resize(max(length, len(wave) * 5 // 4), refcheck=False)
            wave[first:length] = block
        wave.resize(length, refcheck=False)
        if max(wave.max(), -wave.min()) < SILENCE:
            raise IntervoxError(f"{recording.name} is silent: give a clip that holds speech")
        return wave


def stream_audio(
    source: AudioSource, block_seconds: float = _BLOCK_SECONDS, strict: bool = False
) -> Iterator[Waveform]:
    """Yield a recording of any length in blocks, mono at 16 kHz, in bounded memory.

    Channels that cancel each other are seen from the sound of about the last ten seconds.

    Parameters
    ----------
    block_seconds
        About how long a block is; resampling may move its end by a few milliseconds.
    strict
        As for ``load_audio``; the error comes after the last block.

    Raises
    ------
    IntervoxError
        The recording is missing, undecodable, damaged, empty, shorter than 25 ms or not finite, or
        its samples are far outside [-1, 1]. Silence is part of a long recording and is yielded as it
        is.
    """
    with closing(open_source(source)) as recording:
        yield from _waves(recording, block_seconds, strict)


def resample_chunks(chunks: Iterable[NDArray[Any]], rate: int | float) -> Iterator[Waveform]:
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
        A chunk is not an array of numbers, not finite or far outside [-1, 1]; the rate is not a whole number
        from 1,000 to 768,000.
    """
    name = "a chunk of sound"
    rate = whole_rate(rate, name)
    yield from _converted((to_floats(np.asarray(chunk), name) for chunk in chunks), rate, name)


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
        with closing(open_file(str(path), str(path))) as recording:
            return recording.duration()
    except (IntervoxError, OSError):
        return 0.0


def _waves(recording: Recording, block_seconds: float, strict: bool) -> Iterator[Waveform]:
    """Decode and convert it all, and see at the end that it was long enough and all there."""
    heard = length = 0

    def counted() -> Iterator[Block]:
        nonlocal heard
        for block in recording.blocks(block_seconds):
            heard += len(block)
            yield block

    for wave in _converted(counted(), recording.rate, recording.name):
        length += len(wave)
        yield wave
    if length == 0 and recording.promised:
        raise IntervoxError(f"{recording.name} ends before its sound begins: copy or record the file again")
    if length == 0:
        raise IntervoxError(f"{recording.name} is empty: give a clip that holds speech")
    if length < MIN_SAMPLES:
        raise IntervoxError(
            f"{recording.name} is too short ({length} samples at 16 kHz): give at least 25 ms"
        )
    seconds = heard / recording.rate
    if recording.promised - seconds > _TOLERANCE:
        _tell_of_the_missing(recording, seconds, strict)


def _converted(blocks: Iterable[Block], rate: int, name: str) -> Iterator[Waveform]:
    """Check, mix and resample: whatever sound comes from, it comes through here."""
    downmix = Downmix(rate)
    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32") if rate != SAMPLE_RATE else None
    for block in blocks:
        check_samples(block, name)
        mono = downmix.mix(block)
        yield stream.resample_chunk(mono) if stream else mono
    if stream:
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _tell_of_the_missing(recording: Recording, seconds: float, strict: bool) -> None:
    if recording.promised < MORE:
        what = f"{recording.name} ends after {seconds:.1f} of {recording.promised:.1f} s: the rest is missing"
    else:
        what = f"{recording.name} is cut off or damaged after {seconds:.1f} s: the rest is missing"
    if strict:
        raise IntervoxError(f"{what}; copy or record the file again")
    warnings.warn(what, IntervoxWarning, stacklevel=3)
