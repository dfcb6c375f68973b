"""The folder that an adaptation leaves: what is in it, who reads it, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from intervox.backbones.adapted import declare_adapted
from safetensors.torch import load_file, save_file

from intervox.backbones.load import load_backbone
from intervox.errors import IntervoxError
from intervox.features.extraction import layer_means
from intervox.model.model import SubspaceModel
from tests.backbones.test_backbones import save_family
from tests.conftest import Speech
from tests.support.adaptation import World


def test_the_folder_is_in_pefts_format_and_holds_nothing_executable(
    world: World, adapted: Path, speech: Speech
) -> None:
    from peft import PeftModel

    names = {path.name for path in adapted.iterdir()}
    assert names == {
        "adaptation.json", "adapter_config.json", "adapter_model.safetensors", "backbone.json", "model",
        "step.json",
    }  # fmt: skip
    base = load_backbone(world.recipe.backbone)
    about = json.loads((adapted / "backbone.json").read_text())
    assert (about["base"], about["base_fingerprint"]) == (base.name, base.fingerprint)
    PeftModel.from_pretrained(base.model, str(adapted))
    clip = speech(0.8, 3)
    ours = load_backbone(str(adapted)).forward([clip]).layers
    torch.testing.assert_close(base.forward([clip]).layers, ours, atol=1e-5, rtol=1e-5)


def test_a_finished_adapter_is_kept_until_usable_settings_replace_it(
    world: World, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = (copy / "adapter_model.safetensors").read_bytes()
    monkeypatch.setattr("intervox.training.adaptation.cached_step", None)
    world.adapt(copy)
    with pytest.raises(IntervoxError, match="nonsense"):
        world.adapt(copy, targets=("nonsense",))
    assert (copy / "adapter_model.safetensors").read_bytes() == weights
    monkeypatch.undo()
    world.adapt(copy, steps=1)
    assert (copy / "adapter_model.safetensors").read_bytes() != weights


def test_maps_trained_with_the_adapter_encode_with_it(world: World, adapted: Path, speech: Speech) -> None:
    clips = [speech(0.4, 0), speech(1.1, 1)]
    model = SubspaceModel.from_pretrained(adapted / "model")
    vectors = model.encode(clips)
    means, _ = layer_means(load_backbone(str(adapted)), clips, world.recipe.features)
    expected = model.project(means)
    for space in ("speaker", "content"):
        np.testing.assert_allclose(vectors[space], expected[space], atol=1e-5)
    start = load_file(world.model / "model.safetensors")
    ours = load_file(adapted / "model" / "model.safetensors")
    assert torch.equal(start["mean"], ours["mean"])
    assert any(not torch.equal(start[name], ours[name]) for name in start)
    assert model.calibration == {}


def damage_weights(folder: Path) -> None:
    data = bytearray((folder / "adapter_model.safetensors").read_bytes())
    data[-5] ^= 1
    (folder / "adapter_model.safetensors").write_bytes(bytes(data))


def forget_weights(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()


def damage_record(folder: Path) -> None:
    (folder / "backbone.json").write_text("[]")


def forget_record(folder: Path) -> None:
    (folder / "backbone.json").unlink()


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (damage_weights, "is damaged or was changed"),
        (forget_weights, "adapter_model.safetensors is missing"),
        (damage_record, "backbone.json is not what Intervox writes"),
        (forget_record, "has no usable config.json"),
    ],
)
def test_a_damaged_folder_is_one_sentence(copy: Path, break_it: Any, message: str) -> None:
    break_it(copy)
    with pytest.raises(IntervoxError, match=message):
        load_backbone(str(copy))


def test_another_base_is_refused(world: World, copy: Path, tmp_path: Path) -> None:
    other = save_family("whisper", tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    weights["model.encoder.layer_norm.bias"] += 1
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    about = json.loads((copy / "backbone.json").read_text())
    (copy / "backbone.json").write_text(json.dumps(about | {"base": str(other)}))
    with pytest.raises(IntervoxError, match="not those that the adapter .* was trained on"):
        load_backbone(str(copy))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("target_modules", r"layers\.1\.fc1", "other modules"),
        ("target_modules", "nothing", "nothing"),
        ("r", 2, "another rank"),
        ("use_rslora", True, "use_rslora is True"),
        ("peft_type", "IA3", "peft_type is 'IA3'"),
        ("megatron_core", "antigravity", "megatron_core is 'antigravity'"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(
    world: World, copy: Path, field: str, value: object, message: str
) -> None:
    config = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps(config | {field: value}))
    base = load_backbone(world.recipe.backbone)
    declare_adapted(copy, base.name, base.fingerprint)
    with pytest.raises(IntervoxError, match=f"does not fit its base .*({message})"):
        load_backbone(str(copy))
