"""What people give for a clip: paths, bytes, open files, arrays, rows of ``datasets``."""

import io
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from intervox.audio.decoders import decoded, is_decoder
from intervox.audio.files import open_file
from intervox.audio.limits import SAMPLE_RATE, whole_rate
from intervox.audio.mono import to_floats
from intervox.audio.recording import Recording
from intervox.errors import IntervoxError


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
    | tuple[NDArray[Any], int | float]
    | Mapping[str, Any]
)
"""A path, encoded bytes, an open binary file, a 16 kHz array, or ``(array, sample rate)``.

Arrays are shaped (samples,) or (samples, channels); a torch tensor, or anything with ``__array__``,
counts as an array. A mapping is a row of an Audio column of ``datasets``:
``{"array", "sampling_rate"}``, or ``{"bytes", "path"}`` of which one may be None.
"""


class ArrayRecording(Recording):
    """Numbers in memory."""

    def __init__(self, samples: NDArray[Any], rate: Any, name: str) -> None:
        self._samples = samples
        self.name = name
        self.rate = whole_rate(rate, name)
        to_floats(samples[:0] if samples.ndim else samples, name)  # refuses types and shapes
        if (
            samples.dtype.kind == "i"
            and samples.dtype.itemsize > 2
            and 0 < np.abs(samples).max(initial=0) <= 2**15
        ):
            raise IntervoxError(
                f"{name} holds {samples.dtype} samples in the range of 16 bits: give it as int16"
            )

    def blocks(self, seconds: float) -> Iterator[NDArray[np.float32]]:
        size = max(1, round(seconds * self.rate))
        for start in range(0, len(self._samples), size):
            yield to_floats(self._samples[start : start + size], self.name)


def open_source(source: AudioSource) -> Recording:
    """Open whatever was given."""
    if isinstance(source, Mapping):
        return open_source(_row(source))
    if isinstance(source, str | PathLike):
        name = str(source)
        _check_file(name)
        return open_file(name, name)
    if isinstance(source, bytes | bytearray | memoryview):
        return open_file(io.BytesIO(source), "the audio given as bytes")
    if isinstance(source, io.TextIOBase):
        raise IntervoxError(f"{getattr(source, 'name', 'the file')} is open as text: open it with 'rb'")
    if is_decoder(source):
        return open_source(decoded(source))
    if hasattr(source, "read"):
        return open_file(source, str(getattr(source, "name", "the open audio file")))
    name = "the audio given as an array"
    return ArrayRecording(*_pair(source, name), name)


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


def _pair(source: Any, name: str) -> tuple[NDArray[Any], Any]:
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
            f"{name} is not an array of numbers ({reason}): "
            "give numbers shaped (samples,) or (samples, channels)"
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
        f"a mapping with the keys {', '.join(map(str, row)) or '(none)'} is not a clip: give array and "
        "sampling_rate, or bytes, or path"
    )
