"""A training at depth ``blocks``: what moves, its rates, interruptions, validation, what is refused."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from intervox.backbones.base import Backbone
from intervox.backbones.load import load_backbone
from intervox.errors import IntervoxError
from intervox.features.extraction import extract
from intervox.model.model import SubspaceModel
from intervox.recipe.training import EncoderSettings, SubspaceSettings, TrainingSettings
from intervox.training import loop
from intervox.training.checkpoint import TrainingRecord
from intervox.training.encoder import TrainableEncoder
from intervox.training.inputs import AudioStretches
from intervox.training.loop import Step, make_optimizer
from intervox.training.refine import check_training, refine
from intervox.training.schedule import schedule
from intervox.training.validation import Validation
from tests.backbones.test_backbones import save_family
from tests.support.encoders import FULL, LORA, STEPS, World, a_step


def changed_by(base: str, trained: Path) -> set[str]:
    """Names of the weights in which a trained backbone differs from its base."""
    before, after = (load_backbone(name).model.state_dict() for name in (base, str(trained)))
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_the_loss_falls_and_only_the_chosen_weights_change(world: World, lora: Path, full: Path) -> None:
    for folder in (lora, full):
        history = TrainingRecord.read(folder).history
        assert [record.step for record in history] == [0, 10, STEPS - 1]
        assert history[-1].total < 0.9 * history[0].total
        assert history[0].parts.keys() == {"speaker", "content"}
    of_lora, of_full = (changed_by(world.recipe.backbone, path / "backbone") for path in (lora, full))
    assert of_lora == {f"layers.{n}.self_attn.{p}_proj.weight" for n in (0, 2) for p in "qv"}
    names = [name for name, _ in load_backbone(world.recipe.backbone).model.named_parameters()]
    allowed = {name for name in names if name.startswith(("conv1.", "conv2.", "layers.1."))}
    assert of_full == allowed
    assert load_file(full / "backbone" / "trained.safetensors").keys() == allowed


def test_maps_and_encoder_have_a_rate_each(world: World) -> None:
    recipe = world.varied({"learning_rate": 0.3, "weight_decay": 0.1}, **FULL)
    step = a_step(world, recipe)
    assert step.encoder
    groups = make_optimizer(step, recipe).param_groups
    assert [group["peak"] for group in groups] == [0.3, 1e-3]
    assert [group["weight_decay"] for group in groups] == [0.1, 0.1]
    heads, encoder = (set(map(id, group["params"])) for group in groups)
    assert encoder == set(map(id, step.encoder.weights))
    assert heads == set(map(id, [*step.model.parameters(), *step.loss.parameters()]))
    assert len(make_optimizer(Step(step.model, step.loss, None), recipe).param_groups) == 1


def test_both_rates_follow_the_schedule(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[list[float]] = []

    class Watched(torch.optim.AdamW):
        def step(self, *_arguments: Any, **_options: Any) -> None:  # type: ignore[override]
            rates.append([group["lr"] for group in self.param_groups])

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    training = {"steps": 4, "warmup_steps": 2, "learning_rate": 0.5}
    world.train(tmp_path / "model", world.varied(training, **FULL))
    # 0.5 (1 + cos(0.5 π)) in the last step
    shares = np.array([0.5, 1, 1, 0.5])
    np.testing.assert_allclose(rates, np.stack([0.5 * shares, 1e-3 * shares], axis=1), atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("call", [1, 9])
@pytest.mark.parametrize("settings", [LORA, FULL | {"warp": 0.5}], ids=["lora", "full"])
def test_an_interrupted_training_ends_in_the_same_bytes(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], call: int
) -> None:
    recipe = world.varied({"validate_every": 3, "crop_seconds": 0.4, "clip_gradient": 0.5}, **settings)
    # The best weights are those of an earlier step: they have to outlive the interruption.
    scores = {0: 0.5, 3: 0.2, 6: 0.4, 9: 0.3, 12: 0.25}
    steps: list[int] = []
    real = schedule

    def scripted(_self: Validation, embed: Any) -> dict[str, float]:
        embed(np.array([16, 18]))
        score = scores[steps[-1] + 1 if steps else 0]
        return {"speaker": score, "content": score}

    def counted(step: int, settings: TrainingSettings) -> float:
        if not steps or steps[-1] != step:
            steps.append(step)
        return real(step, settings)

    def interrupted(step: int, settings: TrainingSettings) -> float:
        if len(steps) + 1 == call:
            raise KeyboardInterrupt
        return counted(step, settings)

    monkeypatch.setattr(Validation, "measure", scripted)
    monkeypatch.setattr(loop, "schedule", counted)
    world.train(tmp_path / "whole", recipe)
    steps.clear()
    monkeypatch.setattr(loop, "schedule", interrupted)
    with pytest.raises(KeyboardInterrupt):
        world.train(tmp_path / "cut", recipe)
    assert (tmp_path / "cut" / "checkpoint.safetensors").exists() == (call > 5)
    monkeypatch.setattr(loop, "schedule", counted)
    steps.clear()
    if call > 5:
        steps.append(4)
    world.train(tmp_path / "cut", recipe)
    assert TrainingRecord.read(tmp_path / "cut").best_step == 3
    names = {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.*")}
    assert Path("backbone/backbone.json") in names
    # The card names the folder.
    for name in names - {Path("README.md")}:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert names == {path.relative_to(tmp_path / "cut") for path in (tmp_path / "cut").rglob("*.*")}
    assert Path("checkpoint.safetensors") not in names


def test_the_best_weights_are_kept_in_maps_and_encoder_alike(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[dict[str, Any]] = []
    rows = np.array([16, 19, 22])

    def scripted(_self: Validation, embed: Any) -> dict[str, float]:
        found.append(embed(rows))
        return {"speaker": abs(len(found) - 2) / 10, "content": 0.1}

    monkeypatch.setattr(Validation, "measure", scripted)
    recipe = world.varied({"steps": 6, "validate_every": 3}, **FULL)
    model = SubspaceModel.from_pretrained(world.train(tmp_path / "model", recipe))
    assert TrainingRecord.read(tmp_path / "model").best_step == 3
    vectors = model.encode([world.waves.read(int(row)) for row in rows])
    for name in ("speaker", "content"):
        np.testing.assert_allclose(found[1][name], vectors[name], atol=1e-4)
        assert not np.allclose(found[2][name], vectors[name], atol=1e-3)


def test_validation_hears_the_trained_encoder(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[tuple[Validation, dict[str, float]]] = []
    real = Validation.measure

    def recorded(self: Validation, embed: Any) -> dict[str, float]:
        measured.append((self, real(self, embed)))
        return measured[-1][1]

    monkeypatch.setattr(Validation, "measure", recorded)
    recipe = world.varied({"steps": 2, "validate_every": 2, "crop_seconds": 0.3}, **FULL)
    folder = world.train(tmp_path / "model", recipe)
    model, record = SubspaceModel.from_pretrained(folder), TrainingRecord.read(folder)
    assert [measurement.step for measurement in record.validation] == [0, 2]
    validation, rates = measured[record.best_step // 2]
    assert rates.keys() == {"speaker", "content"}

    def embed(rows: np.ndarray) -> dict[str, Any]:
        return model.encode([world.waves.read(int(row), 4800) for row in rows])

    assert real(validation, embed) == pytest.approx(rates, abs=0.02)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (LORA | {"targets": ("query",)}, "no linear module 'query', only .*q_proj.*fc2"),
        (LORA | {"targets": ("_proj",)}, "no linear module '_proj'"),
        (LORA | {"blocks": (1, 3)}, "no block 3, .* has blocks 0 to 2"),
        (FULL | {"blocks": (1, 3)}, "no block 3, .* has blocks 0 to 2"),
        (LORA | {"blocks": ()}, "name a block at least"),
        (FULL | {"blocks": (), "front_end": False}, "name a block at least"),
    ],
)
def test_settings_that_do_not_fit_say_what_there_is(
    world: World, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    recipe = world.varied(**settings)
    with pytest.raises(IntervoxError, match=message):
        check_training(recipe)
    with pytest.raises(IntervoxError, match=message):
        world.train(tmp_path / "model", recipe)


def test_the_front_end_alone_can_be_trained(world: World) -> None:
    encoder = a_step(world, world.varied(blocks=())).encoder
    assert encoder
    assert len(encoder.weights) == 4


@pytest.mark.parametrize("settings", [LORA, FULL | {"blocks": (2,)}], ids=["lora", "full"])
def test_a_block_that_no_subspace_sees_is_refused(world: World, settings: dict[str, Any]) -> None:
    lower = {name: one.model_copy(update={"layers": (1, 2)}) for name, one in world.recipe.subspaces.items()}
    recipe = world.varied(**settings).model_copy(update={"subspaces": lower})
    with pytest.raises(IntervoxError, match="block 2 comes after layer 2"):
        TrainableEncoder(load_backbone(recipe.backbone), recipe)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warp_range": (1.2, 1.1)}, "lower bound first"),
        ({"warp_range": (0.3, 1.1)}, "0.5"),
        ({"method": "lora", "targets": ()}, "at least one"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EncoderSettings.model_validate(settings)


def test_maps_that_pool_frames_are_trained_on_stretches(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subspaces = {
        "speaker": SubspaceSettings(factor="speaker", dim=4, map="attentive", width=8),
        "content": SubspaceSettings(factor="content", dim=4),
    }
    recipe = world.varied({"crop_seconds": 0.25, "steps": 2}, **LORA)
    recipe = recipe.model_copy(update={"subspaces": subspaces})
    backbone = load_backbone(recipe.backbone)
    features = extract(world.corpus, backbone, recipe.features, tmp_path / "features", frames=True)
    lengths: list[int] = []
    real = AudioStretches.drawn

    def recorded(self: AudioStretches, *arguments: Any) -> Any:
        waves: Any = real(self, *arguments)
        lengths.extend(map(len, waves))
        return waves

    monkeypatch.setattr(AudioStretches, "drawn", recorded)
    refine(world.corpus.cells, features, recipe, tmp_path / "model", world.waves)
    assert set(lengths) == {4000}
    products = load_file(tmp_path / "model" / "backbone" / "adapter_model.safetensors")
    assert all(bool(tensor.any()) for tensor in products.values())
    assert SubspaceModel.from_pretrained(tmp_path / "model").reads_frames


def test_a_loss_that_is_not_finite_stops_the_training(world: World, tmp_path: Path) -> None:
    with pytest.raises(IntervoxError, match=r"the loss is nan at step \d+: .*encoder\.learning_rate"):
        world.train(tmp_path / "model", world.varied(**FULL | {"learning_rate": 1e30}))
    assert not (tmp_path / "model" / "backbone").exists()
    assert not (tmp_path / "model" / "config.json").exists()


def test_a_training_without_audio_or_with_another_backbone_is_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(IntervoxError, match=r"training\.depth: blocks reads the audio"):
        refine(world.corpus.cells, world.features, world.recipe, tmp_path / "mute")
    other = world.recipe.model_copy(update={"backbone": str(save_family("hubert-base", tmp_path / "other"))})
    with pytest.raises(IntervoxError, match="are not those of the features: run `intervox extract` first"):
        world.train(tmp_path / "other-model", other)


def test_only_lora_needs_peft(
    world: World, lora: Path, full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    recipe = world.varied({"steps": 1}, **LORA)
    for use in (
        lambda: world.train(tmp_path / "lora", recipe),
        lambda: check_training(recipe),
        lambda: load_backbone(str(lora / "backbone")),
    ):
        with pytest.raises(IntervoxError, match=r"pip install .*\[adapt\]"):
            use()
    world.train(tmp_path / "full", world.varied({"steps": 1}, **FULL))
    assert isinstance(load_backbone(str(full / "backbone")), Backbone)


def test_nothing_that_is_frozen_is_in_a_checkpoint(world: World) -> None:
    encoder = a_step(world, world.varied(**LORA)).encoder
    assert encoder
    assert len(encoder.state_dict()) == len(encoder.weights) == 8
