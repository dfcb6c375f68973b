"""A folder that holds everything (graphs, weights, configuration, card, example), and its upload."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelCard, get_token
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
)
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from intervox.audio import MIN_SAMPLES, SAMPLE_RATE, AudioSource
from intervox.backbones.bundled import BACKBONES
from intervox.errors import IntervoxError
from intervox.export.graph import OPSET
from intervox.export.onnx_file import TOLERANCE, Check, Precision, export_onnx
from intervox.model.decision import Calibration
from intervox.model.files import CONFIG, DEFAULT, GRAPH, default_model_folder
from intervox.model.model import SubspaceModel
from intervox.model.onnx_model import AUDIO, LENGTHS
from intervox.progress import quiet
from intervox.storage import read_json, scratch_folder, write_bytes, write_json

_CONFIG_SECTION = "onnx"
"""Of ``config.json``: what a program needs to run the graphs. ``from_pretrained`` passes it by."""

_EXAMPLE = '''"""Compare two clips in every subspace, without Intervox: python example.py a.wav b.wav"""
import json, sys
from pathlib import Path
import numpy as np, onnxruntime, soundfile, soxr

folder = Path(__file__).parent
about = json.loads((folder / "config.json").read_text())["onnx"]
session = onnxruntime.InferenceSession(folder / about["file"])
spaces = about["outputs"]
def embed(path):
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    audio = soxr.resample(audio.mean(axis=1), rate, about["sample_rate"])
    found = session.run(spaces, {"audio": audio[None], "lengths": np.array([len(audio)])})
    return [vectors[0] for vectors in found], len(audio) / about["sample_rate"]
(first, seconds), (second, others) = embed(sys.argv[1]), embed(sys.argv[2])
durations = np.log(np.clip(sorted([seconds, others]), 0.3, 20))
for space, a, b in zip(spaces, first, second):
    slope, offset, *by_duration = about["calibration"].get(space, (np.nan, np.nan))
    odds = slope * (a @ b) + offset + np.dot(by_duration[:2] or [0, 0], durations)
    print(f"{space}: cosine {a @ b:.4f}, same with p = {1 / (1 + np.exp(-odds)):.4f} (prior 50 %)")
'''

_HEADING = "## In ONNX"

_CARD_SECTION = """{heading}

`{graph}` ({size:.1f} MB, {precision}) holds the backbone `{backbone}` and every subspace. In: `audio`, \
float32 (clips, samples) of 16 kHz mono, and `lengths`, int64 (clips,), the samples of each clip, 400 or \
more. Out: for each subspace its unit vectors (clips, dim), and `.frames` (frames, dim) of all clips one \
after the other, not scaled to unit length, of which `frame_counts` says how many each clip has. Opset \
{opset}, standard operators only. `config.json` says under `onnx` what a program without Intervox has to \
know, the calibration too. `intervox.load_model` takes it as well.

{agreement}. Found on {clips} clips of {shortest:g} to {longest:g} s when this folder was written: {made} \
speech-like sounds made by a formula, and {given} given recordings. A graph whose fp32 form differs from \
PyTorch by more than {tolerance:g} is not written. All figures above are of the PyTorch model.

The backbone's weights in the graph keep their own licence{licence}.
"""

_LOG_IN = "run `hf auth login`, or set HF_TOKEN to a token that may write"

_LICENCES = {
    name: f": {bundled.title}, Copyright (c) 2022 OpenAI, MIT licence" for name, bundled in BACKBONES.items()
}


@dataclass(frozen=True)
class Exported:
    """A folder that ``export_folder`` wrote.

    Attributes
    ----------
    folder
        Where it is.
    check
        How far the graph is from PyTorch.
    """

    folder: Path
    check: Check

    @property
    def graph(self) -> Path:
        """The graph's path."""
        return self.folder / GRAPH


def export_folder(
    model: SubspaceModel,
    folder: Path | str,
    precision: Precision = "fp32",
    clips: Iterable[AudioSource] = (),
) -> Exported:
    """Write a folder that programs without Intervox can use, and ``load_model`` too.

    It holds ``model.onnx``, ``config.json``, ``model.safetensors``, ``README.md`` (the model's card with
    what was found of the graph) and ``example.py``.

    Parameters
    ----------
    folder
        Where to; an earlier export there is replaced, once the new one is complete.
    precision
        Of the graph's weights: fp32 or int8, see ``export_onnx``.
    clips
        Speech to check the graph on, beside clips that are made by a formula.

    Raises
    ------
    IntervoxError
        The folder holds something else, or as ``export_onnx`` raises. Nothing is left behind then.
    """
    folder = Path(folder).resolve()
    with _whole_folder(folder) as temporary:
        model.save_pretrained(temporary)
        check = export_onnx(model, temporary / GRAPH, precision, clips)
        config = read_json(temporary / CONFIG)
        write_json(temporary / CONFIG, config | {_CONFIG_SECTION: _onnx_config(model, precision)})
        write_bytes(temporary / "README.md", _card(model, check, temporary / GRAPH).encode())
        write_bytes(temporary / "example.py", _EXAMPLE.encode())
    return Exported(folder, check)


def _onnx_config(model: SubspaceModel, precision: Precision) -> dict[str, Any]:
    """Say what a program has to know to use the graph, and to read its scores."""
    return {
        "file": GRAPH,
        "precision": precision,
        "opset": OPSET,
        "inputs": {AUDIO: ["clips", "samples"], LENGTHS: ["clips"]},
        "sample_rate": SAMPLE_RATE,
        "min_samples": MIN_SAMPLES,
        "outputs": list(model.subspaces),
        "dims": model.dims,
        "factors": model.factors,
        "score": "the product of two clips' vectors: unit length, so their cosine",
        "probability": "1 / (1 + exp(-(slope * score + offset + shorter * log(short) + longer * log(long))))"
        ": of sharing the factor, at even odds, for a shorter and a longer clip of so many seconds",
        "calibration_fields": list(Calibration._fields),
        "calibration": model.calibration,
    }


@contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder, which takes the place of ``folder`` if nothing fails."""
    if folder.exists() and not _is_free(folder):
        raise IntervoxError(f"{folder} holds files that no export wrote: choose another folder or empty it")
    before = folder.with_name(f".{folder.name}.{os.getpid()}.before")
    with scratch_folder(folder) as temporary:
        yield temporary
        if folder.exists():
            folder.rename(before)
        temporary.rename(folder)
        shutil.rmtree(before, ignore_errors=True)


def _is_free(folder: Path) -> bool:
    """Say whether a folder is empty or an earlier export."""
    if not folder.is_dir():
        return False
    ours = (folder / CONFIG).is_file() and _CONFIG_SECTION in read_json(folder / CONFIG)
    return ours or not any(folder.iterdir())


def _card(model: SubspaceModel, check: Check, graph: Path) -> str:
    """Write the card of a folder that holds a graph."""
    card = ModelCard(own_card(model))
    card.data["tags"] = list(dict.fromkeys([*(card.data.get("tags") or []), "onnx"]))
    section = _CARD_SECTION.format(
        heading=_HEADING,
        graph=graph.name,
        size=graph.stat().st_size / 1e6,
        precision="fp32" if check.int8 is None else "weights of eight bits",
        backbone=model.backbone_name,
        opset=OPSET,
        agreement=check.said()[:1].upper() + check.said()[1:],
        clips=check.clips,
        shortest=check.shortest,
        longest=check.longest,
        made=check.clips - check.given,
        given=check.given,
        tolerance=TOLERANCE,
        licence=_LICENCES.get(model.backbone_name, ""),
    )
    return f"---\n{card.data}\n---\n\n{card.text.strip()}\n\n{section}"


def own_card(model: SubspaceModel) -> str:
    """Return the card with the measured figures, where the model was loaded from; or one that says so."""
    name = model.name
    folder = default_model_folder() if name == DEFAULT else Path(name)
    try:
        if name and folder.is_dir():
            card = (folder / "README.md").read_text(encoding="utf-8")
        elif name:
            card = ModelCard.load(name).content
        else:
            card = str(model.generate_model_card())
    except OSError:  # a hub's failures are OSErrors too
        card = str(model.generate_model_card())
    return card.split(f"\n{_HEADING}\n")[0]


def check_repository(name: str) -> None:
    """Raise an ``IntervoxError`` unless a name can be that of a repository: USER/NAME."""
    try:
        validate_repo_id(name)
        if name.count("/") != 1:
            raise HFValidationError
    except HFValidationError:
        raise IntervoxError(
            f"{name!r} can't be a repository: give USER/NAME, of letters, digits, '-', '_' and '.'"
        ) from None


def push_folder(folder: Path | str, repository: str, private: bool | None = None) -> str:
    """Upload a folder as one commit, into a repository that is made if there is none.

    A graph that is there and not in the folder is deleted.

    Parameters
    ----------
    repository
        ``USER/NAME``.
    private
        Whether a repository that is made is private; None as its owner has set.

    Returns
    -------
    str
        Address of the repository.

    Raises
    ------
    IntervoxError
        Nobody is logged in, the name is bad, or the hub can't be reached or refuses. The folder
        stays as it is.
    """
    check_repository(repository)
    again = f"{folder} is complete, nothing was uploaded"
    if get_token() is None:
        raise IntervoxError(f"nobody is logged in to the hub: {_LOG_IN} ({again})")
    api = HfApi()
    try:
        with quiet():  # the client tells of every try that fails; we, what came of them
            address = api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                delete_patterns="*.onnx",
                commit_message="Upload subspaces and their ONNX graphs",
            )
    except HfHubHTTPError as error:
        reasons = {
            401: f"the hub does not know this token: {_LOG_IN}",
            403: f"this token may not write to {repository}: {_LOG_IN}, or give another USER/NAME",
        }
        other = f"the hub refused {repository} ({_reason(error)})"
        raise IntervoxError(f"{reasons.get(error.response.status_code, other)} ({again})") from error
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise IntervoxError(
            f"the hub can't be reached ({_reason(error)}): look at the network and try again ({again})"
        ) from error
    return str(address)


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
