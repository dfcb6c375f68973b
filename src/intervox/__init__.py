"""Intervox: separate speaker and content subspaces for speech foundation models."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "IntervoxError": "intervox.errors",
    "Recipe": "intervox.recipe",
    "load_recipe": "intervox.recipe",
    "load_backbone": "intervox.backbones.load",
    "load_engine": "intervox.engines.base",
    "MultiPart": "intervox.training.losses",
    "SubspaceModel": "intervox.model.model",
    "SpeakerVerifier": "intervox.applications.verifier",
    "KeywordSpotter": "intervox.applications.spotter",
    "export_folder": "intervox.export",
    "export_onnx": "intervox.export",
    "benchmark": "intervox.benchmarking",
    "benchmark_embeddings": "intervox.benchmarking",
    "open_run": "intervox.pipeline",
    "run": "intervox.pipeline",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Import public names on first use: ``import intervox`` itself must cost nothing."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
