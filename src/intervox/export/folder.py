"""A folder that holds everything: graphs, PyTorch weights, what a program must know, card, example."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto
from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]

from intervox.audio import MIN_SAMPLES, SAMPLE_RATE, AudioSource, load_audio
from intervox.errors import IntervoxError
from intervox.export.check import Check, agreement, largest_difference, made_clips, run_graph
from intervox.export.graph import INPUT, OPSET, join, quiet, trace
from intervox.export.hub import export_card
from intervox.model.model import SubspaceModel
from intervox.progress import progress_bar
from intervox.storage import atomic_path, read_json, write_bytes, write_json

EXAMPLE = '''"""Compare two clips in every subspace, without Intervox: python example.py a.wav b.wav"""
import json, sys
from pathlib import Path
import numpy as np, onnxruntime, soundfile, soxr

folder = Path(__file__).parent
about = json.loads((folder / "config.json").read_text())["onnx"]
session = onnxruntime.InferenceSession(folder / about["file"])
def embed(path):
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    audio = soxr.resample(audio.mean(axis=1), rate, about["sample_rate"])
    return session.run(about["outputs"], {about["input"]: audio})
for space, a, b in zip(about["outputs"], embed(sys.argv[1]), embed(sys.argv[2])):
    slope, offset = about["calibration"].get(space, (np.nan, np.nan))
    print(f"{space}: cosine {a @ b:.4f}, same with p = {1 / (1 + np.exp(-slope * (a @ b) - offset)):.4f}")
'''


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


CONFIG = "config.json"
SECTION = "onnx"
"""Of ``config.json``: what a program needs to run the graphs. ``from_pretrained`` passes it by."""

FILES = {"fp32": "model.onnx", "int8": "model.int8.onnx"}


@dataclass(frozen=True)
class Exported:
    """A folder that ``export_folder`` wrote.

    Attributes
    ----------
    folder
        Where it is.
    files
        Precision to the graph's path.
    check
        How far the graphs are from PyTorch.
    """

    folder: Path
    files: dict[str, Path]
    check: Check


def export_folder(
    model: SubspaceModel, folder: Path | str, int8: bool = False, clips: Iterable[AudioSource] = ()
) -> Exported:
    """Write a folder that programs without Intervox can use, and ``from_pretrained`` too.

    It holds ``model.onnx``, perhaps ``model.int8.onnx``, ``config.json``, ``model.safetensors``,
    ``README.md`` (the model's card with what was found of the graphs) and ``example.py``.

    Parameters
    ----------
    folder
        Where to; an earlier export there is replaced, once the new one is complete.
    int8
        Whether to write a second graph whose weights have eight bits.
    clips
        Speech to check the graphs on, beside clips that are made by a formula.

    Raises
    ------
    IntervoxError
        The folder holds something else, or as ``export_onnx`` raises. Nothing is left behind then.
    """
    folder = Path(folder).resolve()
    files = {precision: file for precision, file in FILES.items() if int8 or precision == "fp32"}
    with _whole_folder(folder) as temporary:
        model.save_pretrained(temporary)
        check = export_onnx(
            model, temporary / FILES["fp32"], temporary / FILES["int8"] if int8 else None, clips
        )
        config = read_json(temporary / CONFIG)
        write_json(temporary / CONFIG, config | {SECTION: onnx_config(model, files)})
        write_bytes(temporary / "README.md", export_card(model, check, temporary, files).encode())
        write_bytes(temporary / "example.py", EXAMPLE.encode())
    return Exported(folder, {precision: folder / file for precision, file in files.items()}, check)


def onnx_config(model: SubspaceModel, files: dict[str, str]) -> dict[str, Any]:
    """Say what a program has to know to use the graphs, and to read their scores."""
    return {
        "file": files["fp32"],
        "int8_file": files.get("int8"),
        "opset": OPSET,
        "input": INPUT,
        "input_shape": ["samples"],
        "sample_rate": SAMPLE_RATE,
        "min_samples": MIN_SAMPLES,
        "outputs": list(model.subspaces),
        "dims": {name: model.subspace(name).settings.dim for name in model.subspaces},
        "factors": model.factors,
        "score": "the product of two clips' vectors: unit length, so their cosine",
        "probability": "1 / (1 + exp(-(slope * score + offset))): of sharing the factor, at even odds",
        "calibration_fields": ["slope", "offset"],
        "calibration": model.calibration,
    }


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder, which takes the place of ``folder`` if nothing fails."""
    if folder.exists() and not _is_free(folder):
        raise IntervoxError(f"{folder} holds files that no export wrote: choose another folder or empty it")
    for leftover in folder.parent.glob(f".{folder.name}.*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    before = folder.with_name(f".{folder.name}.{os.getpid()}.before")
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        # The temporary name is ours: what the caller gave is what they can mend.
        raise OSError(error.errno, os.strerror(error.errno or 0), str(folder)) from error
    try:
        yield temporary
        if folder.exists():
            folder.rename(before)
        temporary.rename(folder)
        shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_free(folder: Path) -> bool:
    """Say whether a folder is empty or an earlier export."""
    if not folder.is_dir():
        return False
    ours = (folder / CONFIG).is_file() and SECTION in read_json(folder / CONFIG)
    return ours or not any(folder.iterdir())
