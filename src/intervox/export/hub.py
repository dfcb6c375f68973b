"""Upload an exported folder to a model hub."""

from pathlib import Path

from huggingface_hub import HfApi, ModelCard, get_token
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
)
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from intervox.backbones.bundled import BUNDLED
from intervox.errors import IntervoxError
from intervox.export.check import TOLERANCE, Check
from intervox.export.graph import OPSET, quiet
from intervox.model.model import SubspaceModel
from intervox.model.packaged import DEFAULT, default_model_folder

_HEADING = "## In ONNX"

_SECTION = """{heading}

The graphs hold the backbone `{backbone}` and every subspace. `audio` in: float32, mono, 16 kHz, 25 ms or \
more; one unit vector a subspace out. Opset {opset}, standard operators only, onnxruntime on a CPU. \
`example.py` uses them without Intervox and PyTorch; `config.json` says under `onnx` what a program has to \
know, the calibration too. `SubspaceModel.from_pretrained` takes `model.safetensors` and finds the backbone \
by its name.

| file | size | agreement |
| --- | --- | --- |
{rows}

Found on {clips} clips of {shortest:g} to {longest:g} s when this folder was written: {made} speech-like \
sounds made by a formula, and {given} given recordings. A graph that differs from PyTorch by more than \
{tolerance:g} is not written. All figures above are of the PyTorch model.

The backbone's weights in the graphs keep their own licence{licence}.
"""

_LICENCES = {BUNDLED: ": Whisper tiny.en, Copyright (c) 2022 OpenAI, MIT licence"}


def export_card(model: SubspaceModel, check: Check, folder: Path, files: dict[str, str]) -> str:
    """Write the card of a folder that holds graphs.

    Parameters
    ----------
    files
        Precision, ``fp32`` and perhaps ``int8``, to the graph's file name in the folder.
    """
    card = ModelCard(own_card(model))
    card.data["tags"] = list(dict.fromkeys([*(card.data.get("tags") or []), "onnx"]))
    agreements = {"fp32": f"PyTorch: largest difference {check.difference:.1g}"}
    if check.int8 is not None:
        cosines = [f"{name} {one.lowest:.4f} / {one.mean:.4f}" for name, one in check.int8.items()]
        agreements["int8"] = "fp32: lowest / mean cosine, " + ", ".join(cosines)
    rows = [
        f"| `{file}` | {(folder / file).stat().st_size / 1e6:.1f} MB | {agreements[precision]} |"
        for precision, file in files.items()
    ]
    section = _SECTION.format(
        heading=_HEADING,
        backbone=model.backbone_name,
        opset=OPSET,
        rows="\n".join(rows),
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


_LOG_IN = "run `hf auth login`, or set HF_TOKEN to a token that may write"


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

    Graphs that are there and not in the folder are deleted.

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
        status = error.response.status_code
        if status == 401:
            raise IntervoxError(f"the hub does not know this token: {_LOG_IN} ({again})") from error
        if status == 403:
            raise IntervoxError(
                f"this token may not write to {repository}: {_LOG_IN}, or give another USER/NAME ({again})"
            ) from error
        raise IntervoxError(f"the hub refused {repository} ({_reason(error)}); {again}") from error
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise IntervoxError(
            f"the hub can't be reached ({_reason(error)}): look at the network and try again ({again})"
        ) from error
    return str(address)


def _reason(error: Exception) -> str:
    """Return the first line of what went wrong."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
