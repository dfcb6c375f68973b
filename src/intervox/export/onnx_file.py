"""One checked ONNX file: traced, joined, perhaps with weights of eight bits, and held to PyTorch."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]
from scipy.signal import lfilter

from intervox.audio import SAMPLE_RATE, AudioSource, Waveform, load_audio
from intervox.errors import IntervoxError
from intervox.export.graph import join, trace
from intervox.model.model import SubspaceModel
from intervox.model.onnx_model import AUDIO, FRAMES, LENGTHS
from intervox.progress import progress_bar, quiet
from intervox.seeds import rng
from intervox.storage import atomic_path

Precision = Literal["fp32", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

TOLERANCE = 1e-4
"""Most that any number of a unit vector may differ from PyTorch's."""

SETTINGS: dict[str, Any] = {
    "op_types_to_quantize": ["MatMul", "Gemm"],
    "per_channel": True,
    "weight_type": QuantType.QUInt8,
    "extra_options": {"MatMulConstBOnly": True},
}
"""Of ``quantize_dynamic``: matrices of weights alone."""

_SECONDS = (0.1, 0.3, 0.5, 0.77, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
_WINDOWS = (1, 3)
"""Clips that fill so many windows, and others a sample longer, whose windows differ by a sample."""

_FORMANTS = ((300, 900), (900, 2300), (2400, 3200))
"""Ranges of the vocal tract's first three resonances in Hz."""


@dataclass(frozen=True)
class Agreement:
    """How close a graph's vectors are to those of another, a subspace.

    Attributes
    ----------
    lowest, mean
        Cosine over the clips.
    """

    lowest: float
    mean: float


@dataclass(frozen=True)
class Check:
    """What was found on the clips of a check.

    Attributes
    ----------
    clips
        How many, of ``shortest`` to ``longest`` seconds.
    given
        How many of them the caller gave; the others are made by a formula.
    difference
        Largest between any number of a vector in PyTorch and in the fp32 graph.
    int8
        Subspace to the agreement of a graph with weights of eight bits with the fp32 one; None for fp32.
    """

    clips: int
    shortest: float
    longest: float
    given: int
    difference: float
    int8: dict[str, Agreement] | None

    def said(self) -> str:
        """Put how far a graph is from PyTorch into words."""
        fp32 = f"fp32 differs from PyTorch by {self.difference:.1g} at most"
        if self.int8 is None:
            return fp32
        cosines = ", ".join(f"{name} {one.lowest:.4f} / {one.mean:.4f}" for name, one in self.int8.items())
        return f"lowest / mean cosine to fp32: {cosines}; {fp32}"


def made_clips(window_seconds: float) -> list[Waveform]:
    """Return clips of 0.1 to 60 s, among them some that end with a window or a sample later."""
    whole = [round(window_seconds * count * SAMPLE_RATE) for count in _WINDOWS]
    lengths = {round(seconds * SAMPLE_RATE) for seconds in _SECONDS} | {*whole, *(size + 1 for size in whole)}
    return [probe(size / SAMPLE_RATE, seed) for seed, size in enumerate(sorted(lengths))]


def probe(seconds: float, seed: int) -> Waveform:
    """Make something like speech: a voice of its own, a new sound every 50 to 200 ms.

    Glottal pulses or noise through three resonances (Fant 1960), pauses between them, and a noise
    floor 55 dB below: what a quantised graph gets wrong is quiet sounds, which steady tones lack.
    """
    random = rng(seed, "export.probe")
    size = round(seconds * SAMPLE_RATE)
    pitch, tract = random.uniform(85, 240), random.uniform(0.85, 1.2)
    phase = np.cumsum(
        pitch * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * np.arange(size) / SAMPLE_RATE)) / SAMPLE_RATE
    )
    pulses = np.diff(np.floor(phase), prepend=0)
    wave = np.zeros(size)
    start = 0
    while start < size:
        end = start + int(random.uniform(0.05, 0.2) * SAMPLE_RATE)
        kind = random.choice(["voiced", "voiceless", "pause"], p=[0.65, 0.25, 0.1])
        noise = random.normal(size=len(wave[start:end]))
        sound = {"voiced": pulses[start:end] + 0.003 * noise, "voiceless": 0.02 * noise, "pause": 0 * noise}[
            kind
        ]
        for low, high in _FORMANTS:
            sound = _resonance(sound, tract * random.uniform(low, high))
        wave[start:end] = sound * np.hanning(len(sound)) ** 0.2
        start = end
    peak = max(np.abs(wave).max(), 1e-3)
    return np.asarray(0.3 * wave / peak + 5e-4 * random.normal(size=size), np.float32)


def _resonance(sound: np.ndarray, frequency: float) -> np.ndarray:
    """Filter by a pair of poles, a tenth of the frequency wide."""
    radius = np.exp(-0.1 * np.pi * frequency / SAMPLE_RATE)
    poles = [1, -2 * radius * np.cos(2 * np.pi * frequency / SAMPLE_RATE), radius**2]
    return np.asarray(lfilter([1 - radius], poles, sound))


def run_graph(path: Path, clips: Sequence[Waveform]) -> dict[str, NDArray[np.float32]]:
    """Run a graph on a batch of clips: subspace to unit vectors (clips, dim)."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    spaces = [name for name in names if name + FRAMES in names]
    lengths = np.array([len(clip) for clip in clips])
    batch = np.zeros((len(clips), lengths.max()), np.float32)
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    return dict(zip(spaces, session.run(spaces, {AUDIO: batch, LENGTHS: lengths}), strict=True))


def largest_difference(
    model: SubspaceModel, found: dict[str, NDArray[np.float32]], clips: Sequence[Waveform]
) -> float:
    """Return the largest difference of a graph's vectors from those of ``model.encode``.

    Raises
    ------
    IntervoxError
        It is more than ``TOLERANCE``.
    """
    wanted = model.encode(clips)
    differences = {name: np.abs(found[name] - vectors).max(axis=1) for name, vectors in wanted.items()}
    for name, by_clip in differences.items():
        worst = int(by_clip.argmax())
        # Asked this way, NaN is refused too.
        if not by_clip[worst] <= TOLERANCE:
            raise IntervoxError(
                f"the graph's {name} vector of a clip of {len(clips[worst]) / SAMPLE_RATE:g} s differs from "
                f"PyTorch's by {by_clip[worst]:.2g}, more than {TOLERANCE:g}: nothing was written; export "
                "with other versions of torch, onnxscript and onnxruntime"
            )
    return float(max(by_clip.max() for by_clip in differences.values()))


def agreement(
    one: dict[str, NDArray[np.float32]], other: dict[str, NDArray[np.float32]]
) -> dict[str, Agreement]:
    """Compare the vectors of two graphs, clip by clip."""
    cosines = {name: np.einsum("nd,nd->n", vectors, other[name]) for name, vectors in one.items()}
    return {name: Agreement(float(values.min()), float(values.mean())) for name, values in cosines.items()}


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
    model: SubspaceModel,
    path: Path | str,
    precision: Precision = "fp32",
    clips: Iterable[AudioSource] = (),
) -> Check:
    """Write backbone and subspaces as one ONNX graph that runs on plain onnxruntime.

    Its inputs are ``audio``, float32 (clips, samples) of 16 kHz mono, and ``lengths``, int64 (clips,): how
    many samples of each row are the clip, 400 (25 ms) or more. Its outputs are, under a subspace's name,
    unit vectors (clips, dim) equal to those of ``model.encode``, and more: see ``graph.join``.

    Parameters
    ----------
    model
        Its backbone is loaded again, in fp32 on the CPU.
    path
        File to write.
    precision
        Of the weights: ``int8`` is a third as large, faster, and only close to PyTorch.
    clips
        Speech to check on, beside clips of 0.1 to 60 s that are made by a formula.

    Returns
    -------
    Check
        How far the vectors of the fp32 graph are from PyTorch's, and those of int8 from fp32's.

    Raises
    ------
    IntervoxError
        A package is missing, the backbone can't be exported, or the fp32 graph differs from PyTorch by
        more than 1e-4: then nothing is written.
    """
    if precision not in PRECISIONS:
        raise IntervoxError(f"there is no precision {precision!r}: choose {' or '.join(PRECISIONS)}")
    given = [load_audio(clip) for clip in clips]
    waves = made_clips(model.window_seconds) + given
    agreed = None
    with (
        progress_bar("exporting", 4 if precision == "int8" else 3, "steps") as bar,
        atomic_path(Path(path)) as new,
    ):
        parts = trace(model)
        bar.advance(1, "traced")
        onnx.save(join(model, parts), new)
        bar.advance(1, "joined")
        found = run_graph(new, waves)
        difference = largest_difference(model, found, waves)
        bar.advance(1, "checked against PyTorch")
        if precision == "int8":
            onnx.save(join(model, replace(parts, encoder=quantize(parts.encoder))), new)
            agreed = agreement(found, run_graph(new, waves))
            bar.advance(1, "int8")
    seconds = [len(wave) / SAMPLE_RATE for wave in waves]
    return Check(len(waves), min(seconds), max(seconds), len(given), difference, agreed)
