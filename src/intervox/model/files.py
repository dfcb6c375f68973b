"""A model's files: what they are called, where they come from, and what may be wrong with them.

A command imports this before its settings are made: NumPy is not loaded here.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from intervox.errors import IntervoxError
from intervox.hub import hub_answers, is_hub_id

DEFAULT = "default"
"""What ``--model`` and ``SubspaceModel.from_pretrained`` call the model that comes with the package."""

_DAMAGE = (OSError, ValueError, TypeError, AttributeError, LookupError, RuntimeError)
"""What a file that is cut off or edited makes of its readers and of the model's constructor."""

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
FILES = (CONFIG, WEIGHTS)
GRAPH = "model.onnx"

REFERENCE = "reference_"
"""Before a subspace's name: the tensor of its references."""

CENTRE, METRIC = "matching_centre", "matching_metric"
"""Tensors of matching."""

_NO_MAPS = (REFERENCE, "matching_")

RUNS_MODEL = "model"
"""Of a run's folder: where its model is."""

OWN_BACKBONE = "./backbone"
"""What ``config.json`` calls a backbone that was a local folder: the copy beside it."""

_BACKBONE_FILE = re.compile(r"backbone/[\w.-]+\.(json|safetensors)")


def default_model_folder() -> Path:
    """Return the packaged model's folder: subspaces of Whisper tiny.en by the recipe ``default``.

    Raises
    ------
    IntervoxError
        A file is missing or is not the one that was packaged.
    """
    folder = Path(str(files("intervox.model") / DEFAULT))
    try:
        for line in (folder / "SHA256SUMS").read_text(encoding="ascii").splitlines():
            digest, name = line.split()
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                raise IntervoxError(f"{folder / name} is not the packaged file: install intervox again")
    except OSError as error:
        raise IntervoxError(
            f"the packaged model lacks {error.filename}: install intervox again, or give --model"
        ) from error
    return folder


def model_folder(name: str, graph: bool = False, **hub: Any) -> Path:
    """Find the folder with a model's files, which are taken from the hub where the name is none here.

    Parameters
    ----------
    graph
        Whether the graph is wanted too, where the hub has one.
    hub
        ``revision``, ``token`` and others that ``huggingface_hub.hf_hub_download`` takes.

    Raises
    ------
    IntervoxError
        There is no such model, it is not public, or the hub can't be reached.
    """
    if name == DEFAULT:
        return default_model_folder()
    folder = Path(name)
    if name and folder.is_dir():
        for home in (folder, folder / RUNS_MODEL):
            if all((home / file).is_file() for file in FILES):
                return home
        raise _nothing(name)
    if name and folder.exists():
        raise IntervoxError(f"{name} is a file: give the folder of a model or of a run, or a hub id")
    if not is_hub_id(name):
        raise _nothing(name)
    return _from_hub(name, graph, hub)


def model_key(fingerprint: str, window_seconds: float, tensors: Mapping[str, Any]) -> str:
    """Return 16 hex digits of what decides an embedding: the backbone's weights, windows and the maps.

    Parameters
    ----------
    tensors
        Of ``model.safetensors``, as arrays.
    """
    from intervox.storage import stable_hash

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        if not name.startswith(_NO_MAPS):
            digest.update(name.encode() + tensor.tobytes())
    return stable_hash([fingerprint, window_seconds, digest.hexdigest()])


def copy_backbone(source: Path, folder: Path) -> None:
    """Make a model's folder whole: link its backbone's files into it, or copy them from another disk."""
    from intervox.storage import atomic_path, link_or_copy

    if folder.is_dir() and folder.samefile(source):
        return
    folder.mkdir(exist_ok=True)
    for file in (*source.glob("*.json"), *source.glob("*.safetensors")):
        with atomic_path(folder / file.name) as temporary:
            temporary.unlink()
            link_or_copy(file, temporary)


@contextmanager
def damage_named(name: str) -> Iterator[None]:
    """Say what is wrong with a model's files in one sentence.

    Raises
    ------
    IntervoxError
        While the block runs, a file can't be read, or does not hold what it should.
    """
    from safetensors import SafetensorError

    try:
        yield
    except PermissionError as error:
        raise IntervoxError(
            f"{error.filename or name} can't be read (permission denied): allow it, or copy the model"
        ) from error
    except (*_DAMAGE, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise IntervoxError(f"the model in {name} is damaged ({reason}): refine it again") from error


def _from_hub(name: str, graph: bool, hub: dict[str, Any]) -> Path:
    from huggingface_hub import errors, hf_hub_download, list_repo_files

    from intervox.progress import quiet

    unreachable = IntervoxError(
        f"{name} is not a folder here, and the hub, where it may be a model, can't be reached: check the "
        "network, or give a folder"
    )
    if not hub_answers(name, CONFIG, hub):
        raise unreachable
    try:
        with quiet():  # not every attempt to reach the hub is worth a warning
            config, _ = (Path(hf_hub_download(name, file, **hub)) for file in FILES)
            said = json.loads(config.read_bytes())
            if graph and "onnx" in said:
                hf_hub_download(name, GRAPH, **hub)
            if said.get("backbone") == OWN_BACKBONE and not hub.get("local_files_only"):
                options = {key: hub[key] for key in ("revision", "token") if key in hub}
                own = [file for file in list_repo_files(name, **options) if _BACKBONE_FILE.fullmatch(file)]
                for file in own:
                    hf_hub_download(name, file, **hub)
    except errors.GatedRepoError as error:
        raise IntervoxError(f"{name} is open to some only: ask for access on its page, and log in") from error
    except errors.RepositoryNotFoundError as error:
        raise IntervoxError(
            f"the hub has no model {name!r} that this machine may see: check the name, or log in with "
            "`hf auth login` where it is private"
        ) from error
    except (errors.RevisionNotFoundError, errors.HFValidationError, errors.RemoteEntryNotFoundError) as error:
        raise _nothing(name) from error
    except OSError as error:
        raise unreachable from error
    return config.parent


def _nothing(name: str) -> IntervoxError:
    return IntervoxError(
        f"{name or repr(name)} holds no refined model ({' and '.join(FILES)}): run "
        "`intervox run quickstart`, or give `default`, the packaged one"
    )
