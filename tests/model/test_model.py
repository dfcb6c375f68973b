"""What a model offers whatever its maps are: shapes, masks, linear parts, files, and clips."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import normalize

from intervox.backbones.load import load_backbone
from intervox.clips.labels import Clips
from intervox.clips.source import Recordings
from intervox.errors import IntervoxError
from intervox.evaluation import test_sets
from intervox.evaluation.representations import (
    BACKBONE,
    embed_rows,
    linear_spaces,
    subspace_basis,
    subspace_representations,
)
from intervox.features.encoding import layer_means
from intervox.features.extraction import extract
from intervox.model.model import SubspaceModel
from intervox.recipe import FeatureSettings
from tests.backbones.test_backbones import save_family
from tests.conftest import Speech

LAYERS, DIM = 3, 5
MAPS = ["linear", "mlp", "shared", "attentive"]
SPEAKER: dict[str, Any] = {"factor": "speaker", "dim": 3, "width": 7, "layers": [0, 2]}


def a_model(
    kind: str,
    combine: str = "concat",
    backbone: str = "none",
    layers: int = LAYERS,
    dim: int = DIM,
    **more: Any,
) -> SubspaceModel:
    """Random weights everywhere; the second space is linear."""
    torch.manual_seed(0)
    first = SPEAKER | {"map": kind, "combine": combine} | more
    spaces = {"speaker": first, "content": first | {"factor": "content", "dim": 2, "map": "linear"}}
    model = SubspaceModel(backbone, layers, dim, spaces)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter)
    torch.nn.init.normal_(model.mean)
    torch.nn.init.uniform_(model.scale, 0.5, 2)
    return model


def some_frames() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    frames = torch.randn(4, 6, LAYERS, DIM)
    mask = torch.arange(6) < torch.tensor([6, 2, 4, 1])[:, None]
    return torch.where(mask[..., None, None], frames, 1e3), mask


@pytest.mark.parametrize("kind", MAPS)
def test_padding_changes_nothing(kind: str) -> None:
    model = a_model(kind)
    frames, mask = some_frames()
    together = model(frames, mask)
    for row, real in enumerate(mask):
        alone = model(frames[row : row + 1, real])
        for name, vectors in together.items():
            torch.testing.assert_close(vectors[row], alone[name][0], atol=1e-5, rtol=1e-4)
            assert vectors[row].norm().item() == pytest.approx(1, abs=1e-5)
    projected = model.project(frames.numpy(), mask.numpy())
    np.testing.assert_allclose(projected["speaker"], together["speaker"].detach(), atol=1e-6)


@pytest.mark.parametrize("kind", ["linear", "mlp", "shared"])
def test_maps_that_read_means_average_real_frames(kind: str) -> None:
    model = a_model(kind)
    frames, mask = some_frames()
    means = torch.stack([clip[real].mean(dim=0) for clip, real in zip(frames, mask, strict=True)])
    assert not model.reads_frames
    torch.testing.assert_close(model(frames, mask), model(means), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", MAPS)
def test_a_frame_is_a_clip_of_one(kind: str) -> None:
    model = a_model(kind)
    frames = some_frames()[0][0]
    found = model(frames)
    one_by_one = model(frames[:, None], torch.ones(6, 1, dtype=torch.bool))
    torch.testing.assert_close(found, one_by_one, atol=1e-5, rtol=1e-4)
    assert found["speaker"].shape == (6, 3)


def test_attention_sees_what_means_hide() -> None:
    model = a_model("attentive")
    frames, mask = some_frames()
    assert model.reads_frames
    means = torch.stack([clip[real].mean(dim=0) for clip, real in zip(frames, mask, strict=True)])
    by_frames, by_means = model(frames, mask), model(means)
    assert (by_frames["speaker"] - by_means["speaker"])[:3].abs().max() > 0.1
    torch.testing.assert_close(by_frames["content"], by_means["content"], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("combine", ["concat", "sum"])
def test_linear_parts_are_what_the_model_computes(combine: str) -> None:
    model = a_model("linear", combine, erase=["condition"], erased_directions=2)
    means = torch.randn(50, LAYERS, DIM)
    for name in model.subspaces:
        model.fit_erasure(name, means, {"condition": np.arange(50) % 4})
    maps = model.maps()
    assert maps["speaker"].shape == (3, LAYERS * DIM)
    assert (maps["speaker"][:, DIM : 2 * DIM] == 0).all()
    # The bias of a linear map is not part of it: what is left is the difference of two clips.
    subspace = model.subspace("speaker")
    standard = model.standardise(means)
    mapped = subspace.map(subspace.combine(standard))
    flat = standard.flatten(1)
    torch.testing.assert_close(
        mapped - mapped[:1], (flat - flat[:1]) @ maps["speaker"].T, atol=1e-4, rtol=1e-3
    )
    torch.autograd.backward(maps["speaker"].square().sum())
    assert subspace.layer_logits.grad is not None


def test_an_attentive_map_has_a_linear_part_but_no_linear_subspace() -> None:
    assert set(a_model("mlp").maps()) == set(a_model("shared").maps()) == {"content"}
    model = a_model("attentive")
    assert set(model.maps()) == {"speaker", "content"}
    assert linear_spaces(model) == ["content"]
    with pytest.raises(IntervoxError, match="'speaker' has an attentive map"):
        subspace_basis(model, "speaker")
    assert linear_spaces(a_model("linear")) == ["speaker", "content"]


def test_erasure_comes_before_the_map_and_for_frames_too() -> None:
    model = a_model("linear", erase=["condition", "engine"], erased_directions=3, shrinkage=0)
    torch.manual_seed(3)
    shifts = {"condition": torch.randn(3, LAYERS, DIM), "engine": torch.randn(2, LAYERS, DIM)}
    labels = {"condition": np.arange(300) % 3, "engine": np.arange(300) // 150}
    means = torch.randn(300, LAYERS, DIM)
    for factor, shift in shifts.items():
        means += 5 * shift[labels[factor]]
    model.set_standardisation(means.mean(dim=0), means.std(dim=0))
    for name in model.subspaces:
        model.fit_erasure(name, means, labels)
    erased = model.erased("speaker", model.standardise(means))
    for numbers in labels.values():
        groups = torch.stack([erased[numbers == n].mean(dim=0) for n in np.unique(numbers)])
        # All directions of both factors fit, so that their class means coincide.
        assert (groups - groups[:1])[:, [0, 2]].abs().max() < 1e-3
    untouched = model.standardise(means)[:, 1]
    torch.testing.assert_close(erased[:, 1], untouched)
    # Moving a clip as far as two conditions are apart changes nothing now.
    averages = [means[labels["condition"] == n].mean(dim=0) for n in (0, 1)]
    moved = means + averages[1] - averages[0]
    for space in ("speaker", "content"):
        torch.testing.assert_close(model(means)[space], model(moved)[space], atol=1e-3, rtol=0)
    plain = a_model("linear")
    plain.set_standardisation(means.mean(dim=0), means.std(dim=0))
    assert (plain(means)["speaker"] - plain(moved)["speaker"]).abs().max() > 1
    frame_by_frame = model(means[:7])
    torch.testing.assert_close(frame_by_frame["speaker"], model(means[:7])["speaker"])


@pytest.mark.parametrize("kind", MAPS)
def test_a_saved_model_gives_the_same_vectors(kind: str, tmp_path: Path) -> None:
    model = a_model(kind, erase=["condition"], erased_directions=2)
    means = torch.randn(40, LAYERS, DIM)
    for name in model.subspaces:
        model.fit_erasure(name, means, {"condition": np.arange(40) % 3})
    model.save_pretrained(tmp_path)
    again = SubspaceModel.from_pretrained(tmp_path)
    frames, mask = some_frames()
    for name, vectors in model(frames, mask).items():
        torch.testing.assert_close(again(frames, mask)[name], vectors, atol=1e-6, rtol=0)
    assert again.state_dict().keys() == model.state_dict().keys()


@pytest.mark.parametrize("kind", MAPS)
def test_a_copy_has_weights_of_its_own(kind: str) -> None:
    model = a_model(kind)
    frames, mask = some_frames()
    before = {name: vectors.detach().clone() for name, vectors in model(frames, mask).items()}
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(-0.5).add_(0.1)
    torch.testing.assert_close(model(frames, mask), before)
    assert (twin(frames, mask)["speaker"] - before["speaker"]).abs().max() > 0.01


def test_settings_that_a_file_lacks_are_the_usual_ones(tmp_path: Path) -> None:
    model = SubspaceModel("none", LAYERS, DIM, {"speaker": {"factor": "speaker", "dim": 4}})
    torch.nn.init.normal_(model.mean)
    model.save_pretrained(tmp_path)
    assert set(load_file(tmp_path / "model.safetensors")) == {
        "mean", "scale", "subspaces.speaker.layer_logits",
        "subspaces.speaker.map.weight", "subspaces.speaker.map.bias",
    }  # fmt: skip
    config = json.loads((tmp_path / "config.json").read_text())
    config["subspaces"] = {
        "speaker": {"factor": "speaker", "dim": 4, "layers": None, "combine": "concat", "map": "linear",
                    "temperature": 0.2, "weight": 1.0, "shrinkage": 0.1, "reliability": 0.25}
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    means = torch.randn(3, LAYERS, DIM)
    weight, bias = model.subspace("speaker").map.parameters()
    by_hand = normalize(((means - model.mean) / model.scale).flatten(1) @ weight.T + bias, dim=1)
    torch.testing.assert_close(SubspaceModel.from_pretrained(tmp_path)(means)["speaker"], by_hand)


@pytest.mark.parametrize("family", ["whisper", "wav2vec2-base"])
@pytest.mark.parametrize("kind", ["attentive", "linear"])
def test_a_clip_has_one_vector_alone_and_in_any_batch(
    kind: str, family: str, tmp_path: Path, speech: Speech
) -> None:
    backbone = load_backbone(str(save_family(family, tmp_path)))
    model = a_model(kind, backbone=backbone.name, layers=backbone.layers, dim=backbone.dim)
    model.window_seconds = 1.0
    clips = [speech(seconds, seed) for seed, seconds in enumerate((0.5, 2.3, 0.9, 1.2))]
    together = model.encode(clips, batch_seconds=3.0)
    frames = model.encode(clips, batch_seconds=3.0, frames=True)
    settings = FeatureSettings(window_seconds=1.0)
    for index, clip in enumerate(clips):
        alone = model.encode([clip])
        counted = int(layer_means(backbone, [clip], settings)[1][0])
        for name, vectors in together.items():
            np.testing.assert_allclose(vectors[index], alone[name][0], atol=1e-4)
            np.testing.assert_allclose(
                model.encode([clip], frames=True)[name][0], frames[name][index], atol=1e-3
            )
            assert frames[name][index].shape == (counted, vectors.shape[1])
    # Three windows of the second clip, pooled as one clip, in their order.
    parts = [backbone.forward([part]) for part in np.array_split(clips[1], 3)]
    states = torch.cat([part.layers[0].transpose(0, 1) for part in parts])
    np.testing.assert_allclose(model(states[None])["speaker"][0].detach(), together["speaker"][1], atol=1e-4)
    np.testing.assert_allclose(model(states)["speaker"].detach(), frames["speaker"][1], atol=1e-3)
    assert model.encode([])["speaker"].shape == (0, 3)


@pytest.mark.parametrize("kind", ["attentive", "linear"])
def test_cached_features_are_embedded_as_the_clips_are(
    kind: str, tmp_path: Path, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    import soundfile as sf

    monkeypatch.setattr("intervox.evaluation.representations._CHUNK", 2)
    backbone = load_backbone(str(save_family("whisper", tmp_path / "backbone")))
    model = a_model(kind, backbone=backbone.name, layers=backbone.layers, dim=backbone.dim)
    paths = [tmp_path / f"{index}.wav" for index in range(5)]
    for index, path in enumerate(paths):
        sf.write(path, speech((0.9, 0.4, 1.3, 0.4, 0.7)[index], index), 16_000, "FLOAT")
    features = extract(
        Recordings(paths), backbone, FeatureSettings(), tmp_path / "features", frames=model.reads_frames
    )
    monkeypatch.setattr(type(features).batches, "__defaults__", (60 * backbone.layers * backbone.dim,))
    rows = np.array([3, 0, 2, 4])
    found = embed_rows(model, features, rows)
    encoded = model.encode([paths[row] for row in rows])
    view = test_sets.View(np.arange(4), {BACKBONE: features}, rows)
    clips = Clips(np.array(["a"] * 4), {}, np.ones(4), np.array(["test"] * 4))
    test_set = test_sets.TestSet("mine", "none", clips, {test_sets.CLEAN: view}, {})
    for space in subspace_representations(model):
        # Features are kept in half precision.
        np.testing.assert_allclose(found[space.name], encoded[space.name], atol=5e-3)
        np.testing.assert_allclose(space.vectors(test_set, test_sets.CLEAN), found[space.name], atol=5e-3)
        assert space.frames == (kind == "attentive" and space.name == "speaker")
