"""Using a model needs neither PyTorch nor anything of training, and no command imports what it does not use."""

from pathlib import Path

import pytest
import soundfile as sf

from tests.support.absent import TRAIN
from tests.support.spoken import SENTENCES, spoken

WATCHED = (
    *("numpy", "onnxruntime", "soundfile", "soxr", "safetensors", "pydantic", "rich", "huggingface_hub"),
    *("yaml", "espeakng_loader", "ctranslate2", "pyworld", "ray", "gradio", "onnx", "datasets", "av", *TRAIN),
)
"""Packages whose import costs time, or that may be absent."""

_LISTING = """
import json, sys
from intervox.cli.app import main
try:
    main()
finally:
    print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}} & set({watched!r}))), file=open({out!r}, "w"))
"""

MODEL = {"numpy", "onnxruntime", "soundfile", "soxr", "safetensors", "pydantic"}
"""What opens a model and reads clips."""

USES: dict[str, set[str]] = {
    "--version": {"rich"},
    "--help": {"rich"},
    "embed a.wav": MODEL,
    "embed a.wav b.wav --out vectors.npz": MODEL | {"rich"},
    "verify a.wav b.wav": MODEL,
    "match a.wav b.wav": MODEL,
    "enrol alice a.wav --into people.safetensors": MODEL,
    "spot a.wav --examples word=b.wav": MODEL | {"rich"},
    "engines": {"numpy"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two clips, a.wav and b.wav."""
    for name, speaker in (("a", 0), ("b", 1)):
        sf.write(tmp_path / f"{name}.wav", spoken(speaker, SENTENCES[0]), 16_000)
    return tmp_path
