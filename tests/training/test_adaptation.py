"""Adapting tiny backbones: the gradient, what changes and what does not, and the command."""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
import yaml
from intervox.training.adaptation import (
    Vectors,
    adapt,
    cached_step,
    encode_with_gradient,
    micro_batches,
    read_waves,
)
from safetensors.torch import load_file
from torch import Tensor, nn
from typer.testing import CliRunner

from intervox import pipeline
from intervox.audio import load_audio
from intervox.backbones.base import Backbone
from intervox.backbones.load import load_backbone
from intervox.cli import run as cli_adapt
from intervox.errors import IntervoxError
from intervox.features.extraction import extract, masked_mean
from intervox.model.model import SubspaceModel
from intervox.recipe import FeatureSettings
from intervox.recipe.training import AdaptationSettings, SubspaceSettings
from intervox.training import adaptation as training
from intervox.training.lora import add_lora, save_adapter
from intervox.training.refine import refine
from tests.backbones.test_backbones import FAMILIES, save_family
from tests.conftest import Speech
from tests.support.adaptation import SETTINGS, STEPS, World
from tests.support.corpora import tone_rows


def with_lora(world: World, **settings: object) -> Backbone:
    """A backbone whose adapter is no longer zero."""
    backbone = load_backbone(world.recipe.backbone)
    add_lora(backbone, SETTINGS.model_copy(update=settings), 3)
    torch.manual_seed(1)
    for parameter in trained(backbone).values():
        torch.nn.init.normal_(parameter, std=0.3)
    return backbone


def trained(backbone: Backbone) -> dict[str, Tensor]:
    return {name: p for name, p in backbone.model.named_parameters() if p.requires_grad}


def coupled(vectors: Vectors) -> Tensor:
    """A loss in which every clip meets every other, and the subspaces each other."""
    speaker, content = vectors["speaker"], vectors["content"]
    return torch.logsumexp(10 * speaker @ speaker.T - content @ content.T, dim=1).square().sum()


def gradients(modules: Sequence[nn.Module]) -> dict[str, Tensor]:
    found = {name: p.grad for module in modules for name, p in module.named_parameters()}
    for module in modules:
        module.zero_grad()
    return {name: gradient for name, gradient in found.items() if gradient is not None}


SECONDS = (0.4, 1.3, 0.2, 0.9, 0.5)


WINDOWS = FeatureSettings(window_seconds=0.5)


def test_the_cached_gradient_is_that_of_the_whole_batch(world: World, speech: Speech) -> None:
    clips = [speech(seconds, seed) for seed, seconds in enumerate(SECONDS)]
    backbone, model = with_lora(world), SubspaceModel.from_pretrained(world.model)
    means = []
    for clip, count in zip(clips, (1, 3, 1, 2, 1), strict=True):
        states = backbone.states(np.array_split(clip, count))
        weights = states.frames / states.frames.sum()
        means.append((masked_mean(states) * weights[:, None, None]).sum(dim=0))
    expected = coupled(model(torch.stack(means)))
    torch.autograd.backward(expected)
    wanted = gradients([backbone.model, model])
    assert sum("lora" in name for name in wanted) == 8
    for batch_seconds, count in ((0.5, 5), (1.0, 4), (100.0, 1)):
        settings = WINDOWS.model_copy(update={"batch_seconds": batch_seconds})
        batches = micro_batches(clips, settings)
        assert len(batches) == count

        def encode(batch: Sequence[int]) -> Vectors:
            return encode_with_gradient(model, backbone, [clips[n] for n in batch], WINDOWS, 3)

        value = cached_step(encode, batches, coupled)
        torch.testing.assert_close(value, expected.detach(), rtol=1e-5, atol=1e-5)
        found = gradients([backbone.model, model])
        assert found.keys() == wanted.keys()
        for name, gradient in wanted.items():
            scale = float(gradient.abs().max())
            assert scale > 1e-4, name
            torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-4 * scale)


def test_micro_batches_hold_every_clip_within_the_budget(speech: Speech) -> None:
    clips = [speech(seconds, 0) for seconds in (1.9, 0.1, 0.3, 0.25, 0.1, 0.5, 0.12, 4.0)]
    settings = FeatureSettings(window_seconds=1.0, batch_seconds=1.0)
    batches = micro_batches(clips, settings)
    assert batches == [[1, 4, 6, 3], [2, 5], [0], [7]]
    assert micro_batches(clips[:1], settings) == [[0]]


def test_vectors_are_those_of_encode_and_blocks_above_the_highest_layer_rest(
    world: World, speech: Speech
) -> None:
    clips = [speech(0.3, 0), speech(1.2, 1)]
    model, backbone = SubspaceModel.from_pretrained(world.model), load_backbone(world.recipe.backbone)
    ran: list[int] = []
    for number, block in enumerate(backbone.blocks):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    expected = model.encode(clips)
    for name, vectors in encode_with_gradient(model, backbone, clips, WINDOWS, 3).items():
        np.testing.assert_allclose(vectors.detach().numpy(), expected[name], atol=1e-4)
    ran.clear()
    speaker = {"speaker": {"factor": "speaker", "layers": [0, 2], "dim": 4}}
    lower = SubspaceModel("none", backbone.layers, backbone.dim, speaker)
    encode_with_gradient(lower, backbone, clips, WINDOWS, 2)
    assert ran == [0, 1]


def test_dropout_is_alike_in_both_passes(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: dict[bool, list[Tensor]] = {False: [], True: []}

    def recorded(*arguments: Any) -> Vectors:
        vectors = encode_with_gradient(*arguments)
        passes[vectors["speaker"].requires_grad].append(vectors["speaker"].detach())
        return vectors

    monkeypatch.setattr(training, "encode_with_gradient", recorded)
    world.adapt(tmp_path / "adapter", dropout=0.5, steps=3, learning_rate=0.1, blocks_per_step=1)
    assert len(passes[False]) > 6
    assert all(torch.equal(first, second) for first, second in zip(*passes.values(), strict=True))
    sure = world.adapt(tmp_path / "sure", steps=3, learning_rate=0.1, blocks_per_step=1)
    weights = [load_file(path / "adapter_model.safetensors") for path in (tmp_path / "adapter", sure)]
    assert not all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("name", [*FAMILIES, "whisper"])
def test_every_family_is_adapted_where_it_is_asked_to(name: str, tmp_path: Path, speech: Speech) -> None:
    base = str(save_family(name, tmp_path / "base"))
    backbone = load_backbone(base)
    clips = [speech(0.5, 0), speech(0.9, 1)]
    before = backbone.forward(clips).layers
    settings = AdaptationSettings(blocks=(1,), targets=("q_proj", "out_proj"))
    adapter = add_lora(backbone, settings, 3)
    assert torch.equal(backbone.forward(clips).layers, before)
    for parameter in trained(backbone).values():
        torch.nn.init.normal_(parameter, std=0.3)
    torch.autograd.backward(backbone.states(clips, 3).layers.square().sum())
    # WavLM reads its projections' weights without calling them: they have to be reached all the same.
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained(backbone).values())
    after = backbone.forward(clips).layers
    assert torch.equal(after[:, :2], before[:, :2])
    assert float((after[:, 2] - before[:, 2]).abs().max()) > 0.1
    fingerprint = save_adapter(adapter, backbone, tmp_path / "adapter")
    loaded = load_backbone(str(tmp_path / "adapter"))
    torch.testing.assert_close(loaded.forward(clips).layers, after, atol=1e-4, rtol=1e-4)
    assert loaded.fingerprint == fingerprint != backbone.fingerprint


def test_the_loss_falls_and_only_the_chosen_weights_change(world: World, adapted: Path) -> None:
    record = json.loads((adapted / "adaptation.json").read_text())
    totals = [entry["total"] for entry in record["history"]]
    assert len(totals) == STEPS
    assert np.mean(totals[-3:]) < 0.8 * totals[0]
    assert record["history"][0]["parts"].keys() == {"speaker", "content", "cross_covariance"}
    base = load_backbone(world.recipe.backbone).model.state_dict()
    merged = load_backbone(str(adapted)).model.state_dict()
    assert base.keys() == merged.keys()
    changed = {name for name in base if not torch.equal(base[name], merged[name])}
    assert changed == {f"layers.{n}.self_attn.{p}_proj.weight" for n in (0, 2) for p in "qv"}


@pytest.mark.slow
def test_an_interrupted_adaptation_ends_in_the_same_bytes(
    world: World, adapted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def interrupted(*arguments: Any) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt
        return cached_step(*arguments)

    monkeypatch.setattr(training, "cached_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        world.adapt(tmp_path / "cut")
    assert (tmp_path / "cut" / "checkpoint.safetensors").exists()
    with pytest.raises(IntervoxError):
        load_backbone(str(tmp_path / "cut"))
    world.adapt(tmp_path / "cut")
    assert calls == 8 + STEPS - 5
    for name in (
        "adapter_model.safetensors", "adapter_config.json", "backbone.json", "adaptation.json",
        "model/model.safetensors",
    ):  # fmt: skip
        assert (tmp_path / "cut" / name).read_bytes() == (adapted / name).read_bytes(), name
    assert not (tmp_path / "cut" / "checkpoint.safetensors").exists()


def test_a_steps_cells_are_read_in_their_order(world: World) -> None:
    cells = np.array([9, 2, 14, 3, 8])
    waves = read_waves(world.corpus, cells)
    rows = tone_rows()
    for cell, wave in zip(cells, waves, strict=True):
        np.testing.assert_array_equal(wave, load_audio(rows[cell]["audio"]["bytes"]))
    with pytest.raises(IntervoxError, match="cell 5 of .* can't be read"):
        read_waves(world.corpus, np.array([5]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": ("query",)}, "no linear module 'query', only .*q_proj.*fc2"),
        ({"targets": ("_proj",)}, "no linear module '_proj'"),
        ({"blocks": (1, 3)}, "no block 3, .* has blocks 0 to 2"),
        ({"blocks": ()}, "at least one"),
    ],
)
def test_settings_that_do_not_fit_say_what_there_is(
    world: World, tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(IntervoxError, match=message):
        world.adapt(tmp_path / "adapter", **settings)
    assert not (tmp_path / "adapter").exists()


def test_a_block_that_no_subspace_sees_is_refused(world: World) -> None:
    with pytest.raises(IntervoxError, match="block 2 comes after layer 2"):
        add_lora(load_backbone(world.recipe.backbone), SETTINGS, 2)


def test_maps_that_pool_frames_are_trained_on_stretches(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subspaces = {
        "speaker": SubspaceSettings(factor="speaker", dim=4, map="attentive", width=8),
        "content": SubspaceSettings(factor="content", dim=4),
    }
    short = world.recipe.training.model_copy(update={"crop_seconds": 0.25})
    recipe = world.recipe.model_copy(update={"subspaces": subspaces, "training": short})
    backbone = load_backbone(recipe.backbone)
    features = extract(world.corpus, backbone, recipe.features, tmp_path / "features", frames=True)
    refine(world.corpus.cells, features, recipe, tmp_path / "model")
    lengths: list[int] = []

    def recorded(model: Any, backbone: Any, waves: Sequence[Any], *rest: Any) -> Vectors:
        lengths.extend(map(len, waves))
        return encode_with_gradient(model, backbone, waves, *rest)

    monkeypatch.setattr(training, "encode_with_gradient", recorded)
    adapt(world.corpus, features, recipe, tmp_path / "model", tmp_path / "adapter")
    assert set(lengths) == {4000}
    products = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert all(bool(tensor.any()) for tensor in products.values())
    assert SubspaceModel.from_pretrained(tmp_path / "adapter" / "model").reads_frames


def test_a_loss_that_is_not_finite_stops_the_training(world: World, tmp_path: Path) -> None:
    with pytest.raises(IntervoxError, match=r"the loss is nan at step \d+: lower adaptation.learning_rate"):
        world.adapt(tmp_path / "adapter", learning_rate=1e30)
    assert not (tmp_path / "adapter" / "backbone.json").exists()


def test_a_run_can_not_adapt_its_own_adapter(world: World, adapted: Path) -> None:
    recipe = world.recipe.model_copy(update={"backbone": str(adapted)})
    with pytest.raises(IntervoxError, match="give the recipe another name"):
        adapt(world.corpus, world.features, recipe, world.model, adapted)


def test_a_missing_package_names_the_extra(
    world: World, adapted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    for use in (lambda: world.adapt(tmp_path / "adapter"), lambda: load_backbone(str(adapted))):
        with pytest.raises(IntervoxError, match=r"pip install intervox\[adapt\]"):
            use()


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    base = save_family("hubert-base", tmp_path / "base")
    path = tmp_path / "tiny.yaml"
    recipe = {
        "name": "tiny",
        "backbone": str(base),
        "corpus": {
            "engines": [{"name": "espeak", "voices": 12}],
            "texts": {"count": 24},
            "train": {"blocks": 2, "speakers": 3, "contents": 3},
            "test": {"blocks": 1, "speakers": 2, "contents": 2},
            "conditions": {"rooms": 1, "count": 4, "room": 0},
        },
        "subspaces": {name: {"factor": name, "dim": 4} for name in ("speaker", "content")},
        "training": {"steps": 2},
        "adaptation": {"steps": 2, "blocks": [1], "blocks_per_step": 1},
    }
    path.write_text(yaml.safe_dump(recipe))
    return path


def test_the_command_takes_a_run_and_a_recipe_takes_its_adapter(
    recipe_file: Path, tmp_path: Path, speech: Speech
) -> None:
    app = typer.Typer()
    app.command()(cli_adapt.adapt)
    home = tmp_path / "run"
    call = [str(recipe_file), "--folder", str(home)]
    too_early = CliRunner().invoke(app, call)
    assert "run `intervox synth` first" in str(too_early.exception)
    run = pipeline.open_run(recipe_file, home)
    pipeline.synth(run)
    too_early = CliRunner().invoke(app, call)
    assert "run `intervox extract` first" in str(too_early.exception)
    pipeline.extract(run)
    too_early = CliRunner().invoke(app, call)
    assert "run `intervox refine` first" in str(too_early.exception)
    pipeline.refine(run)
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.exception
    assert str(home / "adapter") in done.output
    assert json.loads((home / "log.jsonl").read_text().splitlines()[-1])["step"] == "adapt"

    second = tmp_path / "second.yaml"
    recipe = yaml.safe_load(recipe_file.read_text()) | {"name": "second", "backbone": str(home / "adapter")}
    second.write_text(yaml.safe_dump(recipe))
    shutil.copytree(home / "corpus", tmp_path / "second" / "corpus")
    again = pipeline.open_run(second, tmp_path / "second")
    pipeline.extract(again)
    pipeline.refine(again)
    model = SubspaceModel.from_pretrained(tmp_path / "second" / "model")
    assert model.fingerprint == load_backbone(str(home / "adapter")).fingerprint
    assert model.encode([speech(0.7, 0)])["speaker"].shape == (1, 4)
