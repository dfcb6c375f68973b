"""A model on onnxruntime: one graph from a waveform to every subspace, without PyTorch."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from safetensors.numpy import load_file

from intervox.audio import Waveform
from intervox.errors import IntervoxError
from intervox.metrics.vectors import Vectors
from intervox.model.config import Config, read_config
from intervox.model.decision import Calibration, References
from intervox.model.embedder import Embedder
from intervox.model.files import (
    CENTRE,
    CONFIG,
    GRAPH,
    METRIC,
    REFERENCE,
    WEIGHTS,
    damage_named,
    model_key,
)
from intervox.model.matching import Matching
from intervox.parallel import default_workers

AUDIO, LENGTHS = "audio", "lengths"
"""Inputs of a graph: the batch (clips, samples), and how many samples of each row are the clip."""

FRAMES = ".frames"
"""After a subspace's name: the output of a graph with the frames of all clips, one after the other."""

KEY = "key"
"""Of a graph's metadata: ``Embedder.key`` of the model that it was exported from."""

_CPU = "CPUExecutionProvider"


class OnnxModel(Embedder):
    """A folder with ``model.onnx``; ``load_model`` opens it.

    Parameters
    ----------
    folder
        With ``config.json``, ``model.safetensors`` and ``model.onnx``, as `intervox export` writes it.
    name
        What it was loaded by.
    device
        An execution provider of the onnxruntime that is installed, such as ``cpu`` or ``cuda``.
    threads
        Clips that are embedded at a time, each on a thread of its own; by default one per core.

    Raises
    ------
    IntervoxError
        A file is missing, damaged, or of another model than the others; or there is no such provider.
    """

    def __init__(
        self, folder: Path, name: str = "", device: str | None = None, threads: int | None = None
    ) -> None:
        self._opened = (folder, name, device, threads)
        self.name = name
        self.threads = threads or default_workers()
        with damage_named(name or str(folder)):
            config = read_config(folder / CONFIG)
            weights = load_file(folder / WEIGHTS)
            self._matching, self._references = _matching(config, weights), _references(config, weights)
        self.backbone_name, self.fingerprint = config.backbone, config.fingerprint
        self.window_seconds = config.window_seconds
        self._key = model_key(self.fingerprint, self.window_seconds, weights)
        self._factors = {space: about.factor for space, about in config.subspaces.items()}
        self._dims = {space: about.dim for space, about in config.subspaces.items()}
        self._calibration = {
            space: Calibration(*fields) for space, fields in (config.calibration or {}).items()
        }
        self._measured = {
            space: {k: list(v) for k, v in sets.items()} for space, sets in (config.measured or {}).items()
        }
        self._session = _session(folder / GRAPH, provider(device), self._key)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy or send a model as what it was opened by: a session can't be."""
        return OnnxModel, self._opened

    @property
    def factors(self) -> dict[str, str]:
        return self._factors

    @property
    def dims(self) -> dict[str, int]:
        return self._dims

    @property
    def calibration(self) -> dict[str, Calibration]:
        return self._calibration

    @property
    def measured(self) -> dict[str, dict[str, list[float]]]:
        return self._measured

    @property
    def matching(self) -> Matching | None:
        return self._matching

    @property
    def references(self) -> References | None:
        return self._references

    @property
    def key(self) -> str:
        return self._key

    def ready(self) -> None:
        """Do nothing: the graph is loaded with the model."""

    def _vectors(self, waves: Sequence[Waveform], batch_seconds: float) -> Mapping[str, Sequence[Vectors]]:
        return self._run(waves, list(self._dims))

    def _frames(self, waves: Sequence[Waveform], batch_seconds: float) -> Mapping[str, Sequence[Vectors]]:
        return self._run(waves, [space + FRAMES for space in self._dims])

    def _run(self, waves: Sequence[Waveform], outputs: list[str]) -> dict[str, list[Vectors]]:
        """Run the graph on one clip after the other, on each thread: subspace to an output a clip."""

        def run(wave: Waveform) -> list[Any]:
            clip = {AUDIO: wave[None], LENGTHS: np.array([len(wave)])}
            found: list[Any] = self._session.run(outputs, clip)
            return found

        if len(waves) == 1 or self.threads == 1:
            found = list(map(run, waves))
        else:
            # The longest first: no thread is left with a long clip while the others have nothing.
            order = sorted(range(len(waves)), key=lambda index: -len(waves[index]))
            with ThreadPoolExecutor(self.threads) as pool:
                by_place = dict(zip(order, pool.map(run, [waves[index] for index in order]), strict=True))
            found = [by_place[index] for index in range(len(waves))]
        frames = outputs[0].endswith(FRAMES)
        return {
            space: [clip[column] if frames else clip[column][0] for clip in found]
            for column, space in enumerate(self._dims)
        }


def _matching(config: Config, weights: Mapping[str, NDArray[Any]]) -> Matching | None:
    if config.matching is None:
        return None
    return Matching.of(config.matching.model_dump(), weights[CENTRE], weights[METRIC])


def _references(config: Config, weights: Mapping[str, NDArray[Any]]) -> References | None:
    if not config.references:
        return None
    vectors = {space: weights[REFERENCE + space].astype(np.float32) for space in config.subspaces}
    return References(vectors, {factor: lines.split("\n") for factor, lines in config.references.items()})


def provider(device: str | None) -> str:
    """Return onnxruntime's name of an execution provider: ``cuda`` is ``CUDAExecutionProvider``.

    Raises
    ------
    IntervoxError
        The onnxruntime that is installed has none of that name.
    """
    known = providers()
    if (device or "cpu").lower() not in known:
        raise IntervoxError(
            f"device {device!r} is none of the installed onnxruntime ({', '.join(known)}): choose one, or "
            "install an onnxruntime that has it"
        )
    return known[(device or "cpu").lower()]


def providers() -> dict[str, str]:
    """Return the execution providers of the onnxruntime that is installed: ``cuda`` to its name there."""
    found = onnxruntime.get_available_providers()
    return {name.removesuffix("ExecutionProvider").lower(): name for name in found}


def _session(path: Path, chosen: str, key: str) -> Any:
    options = onnxruntime.SessionOptions()
    # Threads are of clips, not within one: they scale better, and none of them waits for others by spinning.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers = [chosen] if chosen == _CPU else [chosen, _CPU]
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=providers)
    except FileNotFoundError:
        raise IntervoxError(f"{path} is missing: run `intervox export` on the model") from None
    except PermissionError:
        raise IntervoxError(
            f"{path} can't be read (permission denied): allow it, or copy the model"
        ) from None
    except Exception as error:  # onnxruntime's errors have no base of their own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise IntervoxError(f"{path} is damaged ({reason}): run `intervox export` again") from error
    if session.get_modelmeta().custom_metadata_map.get(KEY) != key:
        raise IntervoxError(f"{path} is not of the model beside it: run `intervox export` again")
    return session
