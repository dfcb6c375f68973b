"""Intervox: separate speaker and content subspaces for speech foundation models."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intervox.applications.diarise import Turn, who
    from intervox.applications.spotter import KeywordSpotter
    from intervox.applications.verifier import SpeakerVerifier
    from intervox.backbones.load import load_backbone
    from intervox.benchmarking import benchmark, benchmark_embeddings, benchmark_model
    from intervox.engines.base import load_engine
    from intervox.errors import IntervoxError
    from intervox.export import export_folder, export_onnx
    from intervox.model.decision import Decision
    from intervox.model.embedder import Embedder
    from intervox.model.loading import load_model
    from intervox.model.model import SubspaceModel
    from intervox.pipeline import run
    from intervox.recipe import Recipe, load_recipe
    from intervox.runs import open_run
    from intervox.training.losses import MultiPart

    __version__: str

__all__ = [
    "Decision",
    "Embedder",
    "IntervoxError",
    "KeywordSpotter",
    "MultiPart",
    "Recipe",
    "SpeakerVerifier",
    "SubspaceModel",
    "Turn",
    "__version__",
    "benchmark",
    "benchmark_embeddings",
    "benchmark_model",
    "export_folder",
    "export_onnx",
    "load_backbone",
    "load_engine",
    "load_model",
    "load_recipe",
    "open_run",
    "run",
    "who",
]

_HOMES = {
    "Decision": "intervox.model.decision",
    "Embedder": "intervox.model.embedder",
    "IntervoxError": "intervox.errors",
    "KeywordSpotter": "intervox.applications.spotter",
    "MultiPart": "intervox.training.losses",
    "Recipe": "intervox.recipe",
    "SpeakerVerifier": "intervox.applications.verifier",
    "SubspaceModel": "intervox.model.model",
    "Turn": "intervox.applications.diarise",
    "benchmark": "intervox.benchmarking",
    "benchmark_embeddings": "intervox.benchmarking",
    "benchmark_model": "intervox.benchmarking",
    "export_folder": "intervox.export",
    "export_onnx": "intervox.export",
    "load_backbone": "intervox.backbones.load",
    "load_engine": "intervox.engines.base",
    "load_model": "intervox.model.loading",
    "load_recipe": "intervox.recipe",
    "open_run": "intervox.runs",
    "run": "intervox.pipeline",
    "who": "intervox.applications.diarise",
}

if not TYPE_CHECKING:  # a type checker that sees __getattr__ would take any name for Any

    def __getattr__(name: str) -> object:
        """Import public names on first use: ``import intervox`` itself must cost nothing."""
        if name == "__version__":
            return _version()
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            return getattr(import_module(_HOMES[name]), name)
        except ModuleNotFoundError as error:
            from intervox.errors import missing_train

            raise missing_train(error, f"intervox.{name}") from error


def _version() -> str:
    """Return what the tag said when the package was built or installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("intervox")
    except PackageNotFoundError:  # run from its source alone
        return "0+uninstalled"


def __dir__() -> list[str]:
    return sorted(__all__)
