"""The packaged model as ONNX graphs against PyTorch: size, speed, and what is lost on human speech.

The same clips, trials and draws for all three. Speed is clip by clip on one thread, as a program
would, in turn, median of the rounds; PyTorch in batches is beside it. The human corpora are
measured here and nothing is chosen by them: how int8 is made was decided on speech-like sounds, as
--variants shows again.
"""

import argparse
import tempfile
import time
import timeit
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnxruntime.quantization import QuantType  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from intervox.audio import SAMPLE_RATE, Waveform, load_audio
from intervox.clips.labels import Clips
from intervox.evaluation.keywords import shot_resamples
from intervox.evaluation.protocols import Protocol, find_protocols
from intervox.evaluation.test_sets import EVALUATION_SEED, draw, has_keywords
from intervox.export.folder import Exported, export_folder
from intervox.export.graph import join, trace
from intervox.export.onnx_file import PRECISIONS, made_clips, quantize
from intervox.metrics.detection import equal_error_rate, error_rates
from intervox.metrics.trials import usual_stratum
from intervox.metrics.vectors import cosine
from intervox.model.model import SubspaceModel
from intervox.model.onnx_model import AUDIO, LENGTHS

CORPORA = ("librispeech", "speech_commands", "fsdd", "ravdess")
TRIALS = 20_000
EPISODES = 50
Vectors = dict[str, NDArray[np.float32]]
Encode = Callable[[Sequence[Waveform]], Vectors]


def graph(path: Path) -> Encode:
    """Run a graph clip by clip on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = ["content", "speaker"]

    def encode(waves: Sequence[Waveform]) -> Vectors:
        rows = [session.run(names, _clip(wave)) for wave in waves]
        return {name: np.concatenate([row[place] for row in rows]) for place, name in enumerate(names)}

    return encode


def _clip(wave: Waveform) -> dict[str, NDArray[Any]]:
    return {AUDIO: wave[None], LENGTHS: np.array([len(wave)])}


def one_by_one(model: SubspaceModel, waves: Sequence[Waveform]) -> Vectors:
    """Run PyTorch clip by clip."""
    rows = [model.encode([wave]) for wave in waves]
    return {name: np.concatenate([row[name] for row in rows]) for name in model.subspaces}


def speeds(ways: dict[str, Encode], rounds: int) -> Table:
    """Time every way on clips of one length, in turn; the ratio is to PyTorch clip by clip."""
    table = Table("seconds per clip", *(f"{name}, × real time (ratio)" for name in ways))
    for seconds, count in ((1.0, 60), (4.0, 20), (30.0, 3)):
        random = np.random.default_rng(0)
        waves = [random.normal(0, 0.1, round(seconds * SAMPLE_RATE)).astype(np.float32) for _ in range(count)]
        spent: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds + 1):
            for name, encode in ways.items():
                started = time.perf_counter()
                encode(waves)
                spent[name].append(time.perf_counter() - started)
        # The first round warms up.
        medians = {name: float(np.median(values[1:])) for name, values in spent.items()}
        base = medians["PyTorch"]
        cells = [f"{seconds * count / took:.0f} ({base / took:.2f})" for took in medians.values()]
        table.add_row(f"{seconds:g}", *cells)
    return table


def clips_of(protocol: Protocol, waves: Sequence[Waveform]) -> Clips:
    """Take the labels of a protocol's rows."""
    labels = {
        "speaker": np.array([row.speaker for row in protocol.rows]),
        "content": np.array([row.content for row in protocol.rows]),
    }
    paths = np.array([str(row.path) for row in protocol.rows])
    duration = np.array([len(wave) / SAMPLE_RATE for wave in waves])
    return Clips(paths, labels, duration, np.full(len(paths), ""))


def figures(vectors: Vectors, clips: Clips) -> dict[str, float]:
    """EER of speakers who say different words in %, and one-shot accuracy of their words in %."""
    trials = draw(clips, TRIALS)
    pairs = trials[usual_stratum(trials)]
    scores = (cosine(vectors["speaker"], part) for part in (pairs.targets, pairs.impostors))
    found = {"EER %": 100 * equal_error_rate(*error_rates(*scores))}
    if has_keywords(clips):
        shot = shot_resamples(vectors["content"], clips, 1, EPISODES, 1, EVALUATION_SEED)
        found["one-shot %"] = 100 * shot[0] if shot else float("nan")
    return found


def losses(ways: dict[str, Encode], max_clips: int) -> Table:
    """Measure every way on the same clips and trials of each human corpus."""
    table = Table("corpus", "clips", "", "EER %", "one-shot %", "cosine to fp32, lowest / mean")
    for protocol in find_protocols(CORPORA, max_clips):
        waves = [load_audio(row.path) for row in protocol.rows]
        clips = clips_of(protocol, waves)
        found = {name: encode(waves) for name, encode in ways.items()}
        for name, vectors in found.items():
            measured = figures(vectors, clips)
            row = [f"{measured[what]:.2f}" if what in measured else "–" for what in ("EER %", "one-shot %")]
            table.add_row(protocol.name, str(len(clips)), name, *row, closeness(vectors, found["ONNX fp32"]))
    return table


def closeness(vectors: Vectors, others: Vectors) -> str:
    """Lowest and mean cosine, a subspace."""
    parts = []
    for name, one in vectors.items():
        cosines = np.einsum("nd,nd->n", one, others[name])
        parts.append(f"{name} {cosines.min():.4f} / {cosines.mean():.4f}")
    return ", ".join(parts)


def sizes(exported: dict[str, Exported], ways: dict[str, Any]) -> Table:
    """Say what the files take, and how close they are on made clips."""
    table = Table("graph", "MB", "clips of 0.1 to 60 s made by a formula, cosine to fp32, lowest / mean")
    waves = made_clips(4.0)
    base = ways["ONNX fp32"](waves)
    for name, folder in exported.items():
        close = closeness(ways[name](waves), base)
        table.add_row(name, f"{folder.graph.stat().st_size / 1e6:.1f}", close)
    return table


class SaturatingMatMul(OpRun):  # type: ignore[misc]
    """MatMulInteger as x86 without VNNI computes it for signed weights: pairs are added in 16 bits."""

    op_domain = ""

    def _run(self, a: Any, b: Any, a_zero: Any = None, b_zero: Any = None) -> tuple[Any]:
        left, right = a.reshape(-1, a.shape[-1]).astype(np.int32), b.astype(np.int32)
        total = np.zeros((len(left), right.shape[1]), np.int32)
        for start in range(0, len(right), 2):
            pair = left[:, start : start + 2] @ right[start : start + 2]
            total += pair.clip(-(2**15), 2**15 - 1)
        zeros = np.int32(a_zero), np.asarray(b_zero, np.int32)
        total -= zeros[0] * right.sum(axis=0) + left.sum(axis=1, keepdims=True) * zeros[1]
        total += len(right) * zeros[0] * zeros[1]
        return (total.reshape(*a.shape[:-1], -1),)


SaturatingMatMul.__name__ = "MatMulInteger"

VARIANTS: dict[str, dict[str, Any]] = {
    "as exported": {},
    "one scale a matrix": {"per_channel": False},
    "convolutions too": {"op_types_to_quantize": ["MatMul", "Gemm", "Conv"]},
    "signed weights": {"weight_type": QuantType.QInt8},
    "signed weights of 7 bits": {"weight_type": QuantType.QInt8, "reduce_range": True},
}


def variants(model: SubspaceModel, folder: Path) -> Table:
    """Quantise in other ways; the last row computes signed weights as some processors do."""
    table = Table("int8", "MB", "× real time of 4 s", "cosine to fp32, lowest / mean")
    parts = trace(model)
    onnx.save(join(model, parts), folder / "fp32.onnx")
    waves = [wave for wave in made_clips(4.0) if len(wave) <= 5 * SAMPLE_RATE]
    base = graph(folder / "fp32.onnx")(waves)
    for name, options in VARIANTS.items():
        path = folder / "int8.onnx"
        onnx.save(join(model, replace(parts, encoder=quantize(parts.encoder, **options))), path)
        encode = graph(path)
        close = closeness(encode(waves), base)
        speed = 4 / min(timeit.repeat(partial(encode, waves[-2:-1]), number=1, repeat=20))
        table.add_row(name, f"{path.stat().st_size / 1e6:.1f}", f"{speed:.0f}", close)
    few = slice(0, 5)
    whole = join(model, replace(parts, encoder=quantize(parts.encoder, weight_type=QuantType.QInt8)))
    emulated = ReferenceEvaluator(whole, new_ops=[SaturatingMatMul])
    rows = [emulated.run(list(parts.spaces), _clip(wave)) for wave in waves[few]]
    found = {name: np.concatenate([row[place] for row in rows]) for place, name in enumerate(parts.spaces)}
    close = closeness(found, {name: vectors[few] for name, vectors in base.items()})
    table.add_row("signed weights, saturating", "", "", f"{close} (first five clips)")
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=800, help="of each corpus, at most")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--variants", action="store_true", help="other ways to make int8, and nothing else")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=140)
    model = SubspaceModel.from_pretrained("default")
    with tempfile.TemporaryDirectory() as folder:
        if options.variants:
            console.print(variants(model, Path(folder)))
            raise SystemExit
        exported = {f"ONNX {each}": export_folder(model, Path(folder) / each, each) for each in PRECISIONS}
        console.print(f"largest difference of fp32 to PyTorch: {exported['ONNX fp32'].check.difference:.1g}")
        graphs = {name: graph(one.graph) for name, one in exported.items()}
        console.print(sizes(exported, graphs))
        batches: dict[str, Encode] = {"PyTorch": partial(one_by_one, model), "in batches": model.encode}
        console.print(speeds(batches | graphs, options.rounds))
        in_batches: dict[str, Encode] = {"PyTorch": model.encode}
        console.print(losses(in_batches | graphs, options.clips))
