"""SubspaceModel: a model in PyTorch, which learns and is saved."""

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from safetensors.torch import save_model

from intervox.errors import IntervoxError
from intervox.model.config import check_trained
from intervox.model.decision import Calibration, References
from intervox.model.encoding import ClipEncoder, Device
from intervox.model.files import (
    CENTRE,
    CONFIG,
    DEFAULT,
    METRIC,
    OWN_BACKBONE,
    REFERENCE,
    WEIGHTS,
    copy_backbone,
    damage_named,
    model_folder,
    model_key,
)
from intervox.model.matching import Matching
from intervox.storage import atomic_path


class SubspaceModel(
    ClipEncoder,
    PyTorchModelHubMixin,
    library_name="intervox",
    repo_url="",
    license="apache-2.0",
):
    """Separate subspaces of a frozen backbone.

    Parameters
    ----------
    backbone
        Name for ``load_backbone``.
    layers, dim
        Shape of one clip's layer means.
    subspaces
        Name to ``SubspaceSettings`` or its dictionary; any list of factors.
    fingerprint
        Of the backbone that it was trained on; encoding with other weights is refused.
    window_seconds
        Windows of the features that it was trained on.
    calibration
        Subspace to the fields of its ``Calibration``.
    measured
        Subspace to evaluation set to the shares of strangers accepted and of targets refused by default.
    matching
        The numbers of ``Matching``; its centre and metric are among the weights.
    references
        Factor to the labels of the references, one per line; their vectors are among the weights.
    shared
        ``SharedSettings`` as a dictionary, where a subspace has ``map: shared``.

    Attributes
    ----------
    name
        What ``from_pretrained`` was given, a folder in full; empty for a model that was not loaded.

    Examples
    --------
    >>> model = SubspaceModel.from_pretrained("default")  # doctest: +SKIP
    >>> model.encode(["a.wav", "b.wav"])["speaker"].shape  # doctest: +SKIP
    (2, 96)
    """

    def __init__(
        self,
        backbone: str,
        layers: int,
        dim: int,
        subspaces: dict[str, Any],
        fingerprint: str = "",
        window_seconds: float = 4.0,
        calibration: Mapping[str, Sequence[float]] | None = None,
        references: dict[str, str] | None = None,
        measured: dict[str, dict[str, list[float]]] | None = None,
        matching: dict[str, Any] | None = None,
        shared: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, layers, dim, subspaces, fingerprint, window_seconds, shared or {})
        self.name = ""
        self._calibration = _calibrations(calibration or {})
        self._measured = measured or {}
        self._matching = matching
        if matching and self.content_space:
            size = self.subspace(self.content_space).settings.dim
            self.register_buffer(CENTRE, torch.zeros(size))
            self.register_buffer(METRIC, torch.zeros(size, size))
        self._reference_labels = {name: lines.split("\n") for name, lines in (references or {}).items()}
        if self._reference_labels:
            count = len(next(iter(self._reference_labels.values())))
            for name in self.subspaces:
                empty = torch.zeros(count, self.subspace(name).settings.dim, dtype=torch.float16)
                self.register_buffer(REFERENCE + name, empty)

    @property
    def calibration(self) -> dict[str, Calibration]:
        """Subspace to its calibration; saved with the model."""
        return self._calibration

    @calibration.setter
    def calibration(self, calibration: Mapping[str, Sequence[float]]) -> None:
        self._calibration = _calibrations(calibration)
        self._tell_hub("calibration", {name: list(each) for name, each in self._calibration.items()})

    @property
    def measured(self) -> dict[str, dict[str, list[float]]]:
        """Subspace to evaluation set to the shares of strangers accepted and targets refused by default."""
        return self._measured

    @measured.setter
    def measured(self, measured: dict[str, dict[str, list[float]]]) -> None:
        self._measured = measured
        self._tell_hub("measured", measured)

    @property
    def matching(self) -> Matching | None:
        """What ``match`` decides by; saved with the model, None before it is measured."""
        if not self._matching:
            return None
        arrays = (self.get_buffer(name).cpu().numpy() for name in (CENTRE, METRIC))
        return Matching.of(self._matching, *arrays)

    @matching.setter
    def matching(self, matching: Matching) -> None:
        numbers = matching._asdict()
        for name, array in ((CENTRE, numbers.pop("centre")), (METRIC, numbers.pop("metric"))):
            self.register_buffer(name, torch.from_numpy(array))
        self._matching = numbers
        self._tell_hub("matching", numbers)

    @property
    def references(self) -> References | None:
        """Held-out synthetic speech in every subspace; saved with the model, None before it is measured."""
        if not self._reference_labels:
            return None
        vectors = {name: self.get_buffer(REFERENCE + name).float().cpu().numpy() for name in self.subspaces}
        return References(vectors, self._reference_labels)

    @references.setter
    def references(self, references: References) -> None:
        self._reference_labels = references.labels
        for name, vectors in references.vectors.items():
            self.register_buffer(REFERENCE + name, torch.from_numpy(vectors).half())
        # One line of the file per factor, not one per cell.
        lines = {name: "\n".join(values) for name, values in references.labels.items()}
        self._tell_hub("references", lines)

    @property
    def key(self) -> str:
        state = {name: tensor.detach().cpu().numpy() for name, tensor in self.state_dict().items()}
        return model_key(self.fingerprint, self.window_seconds, state)

    def _tell_hub(self, name: str, value: Any) -> None:
        """Correct what the hub mixin writes: what the constructor was given, not what came after."""
        config = self._hub_mixin_config
        assert isinstance(config, dict)
        config[name] = value

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, name: str | Path = DEFAULT, *, device: Device = None, **hub: Any
    ) -> "SubspaceModel":
        """Load a model.

        Parameters
        ----------
        name
            Folder that ``save_pretrained`` wrote, a hub id, or ``default``, the model in the package.
        device
            Where to put the model and its backbone; by default on the GPU where there is one.
        hub
            ``revision``, ``token``, ``cache_dir``, ``local_files_only`` or ``force_download``, as
            ``huggingface_hub.hf_hub_download`` takes them. Pickled weights are never loaded.

        Raises
        ------
        IntervoxError
            There is nothing of that name, this machine may not or can't reach it, or its
            configuration or weights are damaged.
        """
        with damage_named(str(name)):
            folder = model_folder(str(name), **hub)
            check_trained(folder / CONFIG)
            with redirect_stdout(io.StringIO()):  # where the mixin says that it loads from a folder
                model = super().from_pretrained(str(folder), strict=True)
        assert isinstance(model, SubspaceModel)
        model.name = str(folder.resolve()) if Path(name).is_dir() else str(name)
        if model.backbone_name == OWN_BACKBONE:
            if not (folder / OWN_BACKBONE).is_dir():
                raise IntervoxError(f"{name} lacks its backbone, {OWN_BACKBONE}: copy the whole folder")
            model.backbone_name = str(folder / OWN_BACKBONE)
        return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write the weights, and the backbone where no other machine has it; the mixin does the rest."""
        with atomic_path(save_directory / WEIGHTS) as temporary:
            save_model(self, str(temporary))
        backbone = Path(self.backbone_name)
        if backbone.is_dir():
            copy_backbone(backbone, save_directory / OWN_BACKBONE)
            self._tell_hub("backbone", OWN_BACKBONE)

    def generate_model_card(self, *_arguments: Any, **_options: Any) -> ModelCard:
        """Describe a model that was not measured yet; a run's evaluation writes the real card."""
        spaces = ", ".join(f"{name} ({factor})" for name, factor in sorted(self.factors.items()))
        backbone = "a backbone of their own" if Path(self.backbone_name).is_dir() else self.backbone_name
        return ModelCard(
            "---\nlibrary_name: intervox\nlicense: apache-2.0\n---\n\n"
            f"# Intervox subspaces of {backbone}\n\n{spaces}. Not measured: the card of the "
            "run that made it (`model/README.md`) has the figures.\n"
        )


def _calibrations(given: Mapping[str, Sequence[float]]) -> dict[str, Calibration]:
    return {name: Calibration(*fields) for name, fields in given.items()}
