"""The backbone beside a model that was trained with it: what is in it, who reads it, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from intervox.backbones.load import load_backbone
from intervox.backbones.trained import base_of, declare_trained
from intervox.errors import IntervoxError
from intervox.features.encoding import layer_means
from intervox.features.extraction import extract
from intervox.model.model import SubspaceModel
from intervox.training.refine import refine
from tests.backbones.test_backbones import save_family
from tests.conftest import Speech
from tests.support.encoders import FULL, LORA, World

MODEL = {"README.md", "backbone", "config.json", "model.safetensors", "step.json", "training.json"}


def test_a_model_folder_holds_its_own_backbone_and_nothing_executable(
    world: World, lora: Path, full: Path
) -> None:
    base = load_backbone(world.recipe.backbone)
    for folder, weights in (
        (lora, {"adapter_config.json", "adapter_model.safetensors"}),
        (full, {"trained.safetensors"}),
    ):
        assert {path.name for path in folder.iterdir()} <= MODEL
        assert {path.name for path in (folder / "backbone").iterdir()} == {"backbone.json"} | weights
        about = json.loads((folder / "backbone" / "backbone.json").read_text())
        assert (about["base"], about["base_fingerprint"]) == (base.name, base.fingerprint)
        assert json.loads((folder / "config.json").read_text())["backbone"] == "./backbone"
        assert base_of(str(folder / "backbone")) == base.name
    assert base_of(base.name) == base.name


def test_an_adapter_is_in_pefts_format(world: World, lora: Path, speech: Speech) -> None:
    from peft import PeftModel

    base = load_backbone(world.recipe.backbone)
    PeftModel.from_pretrained(base.model, str(lora / "backbone"))
    clip = speech(0.8, 3)
    ours = load_backbone(str(lora / "backbone")).forward([clip]).layers
    torch.testing.assert_close(base.forward([clip]).layers, ours, atol=1e-5, rtol=1e-5)


def test_a_finished_model_is_kept_until_something_changes(
    world: World, full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(full, tmp_path / "model"))
    weights = (folder / "backbone" / "trained.safetensors").read_bytes()
    monkeypatch.setattr("intervox.training.refine.train", None)
    world.train(folder, world.varied({"checkpoint_every": 3}, **FULL))
    assert (folder / "backbone" / "trained.safetensors").read_bytes() == weights
    monkeypatch.undo()
    world.train(folder, world.varied({"steps": 1}, **FULL))
    assert (folder / "backbone" / "trained.safetensors").read_bytes() != weights


def test_maps_encode_with_the_backbone_that_they_were_trained_with(
    world: World, lora: Path, full: Path, speech: Speech
) -> None:
    clips = [speech(0.4, 0), speech(1.1, 1)]
    for folder in (lora, full):
        model, backbone = SubspaceModel.from_pretrained(folder), load_backbone(str(folder / "backbone"))
        assert model.fingerprint == backbone.fingerprint != world.features.about["fingerprint"]
        vectors = model.encode(clips)
        means, _ = layer_means(backbone, clips, world.recipe.features)
        frozen, _ = layer_means(load_backbone(world.recipe.backbone), clips, world.recipe.features)
        for space in ("speaker", "content"):
            np.testing.assert_allclose(vectors[space], model.project(means)[space], atol=1e-5)
            assert not np.allclose(vectors[space], model.project(frozen)[space], atol=1e-3)


def test_a_whole_model_is_moved_and_saved_elsewhere(full: Path, tmp_path: Path, speech: Speech) -> None:
    clips = [speech(0.4, 0), speech(1.1, 1)]
    model = SubspaceModel.from_pretrained(full)
    expected = model.encode(clips)
    model.save_pretrained(tmp_path / "saved")
    moved = shutil.copytree(full, tmp_path / "elsewhere" / "moved")
    for folder in (tmp_path / "saved", moved):
        assert json.loads((folder / "config.json").read_text())["backbone"] == "./backbone"
        again = SubspaceModel.from_pretrained(folder)
        for space, vectors in again.encode(clips).items():
            np.testing.assert_array_equal(vectors, expected[space])
    shutil.rmtree(moved / "backbone")
    with pytest.raises(IntervoxError, match="lacks its backbone"):
        SubspaceModel.from_pretrained(moved)


@pytest.mark.parametrize("depth", ["map", "blocks"])
def test_a_recipe_can_name_a_trained_backbone(
    world: World, full: Path, tmp_path: Path, speech: Speech, depth: str
) -> None:
    recipe = world.varied({"depth": depth, "steps": 1}, **LORA)
    recipe = recipe.model_copy(update={"backbone": str(full / "backbone")})
    backbone = load_backbone(recipe.backbone)
    features = extract(world.corpus, backbone, recipe.features, tmp_path / "features")
    refine(world.corpus.cells, features, recipe, tmp_path / "model", world.waves)
    model = SubspaceModel.from_pretrained(tmp_path / "model")
    assert (model.fingerprint == backbone.fingerprint) == (depth == "map")
    assert model.encode([speech(0.7, 0)])["speaker"].shape == (1, 6)
    if depth == "blocks":
        assert base_of(str(tmp_path / "model" / "backbone")) == recipe.backbone


def test_a_training_can_not_write_over_its_own_backbone(world: World, full: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(full, tmp_path / "model"))
    recipe = world.varied({"steps": 1}, **FULL).model_copy(update={"backbone": str(folder / "backbone")})
    backbone = load_backbone(recipe.backbone)
    features = extract(world.corpus, backbone, recipe.features, tmp_path / "features")
    with pytest.raises(IntervoxError, match="give the recipe another name"):
        refine(world.corpus.cells, features, recipe, folder, world.waves)
    assert load_backbone(recipe.backbone).fingerprint == backbone.fingerprint


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))


def damage_adapter(folder: Path) -> None:
    damage(folder / "adapter_model.safetensors")


def forget_adapter(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()


def damage_record(folder: Path) -> None:
    (folder / "backbone.json").write_text("[]")


def forget_record(folder: Path) -> None:
    (folder / "backbone.json").unlink()


DAMAGED_RECORD = [
    (damage_record, "backbone.json is not what Intervox writes"),
    (forget_record, "has no usable config.json"),
]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (damage_adapter, "are damaged or were changed"),
        (forget_adapter, "adapter_model.safetensors is missing"),
        *DAMAGED_RECORD,
    ],
)
def test_a_damaged_adapter_is_one_sentence(lora_copy: Path, break_it: Any, message: str) -> None:
    break_it(lora_copy)
    with pytest.raises(IntervoxError, match=message):
        load_backbone(str(lora_copy))


def damage_weights(folder: Path) -> None:
    damage(folder / "trained.safetensors")


def forget_weights(folder: Path) -> None:
    (folder / "trained.safetensors").unlink()


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (damage_weights, "are damaged or were changed"),
        (forget_weights, "trained.safetensors is missing"),
        *DAMAGED_RECORD,
    ],
)
def test_damaged_weights_are_one_sentence(full_copy: Path, break_it: Any, message: str) -> None:
    break_it(full_copy)
    with pytest.raises(IntervoxError, match=message):
        load_backbone(str(full_copy))


@pytest.mark.parametrize("method", ["lora", "full"])
def test_another_base_is_refused(request: pytest.FixtureRequest, tmp_path: Path, method: str) -> None:
    copy = request.getfixturevalue(f"{method}_copy")
    other = save_family("whisper", tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    weights["model.encoder.layer_norm.bias"] += 1
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    about = json.loads((copy / "backbone.json").read_text())
    (copy / "backbone.json").write_text(json.dumps(about | {"base": str(other)}))
    with pytest.raises(IntervoxError, match="are not those that .* was trained from"):
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
    world: World, lora_copy: Path, field: str, value: object, message: str
) -> None:
    config = json.loads((lora_copy / "adapter_config.json").read_text())
    (lora_copy / "adapter_config.json").write_text(json.dumps(config | {field: value}))
    base = load_backbone(world.recipe.backbone)
    declare_trained(lora_copy, base.name, base.fingerprint)
    with pytest.raises(IntervoxError, match=f"do not fit their base .*({message})"):
        load_backbone(str(lora_copy))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("layers.1.fc1.bias", lambda tensor: tensor[:-1], "size mismatch|Error"),
        ("layers.9.fc1.bias", lambda tensor: tensor, r"there is no weight 'layers\.9\.fc1\.bias'"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    world: World, full_copy: Path, name: str, change: Any, message: str
) -> None:
    weights = load_file(full_copy / "trained.safetensors")
    changed = change(weights["layers.1.fc1.bias"]).clone()
    save_file(weights | {name: changed}, full_copy / "trained.safetensors")
    base = load_backbone(world.recipe.backbone)
    declare_trained(full_copy, base.name, base.fingerprint)
    with pytest.raises(IntervoxError, match=f"do not fit their base .*({message})"):
        load_backbone(str(full_copy))
