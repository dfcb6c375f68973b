"""How a recipe's name finds a backbone: the only place that knows the families."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from intervox.backbones.adapted import ADAPTED, load_adapted
from intervox.backbones.base import Backbone
from intervox.backbones.bundled import bundled_checkpoint
from intervox.backbones.wav2vec2 import Wav2Vec2Backbone
from intervox.backbones.whisper import WhisperBackbone
from intervox.errors import IntervoxError

FAMILIES: dict[str, Callable[[str, str, torch.device], Backbone]] = {
    "whisper": WhisperBackbone,
    "wav2vec2": Wav2Vec2Backbone,
    "hubert": Wav2Vec2Backbone,
    "wavlm": Wav2Vec2Backbone,
    "data2vec-audio": Wav2Vec2Backbone,
    "unispeech-sat": Wav2Vec2Backbone,
}
"""``model_type`` of a checkpoint's configuration to the class that runs it.

It is constructed with the recipe's name, a folder or hub id, and a device.
"""


_CONFIG = "config.json"
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+", re.ASCII)
_PATIENCE = 3.0
"""Seconds in which the hub has to answer."""

_REMEDY = (
    "give bundled:whisper-tiny.en, a local folder with config.json, preprocessor_config.json and "
    "model.safetensors, or a hub id, USER/NAME, that this machine reaches"
)


def load_backbone(name: str, device: str | torch.device | None = None) -> Backbone:
    """Load a backbone by name.

    Parameters
    ----------
    name
        ``bundled:whisper-tiny.en``, a local folder, a Hugging Face hub id such as
        ``microsoft/wavlm-base-plus``, or the ``adapter`` folder of a run.
    device
        Torch device; by default the GPU where there is one.

    Raises
    ------
    IntervoxError
        The name leads nowhere, the family is not supported, or the weights are not safetensors.
    """
    if not isinstance(name, str | Path):
        raise IntervoxError(f"a backbone can't be {name!r}: give its name, folder or hub id")
    name = str(name)
    checkpoint = bundled_checkpoint(name) if name.startswith("bundled:") else name
    if not Path(checkpoint).is_dir():
        if not is_hub_id(name):
            raise IntervoxError(f"backbone {name!r} is no folder here and no hub id: {_REMEDY}")
        checkpoint = _on_hub(name)
    elif (Path(name) / ADAPTED).is_file():
        return load_adapted(name, lambda base: load_backbone(base, device))
    kind = _model_type(checkpoint)
    if kind not in FAMILIES:
        raise IntervoxError(f"backbone {name!r} is of type {kind!r}: supported are {', '.join(FAMILIES)}")
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return FAMILIES[kind](name, checkpoint, where)


def _on_hub(name: str) -> str:
    """Return the id, or where the hub can't be reached its folder in the cache.

    ``transformers`` would ask for each file that the cache lacks for half a minute.
    """
    from huggingface_hub import try_to_load_from_cache

    if _hub_is_reachable():
        return name
    cached = try_to_load_from_cache(name, _CONFIG)
    if not isinstance(cached, str):
        raise IntervoxError(f"backbone {name!r} is no folder here, and the hub can't be reached: {_REMEDY}")
    return str(Path(cached).parent)


def is_hub_id(name: str) -> bool:
    """Whether a name that is no folder here may be one on the hub, USER/NAME; a path never is."""
    path = Path(name)
    return bool(_HUB_ID.fullmatch(name)) and not path.exists() and not path.parent.exists()


def hub_answers(name: str, file: str, options: Mapping[str, Any] | None = None) -> bool:
    """Whether a file of a repository is cached or the hub can be asked for it.

    The hub's own client would try for half a minute, in silence.

    Parameters
    ----------
    options
        Of ``huggingface_hub.hf_hub_download``.
    """
    from huggingface_hub import try_to_load_from_cache

    given = options or {}
    where = {key: given[key] for key in ("cache_dir", "revision") if key in given}
    cached = isinstance(try_to_load_from_cache(name, file, **where), str)
    return bool(given.get("local_files_only")) or cached or _hub_is_reachable()


def _hub_is_reachable() -> bool:
    from huggingface_hub import constants, errors
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    try:
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
    except (errors.HTTPError, OSError):  # type: ignore[attr-defined]
        return False
    return True


def _model_type(checkpoint: str) -> str:
    from transformers import AutoConfig

    try:
        return str(AutoConfig.from_pretrained(checkpoint).model_type)
    except PermissionError as error:
        raise IntervoxError(f"{error.filename} can't be read (permission denied): allow it") from error
    except Exception as error:  # of the hub, the network, JSON or the configuration's class
        is_folder = Path(checkpoint).is_dir()
        where = "the folder has no usable config.json" if is_folder else "the hub has nothing usable there"
        raise IntervoxError(f"backbone {checkpoint!r} can't be loaded ({where}): {_REMEDY}") from error
