"""One checked ONNX file: traced, joined, perhaps with weights of eight bits, and held to PyTorch."""

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto
from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]

from intervox.audio import SAMPLE_RATE, AudioSource, load_audio
from intervox.export.check import Check, agreement, largest_difference, made_clips, run_graph
from intervox.export.graph import join, trace
from intervox.model.model import SubspaceModel
from intervox.progress import progress_bar, quiet
from intervox.storage import atomic_path

SETTINGS: dict[str, Any] = {
    "op_types_to_quantize": ["MatMul", "Gemm"],
    "per_channel": True,
    "weight_type": QuantType.QUInt8,
    "extra_options": {"MatMulConstBOnly": True},
}
"""Of ``quantize_dynamic``: matrices of weights alone."""


def quantize(encoder: ModelProto, **other: Any) -> ModelProto:
    """Give every matrix of weights 8 bits; activations get theirs as they come (dynamic quantisation).

    The spectrum, convolutions and attention itself stay in fp32, and so do the subspaces, which are
    no part of the encoder.

    Parameters
    ----------
    other
        In place of some of ``SETTINGS``.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder) / "encoder.onnx"
        quantize_dynamic(encoder, path, **SETTINGS | other)
        return onnx.load(path)


def export_onnx(
    model: SubspaceModel, path: Path | str, int8: Path | str | None = None, clips: Iterable[AudioSource] = ()
) -> Check:
    """Write backbone and subspaces as one ONNX graph that runs on plain onnxruntime.

    Its input ``audio`` is float32 (samples,), 16 kHz mono, of 25 ms or more; its outputs are one unit
    vector (dim,) a subspace, under the subspace's name, equal to those of ``model.encode``.

    Parameters
    ----------
    model
        Its backbone is loaded again, in fp32 on the CPU.
    path
        File to write.
    int8
        File for a second graph whose weights have eight bits.
    clips
        Speech to check on, beside clips of 0.1 to 60 s that are made by a formula.

    Returns
    -------
    Check
        How far the graphs' vectors are from PyTorch's.

    Raises
    ------
    IntervoxError
        A package is missing, the backbone can't be exported, or the graph differs from PyTorch by
        more than 1e-4: then that graph is not written.
    """
    given = [load_audio(clip) for clip in clips]
    waves = made_clips(model.window_seconds) + given
    with progress_bar("exporting", 4 if int8 else 3, "steps") as bar:
        parts = trace(model)
        bar.advance(1, "traced")
        with atomic_path(Path(path)) as temporary:
            onnx.save(join(model, parts), temporary)
            bar.advance(1, "written")
            found = run_graph(temporary, waves)
            difference = largest_difference(model, found, waves)
            bar.advance(1, "checked against PyTorch")
        agreed = None
        if int8:
            with atomic_path(Path(int8)) as temporary:
                onnx.save(join(model, replace(parts, encoder=quantize(parts.encoder))), temporary)
                agreed = agreement(found, run_graph(temporary, waves))
            bar.advance(1, "int8")
    seconds = [len(wave) / SAMPLE_RATE for wave in waves]
    return Check(len(waves), min(seconds), max(seconds), len(given), difference, agreed)
