"""What ``encode`` takes and gives: any source, generators in bounded memory, NumPy or torch."""

import io
import weakref
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from rich.console import Console

from intervox import SubspaceModel
from intervox.audio import Waveform, encode_flac
from intervox.errors import IntervoxError
from intervox.model import embedder
from tests.conftest import Speech


@pytest.fixture(scope="module")
def model() -> SubspaceModel:
    return SubspaceModel.from_pretrained("default")


def test_every_kind_of_source_gives_the_same_vectors(
    model: SubspaceModel, speech: Speech, tmp_path: Path
) -> None:
    data = encode_flac(speech(0.7, 3))
    path = tmp_path / "a.flac"
    path.write_bytes(data)
    wave, rate = sf.read(path, dtype="float32")
    sources = [
        path, str(path), data, io.BytesIO(data), wave, torch.from_numpy(wave), (wave, rate),
        {"array": wave, "sampling_rate": rate},
        {"bytes": data, "path": None}, {"bytes": None, "path": str(path)},
    ]  # fmt: skip
    found = model.encode(sources)
    for vectors in found.values():
        np.testing.assert_allclose(vectors, vectors[:1].repeat(len(sources), 0), atol=1e-5)


def test_a_generator_is_read_as_it_is_needed(
    model: SubspaceModel, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "_BATCHES_AT_ONCE", 2)
    loaded: list[weakref.ref[Waveform]] = []
    most = 0

    def load(wave: Waveform) -> Waveform:
        nonlocal most
        copy = wave.copy()
        loaded.append(weakref.ref(copy))
        most = max(most, sum(each() is not None for each in loaded))
        return copy

    clips = [speech(0.5, seed) for seed in range(30)]
    expected = model.encode(clips)
    monkeypatch.setattr(embedder, "load_audio", load)
    stream = model.encode_iter(iter(clips), batch_seconds=1.0)
    assert not loaded
    first = next(stream)
    assert len(loaded) == 4  # two batches of two clips
    rest = list(stream)
    assert len(loaded) == 30
    assert most <= 9  # this group's and the last one's
    for name, vectors in expected.items():
        streamed = np.stack([first[name], *(clip[name] for clip in rest)])
        np.testing.assert_allclose(streamed, vectors, atol=1e-4)


def test_what_was_yielded_before_a_bad_clip_is_kept(
    model: SubspaceModel, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "_BATCHES_AT_ONCE", 1)
    stream = model.encode_iter([speech(1.0, 0), np.zeros(16_000, np.float32)], batch_seconds=1.0)
    assert next(stream)["speaker"].shape == (96,)
    with pytest.raises(IntervoxError, match="silent"):
        next(stream)


def test_torch_comes_out_where_it_is_asked_for(model: SubspaceModel, speech: Speech) -> None:
    clips = [speech(0.5, 0), speech(1.2, 1)]
    arrays, tensors = model.encode(clips), model.encode(clips, output="torch")
    for name, vectors in tensors.items():
        assert isinstance(vectors, torch.Tensor)
        np.testing.assert_array_equal(vectors.numpy(), arrays[name])
    frames = model.encode(clips, frames=True, output="torch")
    assert [len(clip) for clip in frames["content"]] == [25, 60]
    assert model.encode(iter([]), output="torch")["speaker"].shape == (0, 96)
    with pytest.raises(IntervoxError, match="there is no output 'jax': choose numpy or torch"):
        model.encode(clips, output="jax")  # type: ignore[call-overload]


@pytest.mark.parametrize("given", ["path", "bytes", "file", "row", "wave", "pair"])
def test_one_clip_instead_of_a_list_is_refused(given: str, model: SubspaceModel, wav: Path) -> None:
    wave, rate = sf.read(wav)
    sources = {
        "path": wav, "bytes": wav.read_bytes(), "file": io.BytesIO(wav.read_bytes()),
        "row": {"array": wave, "sampling_rate": rate}, "wave": wave, "pair": (wave, rate),
    }  # fmt: skip
    with pytest.raises(IntervoxError, match=r"write encode\(\[clip\]\)"):
        model.encode(sources[given])  # type: ignore[arg-type]


def test_similarity_is_the_cosine() -> None:
    random = np.random.default_rng(0)
    a, b = (random.normal(size=(size, 8)).astype(np.float32) for size in (3, 5))
    by_hand = [[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in b] for x in a]
    np.testing.assert_allclose(SubspaceModel.similarity(a, b), by_hand, atol=1e-6)
    np.testing.assert_allclose(SubspaceModel.similarity(a[0], b), by_hand[:1], atol=1e-6)
    np.testing.assert_allclose(SubspaceModel.similarity_pairwise(a, b[:3]), np.diag(by_hand), atol=1e-6)
    tensors = SubspaceModel.similarity(torch.from_numpy(a), torch.from_numpy(b))
    assert isinstance(tensors, torch.Tensor)
    np.testing.assert_allclose(tensors, by_hand, atol=1e-6)
    with pytest.raises(IntervoxError, match=r"\(3, 8\) and \(5, 7\) can't be compared"):
        SubspaceModel.similarity(a, b[:, :7])
    with pytest.raises(IntervoxError, match="3 embeddings can't be paired with 5"):
        SubspaceModel.similarity_pairwise(a, b)


def test_the_packaged_model_carries_references(model: SubspaceModel) -> None:
    references = model.references
    assert references
    assert set(references.vectors) == set(model.subspaces)
    assert set(references.labels["condition"]) == {"clean", "cross_condition"}
    for name, factor in model.factors.items():
        vectors, labels = references.vectors[name], np.array(references.labels[factor])
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=2e-3)
        same = labels[:, None] == labels
        np.fill_diagonal(same, False)
        cosines = vectors @ vectors.T
        assert cosines[same].mean() > cosines[labels[:, None] != labels].mean() + 0.3


def test_the_key_changes_with_the_embeddings_alone(model: SubspaceModel) -> None:
    assert model.references
    other = SubspaceModel.from_pretrained("default")
    assert other.key == model.key
    other.references = type(model.references)(
        {name: vectors[:9] for name, vectors in model.references.vectors.items()},
        {name: labels[:9] for name, labels in model.references.labels.items()},
    )
    other.calibration = {}
    assert other.key == model.key
    other.mean[0, 0] += 1e-3
    assert other.key != model.key


def test_a_model_moves_and_its_backbone_follows(monkeypatch: pytest.MonkeyPatch, speech: Speech) -> None:
    model = SubspaceModel.from_pretrained("default", device="cpu")
    assert model.device == torch.device("cpu")
    before = model.encode([speech(0.5, 0)])["speaker"]
    backbone = model.own_backbone()
    moved: list[str] = []
    monkeypatch.setattr(backbone, "to", lambda device: moved.append(str(device)))
    np.testing.assert_array_equal(model.to("cpu").encode([speech(0.5, 0)])["speaker"], before)
    assert moved == ["cpu"]
    monkeypatch.undo()
    assert model.to("meta").device == backbone.device == torch.device("meta")
    assert next(backbone.model.parameters()).dtype == torch.float32
    assert SubspaceModel.from_pretrained("default", device="meta").device == torch.device("meta")


def test_a_backbone_is_loaded_where_the_model_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SubspaceModel.from_pretrained("default", device="meta")
    assert model.own_backbone().device == torch.device("meta")


def test_progress_is_shown_where_it_is_asked_for(
    model: SubspaceModel, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.StringIO()
    monkeypatch.setattr("intervox.progress.console", Console(file=shown, width=120, force_terminal=True))
    clips = [speech(0.5, seed) for seed in range(3)]
    quiet = model.encode(clips)
    assert not shown.getvalue()
    loud = model.encode(clips, show_progress=True)
    assert "3/3" in shown.getvalue()
    np.testing.assert_array_equal(loud["speaker"], quiet["speaker"])
    assert len(model.encode(iter(clips), show_progress=True)["speaker"]) == 3
