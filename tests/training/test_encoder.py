"""Tiny encoders in a step: their gradient, where they start, and every family trained where asked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from intervox.audio import Waveform
from intervox.backbones.load import load_backbone
from intervox.features.encoding import masked_mean
from intervox.model.model import SubspaceModel
from intervox.recipe import FeatureSettings, Recipe
from intervox.recipe.training import SubspaceSettings, TrainingSettings
from intervox.training.encoder import TrainableEncoder
from intervox.training.loop import Step
from intervox.training.losses import MultiPart
from intervox.training.refine import refine
from tests.backbones.test_backbones import FAMILIES, save_family
from tests.conftest import Speech
from tests.support.encoders import FULL, LORA, World, a_step, moved

SECONDS = (0.4, 1.3, 0.2, 0.9, 0.5)


def coupled(vectors: Mapping[str, Tensor]) -> Tensor:
    """A loss in which every clip meets every other, and the subspaces each other."""
    speaker, content = vectors["speaker"], vectors["content"]
    return torch.logsumexp(10 * speaker @ speaker.T - content @ content.T, dim=1).square().sum()


def gradients(step: Step) -> dict[str, Tensor]:
    found = {name: p.grad for name, p in step.named_parameters() if p.grad is not None}
    step.zero_grad()
    return found


def spied(encoder: TrainableEncoder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record how many clips each forward pass gets."""
    sizes: list[int] = []
    real = TrainableEncoder.forward

    def forward(self: TrainableEncoder, waves: Sequence[Waveform]) -> tuple[Tensor, Tensor]:
        sizes.append(len(waves))
        return real(self, waves)

    monkeypatch.setattr(type(encoder), "forward", forward)
    return sizes


@pytest.mark.parametrize("settings", [LORA, FULL], ids=["lora", "full"])
def test_recomputed_activations_give_the_gradient_of_the_whole_batch(
    world: World, speech: Speech, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    clips = [speech(seconds, seed) for seed, seconds in enumerate(SECONDS)]
    plain = a_step(world, world.varied(**settings))
    assert plain.encoder
    means = []
    for clip, count in zip(clips, (1, 3, 1, 2, 1), strict=True):
        states = plain.encoder.backbone.states(np.array_split(clip, count))
        weights = states.frames / states.frames.sum()
        means.append((masked_mean(states) * weights[:, None, None]).sum(dim=0))
    expected = coupled(plain.model(torch.stack(means)))
    torch.autograd.backward(expected)
    wanted = gradients(plain)
    trained = [name for name in wanted if name.startswith("encoder.")]
    assert len(trained) == len(plain.encoder.weights) > 0
    for batch_seconds, count in ((0.6, 5), (1.0, 4), (100.0, 1)):
        for graph_seconds, passes in ((0.01, 2), (100.0, 1)):
            recipe = world.varied(**settings, graph_seconds=graph_seconds).model_copy(
                update={"features": FeatureSettings(window_seconds=0.5, batch_seconds=batch_seconds)}
            )
            step = a_step(world, recipe)
            assert step.encoder
            with monkeypatch.context() as patch:
                sizes = spied(step.encoder, patch)
                value = coupled(step.embed(clips))
                assert len(sizes) == count
                torch.autograd.backward(value)
                assert len(sizes) == passes * count
            torch.testing.assert_close(value, expected.detach(), rtol=1e-5, atol=1e-5)
            found = gradients(step)
            assert found.keys() == wanted.keys()
            for name, gradient in wanted.items():
                scale = max(1e-3, float(gradient.abs().max()))
                torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-4 * scale)


def test_batches_hold_every_clip_within_the_budget(world: World, speech: Speech) -> None:
    clips = [speech(seconds, 0) for seconds in (1.9, 0.1, 0.3, 0.25, 0.1, 0.5, 0.12, 4.0)]
    encoder = a_step(world, world.recipe).encoder
    assert encoder
    batches = list(encoder.in_batches(clips, len))
    assert batches == [([1, 4, 6, 3], 4), ([2, 5], 2), ([0], 1), ([7], 1)]
    with torch.no_grad():
        assert [batch for batch, _ in encoder.in_batches(clips[:1], len)] == [[0]]


def test_nothing_is_computed_twice_without_a_gradient(
    world: World, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = a_step(world, world.varied(graph_seconds=0.01))
    assert step.encoder
    sizes = spied(step.encoder, monkeypatch)
    with torch.no_grad():
        step.embed([speech(0.5, 0), speech(0.9, 1)])
    assert sizes == [1, 1]


@pytest.mark.parametrize("initialisation", ["random", "lda"])
def test_the_start_is_the_model_of_the_frozen_backbone(
    world: World, tmp_path: Path, speech: Speech, initialisation: str
) -> None:
    clips = [speech(0.3, 0), speech(1.2, 1)]
    training = {"steps": 0, "initialisation": initialisation}
    frozen = refine(
        world.corpus.cells, world.features, world.varied(training | {"depth": "map"}), tmp_path / "map"
    )
    expected = frozen.encode(clips)
    for name, settings in {"lora": LORA, "full": FULL}.items():
        recipe = world.varied(training, **settings)
        model = SubspaceModel.from_pretrained(world.train(tmp_path / name, recipe))
        assert model.fingerprint != frozen.fingerprint
        encoder = TrainableEncoder(load_backbone(recipe.backbone), recipe)
        step = Step(model, MultiPart(recipe.subspaces, recipe.loss), encoder)
        for space, vectors in step.embed(clips).items():
            np.testing.assert_allclose(vectors.detach().numpy(), expected[space], atol=1e-4)
            np.testing.assert_allclose(model.encode(clips)[space], expected[space], atol=1e-5)


def test_the_maps_are_trained_before_the_encoder(world: World, tmp_path: Path, speech: Speech) -> None:
    recipe = world.varied({"steps": 0}, map_steps=6, **FULL)
    home = world.train(tmp_path / "deep", recipe)
    shallow = {"depth": "map", "steps": 6, "blocks_per_step": TrainingSettings().blocks_per_step}
    maps = refine(world.corpus.cells, world.features, world.varied(shallow), tmp_path / "map")
    clips = [speech(0.3, 0), speech(1.2, 1)]
    for space, vectors in SubspaceModel.from_pretrained(home).encode(clips).items():
        np.testing.assert_allclose(vectors, maps.encode(clips)[space], atol=1e-5)
    kept = [path / "model.safetensors" for path in (tmp_path / "deep-maps", tmp_path / "map")]
    assert kept[0].read_bytes() == kept[1].read_bytes()


def test_blocks_above_the_highest_layer_rest(world: World, speech: Speech) -> None:
    lower = {
        "speaker": SubspaceSettings(factor="speaker", dim=4, layers=(0, 2)),
        "content": SubspaceSettings(factor="content", dim=4, layers=(1,)),
    }
    step = a_step(world, world.recipe.model_copy(update={"subspaces": lower}))
    assert step.encoder
    ran: list[int] = []
    for number, block in enumerate(step.encoder.backbone.blocks):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    torch.autograd.backward(coupled(step.embed([speech(0.3, 0)])))
    assert ran == [0, 1]
    assert [p.grad is not None for p in step.encoder.backbone.blocks[2].parameters()].count(True) == 0
    assert all(weight.grad is not None for weight in step.encoder.weights)


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("name", [*FAMILIES, "whisper"])
def test_every_family_is_trained_where_it_is_asked_to(
    name: str, method: str, tmp_path: Path, speech: Speech
) -> None:
    base = str(save_family(name, tmp_path / "base"))
    backbone = load_backbone(base)
    clips = [speech(0.5, 0), speech(0.9, 1)]
    before, fingerprint = backbone.forward(clips).layers, backbone.fingerprint
    recipe = Recipe.model_validate(
        {
            "backbone": base,
            "subspaces": {factor: {"factor": factor, "layers": [3]} for factor in ("speaker", "content")},
            "encoder": {"method": method, "blocks": [1], "front_end": False}
            | ({"targets": ["q_proj", "out_proj"]} if method == "lora" else {}),
        }
    )
    encoder = TrainableEncoder(backbone, recipe)
    torch.testing.assert_close(backbone.forward(clips).layers, before, atol=1e-5, rtol=0)
    moved(encoder, 0.3)
    check_gradients(encoder, clips)
    after = backbone.forward(clips).layers
    torch.testing.assert_close(after[:, :2], before[:, :2], atol=1e-5, rtol=0)
    assert float((after[:, 2] - before[:, 2]).abs().max()) > 0.1
    saved = encoder.save(tmp_path / "trained")
    loaded = load_backbone(str(tmp_path / "trained"))
    torch.testing.assert_close(loaded.forward(clips).layers, after, atol=1e-4, rtol=1e-4)
    assert loaded.fingerprint == saved != fingerprint
    assert not any(weight.requires_grad for weight in loaded.model.parameters())


@pytest.mark.parametrize("name", [*FAMILIES, "whisper"])
def test_every_familys_front_end_is_trained_with_all_blocks_below(
    name: str, tmp_path: Path, speech: Speech
) -> None:
    base = str(save_family(name, tmp_path / "base"))
    subspaces = {factor: {"factor": factor, "layers": [0, 2]} for factor in ("speaker", "content")}
    recipe = Recipe.model_validate({"backbone": base, "subspaces": subspaces})
    backbone = load_backbone(base)
    encoder = TrainableEncoder(backbone, recipe)
    modules = (*backbone.front_end, *backbone.blocks[:2])
    chosen = {id(weight) for module in modules for weight in module.parameters()}
    assert {id(weight) for weight in encoder.weights} == chosen
    check_gradients(encoder, [speech(0.5, 0), speech(0.9, 1)])


def check_gradients(encoder: TrainableEncoder, clips: Sequence[Waveform]) -> None:
    """Every weight has a gradient: several processes would wait for one that has none."""
    states, mask = encoder(clips)
    # Not the square: a layer norm holds that constant.
    away = torch.randn(states.shape, generator=torch.Generator().manual_seed(2))
    torch.autograd.backward((away * states * mask[:, :, None, None]).sum())
    for weight in encoder.weights:
        assert weight.grad is not None
        # WavLM reads its projections' weights without calling them: they have to be reached all the same.
        # The bias of keys moves nothing: a softmax is blind to it.
        assert weight.ndim < 2 or float(weight.grad.abs().sum()) > 0
    encoder.zero_grad()
