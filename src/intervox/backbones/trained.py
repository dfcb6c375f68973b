"""A backbone whose weights training has moved: what it differs by from its base, in full or as LoRA."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from intervox.backbones.base import Backbone
from intervox.errors import IntervoxError, missing_extra
from intervox.storage import atomic_path, file_sha256, read_json, stable_hash, write_json

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel

TRAINED = "backbone.json"
"""The file in a folder that makes it a trained backbone: which base the weights there belong to."""

WEIGHTS = "trained.safetensors"
"""The weights that were trained in full, under the base's own names."""

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

_FIELDS = ("r", "lora_alpha", "lora_dropout", "target_modules")
_ORIGIN = ("base_model_name_or_path", "revision", "peft_version", "auto_mapping", "inference_mode")
"""Fields that say where an adapter comes from, not what it computes."""

_REMEDY = "copy the whole folder again, or run `intervox refine` again"


def load_trained(name: str, load_base: Callable[[str], Backbone]) -> Backbone:
    """Load the base of a trained backbone, by its name, and put the trained weights into it.

    Raises
    ------
    IntervoxError
        The folder is incomplete or damaged, or the base's weights are not those that training started
        from.
    """
    folder = Path(name)
    about = read_json(folder / TRAINED, "base", "base_fingerprint", "fingerprint")
    if _fingerprint(folder, about["base_fingerprint"]) != about["fingerprint"]:
        raise IntervoxError(f"the weights in {folder} are damaged or were changed: {_REMEDY}")
    backbone = load_base(about["base"])
    if backbone.fingerprint != about["base_fingerprint"]:
        raise IntervoxError(
            f"the weights of {about['base']} are not those that {folder} was trained from: give the same "
            "base, or run `intervox refine` again"
        )
    try:
        if _is_lora(folder):
            _merge(backbone.model, folder)
        else:
            _replace(backbone.model, load_file(folder / WEIGHTS))
    except (ValueError, TypeError, KeyError, RuntimeError, AttributeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise IntervoxError(
            f"the weights in {folder} do not fit their base ({reason}): run `intervox refine` again"
        ) from error
    backbone.model.eval().requires_grad_(False)
    backbone.name = name
    backbone.fingerprint = about["fingerprint"]
    return backbone


def save_weights(weights: Mapping[str, Tensor], backbone: Backbone, folder: Path) -> str:
    """Write weights that were trained in full, by name, and their base; returns the new fingerprint."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file({name: t.detach().cpu().contiguous() for name, t in weights.items()}, temporary)
    return declare_trained(folder, backbone.name, backbone.fingerprint)


def declare_trained(folder: Path, base: str, base_fingerprint: str) -> str:
    """Write ``backbone.json`` beside trained weights; returns the trained backbone's fingerprint."""
    fingerprint = _fingerprint(folder, base_fingerprint)
    about = {"schema": 1, "base": base, "base_fingerprint": base_fingerprint, "fingerprint": fingerprint}
    write_json(folder / TRAINED, about)
    return fingerprint


def base_of(name: str) -> str:
    """Name the backbone that a trained one started from; any other is its own base."""
    record = Path(name) / TRAINED
    return str(read_json(record, "base")["base"]) if record.is_file() else name


def wrap(model: nn.Module, config: "LoraConfig") -> "PeftModel":
    """Put an adapter around modules of a model, in place."""
    from peft import get_peft_model

    with warnings.catch_warnings():
        # peft looks at every attribute of the model, those that transformers deprecates among them.
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(model, config)


def adapter_state(adapter: "PeftModel") -> dict[str, Tensor]:
    """Return the adapter's own weights under the names of ``peft``'s format."""
    from peft import get_peft_model_state_dict

    # Left to itself peft asks the hub whether the base's vocabulary was resized.
    return dict(get_peft_model_state_dict(adapter, save_embedding_layers=False))


def _is_lora(folder: Path) -> bool:
    return (folder / ADAPTER_CONFIG).exists()


def _fingerprint(folder: Path, base: str) -> str:
    """Hash what the weights are made from: they themselves differ in their last bits between machines."""
    files = [ADAPTER_CONFIG, ADAPTER_WEIGHTS] if _is_lora(folder) else [WEIGHTS]
    for file in files:
        if not (folder / file).is_file():
            raise IntervoxError(f"{folder / file} is missing: {_REMEDY}")
    return stable_hash([base, *(file_sha256(folder / file) for file in files)])


def _replace(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put weights in the place of a model's own."""
    unknown = set(tensors) - set(model.state_dict())
    if unknown:
        raise ValueError(f"there is no weight {min(unknown)!r}")
    model.load_state_dict(dict(tensors), strict=False)


def _merge(model: nn.Module, folder: Path) -> None:
    """Add an adapter's products to the weights in place."""
    try:
        from peft import set_peft_model_state_dict
    except ImportError:
        raise missing_extra("peft", "adapt", f"the trained backbone {folder}") from None

    adapter = wrap(model, _config(folder))
    tensors = load_file(folder / ADAPTER_WEIGHTS)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    if shapes != {name: tensor.shape for name, tensor in adapter_state(adapter).items()}:
        raise ValueError("its weights are of other modules or another rank")
    set_peft_model_state_dict(adapter, tensors)
    adapter.merge_and_unload()


def _config(folder: Path) -> "LoraConfig":
    """Read what makes a plain adapter; a stranger's file could name modules for peft to import."""
    from peft import LoraConfig

    given = read_json(folder / ADAPTER_CONFIG, *_FIELDS)
    config = LoraConfig(**{name: given[name] for name in _FIELDS})
    for name, usual in config.to_dict().items():
        if name not in _ORIGIN and given.get(name, usual) != usual:
            raise ValueError(f"{name} is {given[name]!r} in its {ADAPTER_CONFIG}")
    return config
