"""A folder that holds everything: graphs, PyTorch weights, what a program must know, card, example."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intervox.audio import MIN_SAMPLES, SAMPLE_RATE, AudioSource
from intervox.errors import IntervoxError
from intervox.export.card import export_card
from intervox.export.check import Check
from intervox.export.example import EXAMPLE
from intervox.export.graph import INPUT, OPSET
from intervox.export.onnx_files import export_onnx
from intervox.storage import read_json, write_bytes, write_json
from intervox.subspaces.model import SubspaceModel

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
