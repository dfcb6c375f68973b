"""A backbone with a low-rank adapter merged into its weights, as ``intervox adapt`` leaves one behind."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from intervox.backbones.base import Backbone
from intervox.errors import IntervoxError, missing_extra
from intervox.storage import file_sha256, read_json, stable_hash, write_json

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel

ADAPTED = "backbone.json"
"""The file in a folder that makes it an adapted backbone: which base the adapter there belongs to."""

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

_FIELDS = ("r", "lora_alpha", "lora_dropout", "target_modules")
_ORIGIN = ("base_model_name_or_path", "revision", "peft_version", "auto_mapping", "inference_mode")
"""Fields that say where an adapter comes from, not what it computes."""


def load_adapted(name: str, load_base: Callable[[str], Backbone]) -> Backbone:
    """Load the base backbone of an adapter's folder, by its name, and merge the adapter into it.

    Raises
    ------
    IntervoxError
        The folder is incomplete or damaged, or the base's weights are not those that the adapter was
        trained on.
    """
    folder = Path(name)
    about = read_json(folder / ADAPTED, "base", "base_fingerprint", "fingerprint")
    if _fingerprint(folder, about["base_fingerprint"]) != about["fingerprint"]:
        raise IntervoxError(
            f"the adapter in {folder} is damaged or was changed: copy the whole folder again, or run "
            "`intervox adapt` again"
        )
    backbone = load_base(about["base"])
    if backbone.fingerprint != about["base_fingerprint"]:
        raise IntervoxError(
            f"the weights of {about['base']} are not those that the adapter in {folder} was trained on: "
            "give the same base, or run `intervox adapt` again"
        )
    _merge(backbone.model, folder)
    backbone.name = name
    backbone.fingerprint = about["fingerprint"]
    return backbone


def declare_adapted(folder: Path, base: str, base_fingerprint: str) -> str:
    """Write ``backbone.json`` beside an adapter; returns the adapted backbone's fingerprint."""
    fingerprint = _fingerprint(folder, base_fingerprint)
    about = {"schema": 1, "base": base, "base_fingerprint": base_fingerprint, "fingerprint": fingerprint}
    write_json(folder / ADAPTED, about)
    return fingerprint


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


def _fingerprint(folder: Path, base: str) -> str:
    """Hash what the weights are made from: they themselves differ in their last bits between machines."""
    files = [folder / ADAPTER_CONFIG, folder / ADAPTER_WEIGHTS]
    for file in files:
        if not file.is_file():
            raise IntervoxError(f"{file} is missing: copy the whole folder, or run `intervox adapt` again")
    return stable_hash([base, *(file_sha256(file) for file in files)])


def _merge(model: nn.Module, folder: Path) -> None:
    """Add the adapter's products to the weights in place."""
    try:
        from peft import set_peft_model_state_dict
    except ImportError:
        raise missing_extra("peft", "adapt", f"the adapted backbone {folder}") from None

    try:
        adapter = wrap(model, _config(folder))
        tensors = load_file(folder / ADAPTER_WEIGHTS)
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        if shapes != {name: tensor.shape for name, tensor in adapter_state(adapter).items()}:
            raise ValueError("its weights are of other modules or another rank")
        set_peft_model_state_dict(adapter, tensors)
    except (ValueError, TypeError, KeyError, RuntimeError, AttributeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise IntervoxError(
            f"the adapter in {folder} does not fit its base ({reason}): run `intervox adapt` again"
        ) from error
    adapter.merge_and_unload()
    model.eval().requires_grad_(False)


def _config(folder: Path) -> "LoraConfig":
    """Read what makes a plain adapter; a stranger's file could name modules for peft to import."""
    from peft import LoraConfig

    given = read_json(folder / ADAPTER_CONFIG, *_FIELDS)
    config = LoraConfig(**{name: given[name] for name in _FIELDS})
    for name, usual in config.to_dict().items():
        if name not in _ORIGIN and given.get(name, usual) != usual:
            raise ValueError(f"{name} is {given[name]!r} in its {ADAPTER_CONFIG}")
    return config
