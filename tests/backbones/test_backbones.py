"""Real loading code on tiny random checkpoints of every family."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from intervox.backbones.bundled import BUNDLED, bundled_checkpoint
from intervox.backbones.load import load_backbone
from intervox.errors import IntervoxError
from intervox.features.encoding import layer_means, masked_mean
from intervox.recipe import FeatureSettings
from tests.conftest import Speech

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16, 16, 16),
    "conv_kernel": (10, 3, 3),
    "conv_stride": (5, 8, 8),
    "num_conv_pos_embedding_groups": 4,
    "num_feat_extract_layers": 3,
}
STABLE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}

FAMILIES: dict[str, tuple[Any, dict[str, Any]]] = {
    "wav2vec2-base": (transformers.Wav2Vec2Model, SMALL | {"num_conv_pos_embeddings": 16}),
    "wav2vec2-large": (transformers.Wav2Vec2Model, SMALL | STABLE | {"num_conv_pos_embeddings": 16}),
    "hubert-base": (transformers.HubertModel, SMALL | {"num_conv_pos_embeddings": 16}),
    "hubert-large": (transformers.HubertModel, SMALL | STABLE | {"num_conv_pos_embeddings": 16}),
    "wavlm-base": (transformers.WavLMModel, SMALL | {"num_conv_pos_embeddings": 16}),
    "wavlm-large": (transformers.WavLMModel, SMALL | STABLE | {"num_conv_pos_embeddings": 16}),
    "data2vec": (
        transformers.Data2VecAudioModel,
        SMALL | {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 7, "feat_extract_norm": "layer"},
    ),
    "unispeech-sat": (transformers.UniSpeechSatModel, SMALL | {"num_conv_pos_embeddings": 16}),
}


def save_family(name: str, folder: Path) -> Path:
    """Write a random checkpoint of a family as ``save_pretrained`` does."""
    torch.manual_seed(0)
    if name == "whisper":
        config = transformers.WhisperConfig(
            d_model=32, encoder_layers=3, encoder_attention_heads=4, encoder_ffn_dim=48,
            decoder_layers=1, decoder_attention_heads=4, decoder_ffn_dim=48, vocab_size=60,
            pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
        )  # fmt: skip
        transformers.WhisperForConditionalGeneration(config).save_pretrained(folder)
        transformers.WhisperFeatureExtractor().save_pretrained(folder)
        return folder
    model_class, settings = FAMILIES[name]
    model = model_class(model_class.config_class(**settings)).eval()
    # A random initialisation is near zero; these weights make every layer matter.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)
    model.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def cached_repository(cache: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the hub's cache keeps a repository's files; the folder is not there yet."""
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots").mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    return repository / "snapshots" / "abc"


@pytest.mark.parametrize("name", [*FAMILIES, "whisper"])
def test_a_clip_is_the_same_alone_and_in_any_batch(name: str, tmp_path: Path, speech: Speech) -> None:
    backbone = load_backbone(str(save_family(name, tmp_path)))
    clips = [speech(seconds, seed) for seed, seconds in enumerate((0.5, 2.0, 1.234, 0.03, 0.9))]
    batch = backbone.forward(clips)
    assert batch.layers.shape[:2] == (len(clips), backbone.layers)
    assert batch.layers.shape[3] == backbone.dim
    for index, clip in enumerate(clips):
        alone = backbone.forward([clip])
        frames = int(alone.frames[0])
        assert int(batch.frames[index]) == frames == alone.layers.shape[2]
        difference = (batch.layers[index][:, :frames] - alone.layers[0]).abs().max()
        assert float(difference) < 1e-4
        assert float(alone.layers.std()) > 0.01


@pytest.mark.parametrize("name", FAMILIES)
def test_layers_agree_with_the_models_own_hidden_states(name: str, tmp_path: Path, speech: Speech) -> None:
    folder = save_family(name, tmp_path)
    backbone = load_backbone(str(folder))
    clip = speech(1.0, 0)
    ours = backbone.forward([clip]).layers[0]
    inputs = transformers.AutoFeatureExtractor.from_pretrained(folder)(
        clip, sampling_rate=16_000, return_tensors="pt"
    )
    model = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        theirs = model(inputs.input_values, output_hidden_states=True)
    torch.testing.assert_close(ours[-1], theirs.last_hidden_state[0], atol=1e-4, rtol=1e-4)
    for layer in range(3):
        torch.testing.assert_close(ours[layer], theirs.hidden_states[layer][0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", [*FAMILIES, "whisper"])
def test_states_end_at_the_highest_layer_and_forward_passes_no_gradient(
    name: str, tmp_path: Path, speech: Speech
) -> None:
    backbone = load_backbone(str(save_family(name, tmp_path)))
    clips = [speech(0.6, 0), speech(1.0, 1)]
    every = backbone.forward(clips)
    ran: list[int] = []
    for number, block in enumerate(backbone.blocks):
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    for highest in range(backbone.layers):
        ran.clear()
        some = backbone.states(clips, highest)
        assert torch.equal(some.layers, every.layers[:, : highest + 1])
        assert torch.equal(some.frames, every.frames)
        assert max(ran, default=0) <= max(highest - 1, 0)
    assert not some.layers.requires_grad
    weight = next(backbone.blocks[1].parameters()).requires_grad_()
    assert not backbone.forward(clips).layers.requires_grad
    torch.autograd.backward(backbone.states(clips).layers.sum())
    assert weight.grad is not None


def test_whisper_layers_agree_with_transformers_on_a_full_window(tmp_path: Path, speech: Speech) -> None:
    folder = save_family("whisper", tmp_path)
    clip = speech(30.0, 0)
    ours = load_backbone(str(folder)).forward([clip]).layers[0]
    features = transformers.WhisperFeatureExtractor()(clip, sampling_rate=16_000, return_tensors="pt")
    encoder = transformers.WhisperModel.from_pretrained(folder).encoder.eval()
    with torch.inference_mode():
        theirs = encoder(features.input_features, output_hidden_states=True)
    # The last analysis window reflects the signal there and meets zeros here: one frame differs.
    torch.testing.assert_close(ours[-1][:-4], theirs.last_hidden_state[0][:-4], atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(ours[0][:-4], theirs.hidden_states[0][0][:-4], atol=2e-3, rtol=1e-3)


def test_long_clips_are_means_of_windows_and_order_is_kept(speech: Speech) -> None:
    backbone = load_backbone(BUNDLED)
    clips = [speech(6.0, 0), speech(0.5, 1), speech(2.0, 2)]
    means, frames = layer_means(backbone, clips, FeatureSettings(window_seconds=3.0, batch_seconds=3.0))
    assert frames.tolist() == [300, 25, 100]
    halves = masked_mean(backbone.forward([clips[0][:48_000], clips[0][48_000:]])).numpy()
    np.testing.assert_allclose(means[0], halves.mean(axis=0), atol=1e-4)
    alone, _ = layer_means(backbone, clips[1:2], FeatureSettings())
    np.testing.assert_allclose(means[1], alone[0], atol=1e-4)


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("place", ["folder", "hub"])
def test_pickled_weights_are_refused_at_once(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a repository that is cached, when the hub can't be reached."""
    folder = save_family("wavlm-base", cached_repository(tmp_path, "someone/wavlm", monkeypatch))
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Bomb(tmp_path / "exploded")}, folder / "pytorch_model.bin")
    asked: list[object] = []

    def unreachable(*words: object, **_options: object) -> None:
        asked.append(words)
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.utils.get_session", lambda: SimpleNamespace(head=unreachable))
    with pytest.raises(IntervoxError, match="pickled weights are never loaded"):
        load_backbone("someone/wavlm" if place == "hub" else str(folder))
    assert len(asked) == (place == "hub")
    assert not (tmp_path / "exploded").exists()


OLD = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
"""How PyTorch names the parts of a normalised weight now, and did when most checkpoints were made."""


@pytest.mark.parametrize(
    "name", ["wavlm-base", "wavlm-large", "wav2vec2-base", "hubert-base", "unispeech-sat"]
)
def test_weights_under_their_old_names_are_the_same(name: str, tmp_path: Path, speech: Speech) -> None:
    weights = save_family(name, tmp_path) / "model.safetensors"
    tensors = load_file(weights)
    normalised = [(new, old, key) for new, old in OLD.items() for key in tensors if new in key]
    renamed = {key.replace(new, old): tensors.pop(key) for new, old, key in normalised}
    assert len(renamed) == 2
    expected = load_backbone(str(tmp_path)).forward([speech(1.0, 0)]).layers
    # Fine-tuned checkpoints have the encoder's name in front.
    prefix = transformers.AutoModel.from_pretrained(tmp_path).base_model_prefix
    for front in ("", f"{prefix}."):
        made = {front + key: tensor for key, tensor in (tensors | renamed).items()}
        save_file(made, weights, {"format": "pt"})
        found = load_backbone(str(tmp_path)).forward([speech(1.0, 0)]).layers
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    # Without them they would be random.
    save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(IntervoxError, match=r"lacks weights \(encoder\.pos_conv_embed\.conv\."):
        load_backbone(str(tmp_path))


@pytest.mark.parametrize("name", ["bundled:nothing", "no/such-model", "./nowhere"])
def test_unknown_names_say_what_to_give(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(IntervoxError, match="bundled:whisper-tiny.en"):
        load_backbone(name)


def test_an_unsupported_family_is_named(tmp_path: Path) -> None:
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(IntervoxError, match="'bert'.*wav2vec2"):
        load_backbone(str(tmp_path))


def test_the_fingerprint_is_of_the_weights_and_not_of_the_place(tmp_path: Path) -> None:
    first = load_backbone(str(save_family("hubert-base", tmp_path / "a")))
    again = load_backbone(str(save_family("hubert-base", tmp_path / "b")))
    assert first.fingerprint == again.fingerprint
    other = load_backbone(str(save_family("wavlm-base", tmp_path / "c")))
    assert other.fingerprint != first.fingerprint


@pytest.fixture(scope="module")
def full_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint with a decoder whose encoder is the bundled one."""
    folder = tmp_path_factory.mktemp("full")
    config = transformers.WhisperConfig.from_pretrained(bundled_checkpoint(BUNDLED))
    config.update({"decoder_layers": 1, "decoder_ffn_dim": 16, "vocab_size": 60, "pad_token_id": 0})
    model = transformers.WhisperForConditionalGeneration(config)
    model.model.encoder.load_state_dict(load_backbone(BUNDLED, "cpu").model.state_dict())
    model.save_pretrained(folder)
    transformers.WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def test_one_encoder_has_one_fingerprint_wherever_it_comes_from(
    full_whisper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(full_whisper, cached_repository(tmp_path, "someone/whisper", monkeypatch))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    sources = BUNDLED, str(full_whisper), "someone/whisper"
    assert len({load_backbone(source, "cpu").fingerprint for source in sources}) == 1


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("whisper", {"activation_function": "relu"}),
        ("whisper", {"encoder_attention_heads": 2}),
        ("wavlm-base", {"hidden_act": "relu"}),
        ("hubert-base", {"num_attention_heads": 2}),
        ("wavlm-base", {"conv_stride": [5, 8, 4]}),
    ],
)
def test_what_changes_the_encoder_changes_the_fingerprint(
    name: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    folder = save_family(name, tmp_path)
    before = load_backbone(str(folder)).fingerprint
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dropout": 0.3, "decoder_layerdrop": 0.2}))
    assert load_backbone(str(folder)).fingerprint == before
    (folder / "config.json").write_text(json.dumps(config | changes))
    assert load_backbone(str(folder)).fingerprint != before


@pytest.mark.parametrize("name", ["whisper", "wav2vec2-base"])
def test_rounding_or_preprocessing_changes_the_fingerprint(name: str, tmp_path: Path) -> None:
    folder = save_family(name, tmp_path)
    before = load_backbone(str(folder)).fingerprint
    extractor = folder / "preprocessor_config.json"
    kept = extractor.read_text()
    changed = {"do_normalize": False, "sampling_rate": 8_000}
    extractor.write_text(json.dumps(json.loads(kept) | changed))
    assert load_backbone(str(folder)).fingerprint != before
    extractor.write_text(kept)
    weights = folder / "model.safetensors"
    save_file({key: tensor.half() for key, tensor in load_file(weights).items()}, weights, {"format": "pt"})
    assert load_backbone(str(folder)).fingerprint != before


def test_weights_that_do_not_fit_the_configuration_are_refused(tmp_path: Path) -> None:
    config = save_family("hubert-base", tmp_path) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"hidden_size": 64}))
    with pytest.raises(IntervoxError, match="fits its config.json"):
        load_backbone(str(tmp_path))


def test_a_backbone_moves(tmp_path: Path) -> None:
    backbone = load_backbone(str(save_family("wav2vec2-base", tmp_path)), "cpu")
    assert backbone.device == torch.device("cpu")
    assert backbone.to("meta").device == torch.device("meta")


def test_an_incomplete_checkpoint_is_refused(tmp_path: Path) -> None:
    weights = save_family("hubert-base", tmp_path) / "model.safetensors"
    tensors = load_file(weights)
    del tensors["encoder.layers.1.attention.q_proj.weight"]
    save_file(tensors, weights, {"format": "pt"})
    with pytest.raises(IntervoxError, match=r"lacks weights \(encoder.layers.1.attention.q_proj.weight"):
        load_backbone(str(tmp_path))
