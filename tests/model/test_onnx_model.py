"""The model on onnxruntime against the same in PyTorch, and what is said where it can't be opened."""

import copy
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from intervox import SubspaceModel, load_model
from intervox.errors import IntervoxError
from intervox.model.files import default_model_folder
from intervox.model.onnx_model import OnnxModel
from tests.conftest import Speech


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    found = load_model()
    assert isinstance(found, OnnxModel)
    return found


@pytest.fixture(scope="module")
def torch_model() -> SubspaceModel:
    found = load_model(backend="torch")
    assert isinstance(found, SubspaceModel)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the packaged model."""
    return shutil.copytree(default_model_folder(), tmp_path / "model")


def test_it_is_close_to_pytorch(model: OnnxModel, torch_model: SubspaceModel, speech: Speech) -> None:
    clips = [speech(seconds, seed) for seed, seconds in enumerate((0.1, 0.6, 3.9, 4.1, 13.37))]
    found, wanted = model.encode(clips), torch_model.encode(clips)
    for space, dim in torch_model.dims.items():
        assert found[space].shape == (5, dim)
        np.testing.assert_allclose(np.linalg.norm(found[space], axis=1), 1, atol=1e-5)
        assert np.einsum("nd,nd->n", found[space], wanted[space]).min() > 0.99
    frames, wanted_frames = (each.encode(clips, frames=True) for each in (model, torch_model))
    for one, other in zip(frames["content"], wanted_frames["content"], strict=True):
        assert one.shape == other.shape
        assert np.einsum("nd,nd->n", one, other).mean() > 0.98


def test_it_knows_the_same_and_is_the_same(model: OnnxModel, torch_model: SubspaceModel) -> None:
    assert model.key == torch_model.key
    for name in ("name", "factors", "dims", "calibration", "measured", "window_seconds", "content_space"):
        assert getattr(model, name) == getattr(torch_model, name)
    assert model.references is not None
    assert torch_model.references is not None
    assert model.references.labels == torch_model.references.labels
    np.testing.assert_array_equal(
        model.references.vectors["speaker"], torch_model.references.vectors["speaker"]
    )
    one, other = model.own_matching(), torch_model.own_matching()
    np.testing.assert_array_equal(one.metric, other.metric)
    assert one[2:] == other[2:]


def test_decisions_are_the_same(model: OnnxModel, torch_model: SubspaceModel, speech: Speech) -> None:
    clips = speech(3.0, 0), speech(2.0, 1)
    one, other = model.compare(*clips), torch_model.compare(*clips)
    assert one.score == pytest.approx(other.score, abs=0.03)
    assert one.accepted == other.accepted
    assert model.match(*clips).answer == torch_model.match(*clips).answer


def test_a_clips_vectors_depend_on_nothing_else(model: OnnxModel, speech: Speech) -> None:
    clips = [speech(seconds, seed) for seed, seconds in enumerate((3.0, 0.5, 9.0, 1.0))]
    together = model.encode(iter(clips))["speaker"]
    for row, clip in zip(together, clips, strict=True):
        np.testing.assert_array_equal(row, model.encode([clip])["speaker"][0])
    alone = load_model(threads=1).encode(clips)["speaker"]
    np.testing.assert_array_equal(together, alone)
    assert [each["speaker"].tolist() for each in model.encode_iter(clips)] == together.tolist()
    assert model.encode([])["speaker"].shape == (0, 96)


def test_a_batch_is_its_clips(speech: Speech) -> None:
    session = onnxruntime.InferenceSession(default_model_folder() / "model.onnx")
    clips = [speech(1.0, 0), speech(5.5, 1)]
    batch = np.full((2, 90_000), 0.5, np.float32)  # what follows a clip is not looked at
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    names = ["speaker", "speaker.frames", "frame_counts"]
    lengths = np.array([len(clip) for clip in clips])
    vectors, frames, counts = session.run(names, {"audio": batch, "lengths": lengths})
    assert counts.tolist() == [50, 276]
    for row, part, clip in zip(vectors, np.split(frames, [50]), clips, strict=True):
        found = session.run(names, {"audio": clip[None], "lengths": np.array([len(clip)])})
        np.testing.assert_array_equal(row, found[0][0])
        np.testing.assert_array_equal(part, found[1])
        # The mean of a clip's frames, scaled to unit length, is the clip's vector.
        mean = part.mean(axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-5)


def test_it_is_copied_and_sent_to_other_processes(model: OnnxModel, speech: Speech) -> None:
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert (other.name, other.key) == (model.name, model.key)
        clips = [speech(0.5, 0)]
        np.testing.assert_array_equal(other.encode(clips)["speaker"], model.encode(clips)["speaker"])


def test_torch_comes_out_where_it_is_asked_for(model: OnnxModel, speech: Speech) -> None:
    import torch

    found = model.encode([speech(1.0, 0)], output="torch")["speaker"]
    assert isinstance(found, torch.Tensor)
    assert model.similarity(found, found).shape == (1, 1)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def of_another_model(path: Path) -> None:
    model = SubspaceModel.from_pretrained("default")
    model.mean += 1
    model.save_pretrained(path.parent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (half, r"model\.onnx is damaged \(.*\): run `intervox export` again"),
        (lambda path: path.write_bytes(b""), r"model\.onnx is damaged"),
        (of_another_model, "is not of the model beside it: run `intervox export` again"),
    ],
)
def test_a_damaged_graph(folder: Path, change: Callable[[Path], None], message: str) -> None:
    change(folder / "model.onnx")
    with pytest.raises(IntervoxError, match=message) as raised:
        load_model(folder)
    assert "\n" not in str(raised.value)


def test_a_folder_without_a_graph_is_opened_in_pytorch(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    found = load_model(folder, threads=1)
    assert isinstance(found, SubspaceModel)
    assert found.name == str(folder)
    with pytest.raises(IntervoxError, match=r"has no model\.onnx: run `intervox export`"):
        load_model(folder, backend="onnx")


def test_a_subspace_that_lacks_a_field(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["subspaces"]["speaker"]["dim"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(IntervoxError, match=r"`subspaces\.speaker\.dim` is missing"):
        load_model(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu", "backend": "onnx"}, "device 'tpu' is none of the installed onnxruntime"),
        ({"device": "tpu"}, "device 'tpu' can't be used"),
        ({"device": "cuda"}, "device 'cuda' can't be used"),
        ({"backend": "jax"}, "there is no backend 'jax'"),
        ({"threads": 0}, "threads is 0"),
        ({"threads": 0, "backend": "torch"}, "threads is 0"),
        ({"name": "nope"}, "holds no refined model"),
    ],
)
def test_what_can_not_be_opened(options: dict[str, str], message: str) -> None:
    with pytest.raises(IntervoxError, match=message):
        load_model(**options)  # type: ignore[arg-type]


def test_a_provider_is_found_by_its_short_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from intervox.model import onnx_model

    known = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: known)
    assert [onnx_model.provider(name) for name in ("cuda", "CPU", None)] == [known[0], known[1], known[1]]


def test_a_vector_is_finite_or_an_error(
    model: OnnxModel, monkeypatch: pytest.MonkeyPatch, speech: Speech
) -> None:
    broken = {space: [np.full(dim, np.nan, np.float32)] for space, dim in model.dims.items()}
    monkeypatch.setattr(model, "_vectors", lambda *_: broken)
    with pytest.raises(IntervoxError, match="not finite"):
        model.encode([speech(1.0, 0)])
