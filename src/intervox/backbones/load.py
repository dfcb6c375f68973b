"""How a recipe's name finds a backbone: the only place that knows the families."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from intervox.errors import IntervoxError
from intervox.hub import hub_is_reachable, is_hub_id

if TYPE_CHECKING:
    import torch

    from intervox.backbones.base import Backbone

_WAV2VEC2 = "intervox.backbones.wav2vec2:Wav2Vec2Backbone"

FAMILIES = {
    "whisper": "intervox.backbones.whisper:WhisperBackbone",
    "wav2vec2": _WAV2VEC2,
    "hubert": _WAV2VEC2,
    "wavlm": _WAV2VEC2,
    "data2vec-audio": _WAV2VEC2,
    "unispeech-sat": _WAV2VEC2,
}
"""``model_type`` of a checkpoint's configuration to ``module:class``; imported on first use.

It is constructed with the recipe's name, a folder or hub id, and a device.
"""


_CONFIG = "config.json"
_REMEDY = (
    "give bundled:whisper-tiny.en or bundled:whisper-base, a local folder with config.json, "
    "preprocessor_config.json and model.safetensors, or a hub id, USER/NAME, that this machine reaches"
)


def load_backbone(name: str, device: "str | torch.device | None" = None) -> "Backbone":
    """Load a backbone by name.

    Parameters
    ----------
    name
        ``bundled:whisper-tiny.en`` or ``bundled:whisper-base``, a local folder, a Hugging Face hub id such as
        ``microsoft/wavlm-base-plus``, or the ``backbone`` folder of a trained model.
    device
        Torch device; by default the GPU where there is one.

    Raises
    ------
    IntervoxError
        The name leads nowhere, the family is not supported, or the weights are not safetensors.
    """
    import torch

    from intervox.backbones.bundled import bundled_checkpoint
    from intervox.backbones.trained import TRAINED, load_trained

    if not isinstance(name, str | Path):
        raise IntervoxError(f"a backbone can't be {name!r}: give its name, folder or hub id")
    name = str(name)
    checkpoint = bundled_checkpoint(name) if name.startswith("bundled:") else name
    if not Path(checkpoint).is_dir():
        if not is_hub_id(name):
            raise IntervoxError(f"backbone {name!r} is not a folder here and no hub id: {_REMEDY}")
        checkpoint = _on_hub(name)
    elif (Path(name) / TRAINED).is_file():
        return load_trained(name, lambda base: load_backbone(base, device))
    kind = _model_type(checkpoint)
    if kind not in FAMILIES:
        raise IntervoxError(f"backbone {name!r} is of type {kind!r}: supported are {', '.join(FAMILIES)}")
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    module, attribute = FAMILIES[kind].split(":")
    backbone: Backbone = getattr(import_module(module), attribute)(name, checkpoint, where)
    return backbone


def _on_hub(name: str) -> str:
    """Return the id, or where the hub can't be reached its folder in the cache.

    ``transformers`` would ask for each file that the cache lacks for half a minute.
    """
    from huggingface_hub import try_to_load_from_cache

    if hub_is_reachable():
        return name
    cached = try_to_load_from_cache(name, _CONFIG)
    if not isinstance(cached, str):
        raise IntervoxError(
            f"backbone {name!r} is not a folder here, and the hub can't be reached: {_REMEDY}"
        )
    return str(Path(cached).parent)


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
