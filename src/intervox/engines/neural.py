"""What the engines that run an ONNX graph share: its session, and a clip made ready from its output."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soxr
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.errors import IntervoxError, missing_extra

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

RATE_RANGE = (0.88, 1.14)
"""How much slower or faster than usual one person reads a text: each rendition draws from it."""

_FRAME_SECONDS = 0.01
_MARGIN_FRAMES = 5
_SILENCE_DB = -45.0


def open_session(path: Path, extra: str) -> "InferenceSession":
    """Load an ONNX graph to run on one thread, as several processes share the cores.

    Parameters
    ----------
    path
        The ``.onnx`` file.
    extra
        The optional dependency that brings ``onnxruntime``.

    Raises
    ------
    IntervoxError
        ``onnxruntime`` is not installed, or the file is no graph that it can run.
    """
    try:
        import onnxruntime
    except ImportError:
        raise missing_extra("onnxruntime", extra, f"the {extra} engine") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors share no base class
        reason = str(error).splitlines()[0]
        raise IntervoxError(f"{path} can't be run ({reason}): get the file again") from None


def finished_clip(samples: NDArray[np.float32], sample_rate: int) -> Waveform:
    """Cut the silence around the speech to 50 ms, resample to 16 kHz, and keep within [-1, 1].

    Parameters
    ----------
    samples
        Shape (samples,), at ``sample_rate`` Hz.
    sample_rate
        Of the graph's output.
    """
    frame = round(_FRAME_SECONDS * sample_rate)
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    level = np.sqrt(np.mean(frames**2, axis=1))
    heard = np.flatnonzero(level > level.max(initial=0) * 10 ** (_SILENCE_DB / 20))
    if not len(heard):
        return np.zeros(0, np.float32)
    first, last = max(0, heard[0] - _MARGIN_FRAMES), heard[-1] + 1 + _MARGIN_FRAMES
    wave = soxr.resample(samples[first * frame : last * frame], sample_rate, SAMPLE_RATE)
    return np.asarray(wave / max(1.0, np.abs(wave).max()), np.float32)
