"""Write a model's graphs, and only such as were found to agree with it."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import onnx

from intervox.audio import SAMPLE_RATE, AudioSource, load_audio
from intervox.export.check import Check, agreement, largest_difference, made_clips, run_graph
from intervox.export.graph import join, trace
from intervox.export.quantize import quantize
from intervox.progress import progress_bar
from intervox.storage import atomic_path
from intervox.subspaces.model import SubspaceModel


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
