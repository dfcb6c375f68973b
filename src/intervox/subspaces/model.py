"""SubspaceModel: from a backbone's layer means to named, separate subspaces."""

import io
import math
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import normalize

from intervox.audio import AudioSource, load_audio
from intervox.backbones.base import Backbone, load_backbone
from intervox.errors import IntervoxError
from intervox.features.extraction import layer_means
from intervox.recipe import FeatureSettings
from intervox.recipe_training import SubspaceSettings
from intervox.subspaces.lda import LinearMap

_MLP_WIDTH = 512


class Subspace(nn.Module):
    """Layer weights, then a map, then the unit sphere.

    Parameters
    ----------
    settings
        Layers, how they are combined, the kind of map and its dim.
    layers, dim
        Of the backbone.
    """

    def __init__(self, settings: SubspaceSettings, layers: int, dim: int) -> None:
        super().__init__()
        used = list(settings.layers) if settings.layers is not None else list(range(layers))
        if not used or max(used) >= layers or min(used) < 0:
            raise IntervoxError(f"subspace layers {used}: this backbone has layers 0 to {layers - 1}")
        self.settings = settings
        self.used = used
        self.layer_logits = nn.Parameter(torch.zeros(len(used)))
        width = dim * len(used) if settings.combine == "concat" else dim
        self.map: nn.Module = (
            nn.Linear(width, settings.dim)
            if settings.map == "linear"
            else nn.Sequential(nn.Linear(width, _MLP_WIDTH), nn.GELU(), nn.Linear(_MLP_WIDTH, settings.dim))
        )

    def layer_weights(self) -> Tensor:
        """Return the weight of each used layer; they are positive and sum to one."""
        return torch.softmax(self.layer_logits, dim=0)

    def combine(self, means: Tensor) -> Tensor:
        """Weigh standardised layers (cells, layers, dim) and sum or concatenate them."""
        chosen = means[:, self.used]
        weights = self.layer_weights()
        if self.settings.combine == "sum":
            return torch.einsum("nld,l->nd", chosen, weights)
        # Scaled so that equal weights leave every layer as it is.
        return (chosen * (weights * len(weights))[:, None]).flatten(1)

    def forward(self, means: Tensor) -> Tensor:
        """Project standardised layer means (cells, layers, dim) to unit vectors (cells, dim)."""
        return normalize(self.map(self.combine(means)), dim=-1)


class SubspaceModel(
    nn.Module,
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
        Subspace to slope and offset from a cosine to the log odds of "the same".

    Examples
    --------
    >>> model = SubspaceModel.from_pretrained("runs/quickstart/model")  # doctest: +SKIP
    >>> model.encode(["a.wav", "b.wav"])["speaker"].shape  # doctest: +SKIP
    (2, 128)
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        backbone: str,
        layers: int,
        dim: int,
        subspaces: dict[str, Any],
        fingerprint: str = "",
        window_seconds: float = 4.0,
        calibration: dict[str, list[float]] | None = None,
    ) -> None:
        super().__init__()
        self.backbone_name = backbone
        self.fingerprint = fingerprint
        self.window_seconds = window_seconds
        self.subspaces = nn.ModuleDict(
            {
                name: Subspace(SubspaceSettings.model_validate(settings), layers, dim)
                for name, settings in subspaces.items()
            }
        )
        self.register_buffer("mean", torch.zeros(layers, dim))
        self.register_buffer("scale", torch.ones(layers, dim))
        self._calibration = calibration or {}
        self._backbone: Backbone | None = None

    @property
    def calibration(self) -> dict[str, list[float]]:
        """Subspace to slope and offset; saved with the model."""
        return self._calibration

    @calibration.setter
    def calibration(self, calibration: dict[str, list[float]]) -> None:
        self._calibration = calibration
        # The hub mixin writes what the constructor was given; this is known only afterwards.
        config = self._hub_mixin_config
        assert isinstance(config, dict)
        config["calibration"] = calibration

    @property
    def factors(self) -> dict[str, str]:
        """Subspace name to the factor that it was trained for."""
        return {name: self._subspace(name).settings.factor for name in self.subspaces}

    def forward(self, means: Tensor) -> dict[str, Tensor]:
        """Project layer means (cells, layers, dim) to unit vectors (cells, dim) a subspace."""
        standard = self.standardise(means)
        return {name: subspace(standard) for name, subspace in self.subspaces.items()}

    def standardise(self, means: Tensor) -> Tensor:
        """Give every layer and dimension zero mean and unit deviation over the training cells."""
        return (means - self.mean) / self.scale

    def fit_standardisation(self, means: Tensor) -> None:
        """Take mean and deviation from the training cells (cells, layers, dim)."""
        self.mean.copy_(means.mean(dim=0))
        self.scale.copy_(means.std(dim=0).clamp_min(1e-5))

    def initialise(self, name: str, linear: LinearMap) -> None:
        """Start a linear subspace from a closed-form map; directions that it lacks start at zero."""
        layer = self._subspace(name).map
        if not isinstance(layer, nn.Linear):
            raise IntervoxError(f"subspace {name!r} has an MLP map: set training.initialisation to random")
        rows = len(linear.weight)
        with torch.no_grad():
            layer.weight.zero_()
            layer.bias.zero_()
            layer.weight[:rows].copy_(torch.from_numpy(linear.weight))
            layer.bias[:rows].copy_(torch.from_numpy(linear.bias))

    def layer_weights(self) -> dict[str, dict[int, float]]:
        """Return, a subspace, each used layer's learned weight."""
        result = {}
        for name in self.subspaces:
            subspace = self._subspace(name)
            weights: list[float] = subspace.layer_weights().tolist()
            result[name] = dict(zip(subspace.used, weights, strict=True))
        return result

    def project(self, means: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Project cached layer means (cells, layers, dim), in NumPy."""
        with torch.inference_mode():
            spaces = self(torch.from_numpy(means).to(self.mean.device))
        return {name: vectors.cpu().numpy() for name, vectors in spaces.items()}

    def encode(
        self, sources: Sequence[AudioSource], batch_seconds: float = 20.0
    ) -> dict[str, NDArray[np.float32]]:
        """Embed clips of any length in every subspace.

        Parameters
        ----------
        sources
            Paths, bytes, open files, 16 kHz arrays or tensors, or ``(array, sample rate)``.
        batch_seconds
            Upper bound on the padded length of one batch through the backbone.

        Returns
        -------
        dict
            Subspace to unit vectors, shape (clips, dim), in the order given. A clip's vector does
            not depend on the others.

        Raises
        ------
        IntervoxError
            A clip can't be embedded (the message says which and why), or the backbone is not the
            one that the model was trained on.
        """
        if batch_seconds <= 0:
            raise IntervoxError(f"batch_seconds is {batch_seconds}: give a number of seconds above 0")
        if isinstance(sources, str | bytes | Path):
            raise IntervoxError("encode takes a list of clips: write encode([clip])")
        if self._backbone is None:
            self._backbone = load_backbone(self.backbone_name)
            if self.fingerprint and self._backbone.fingerprint != self.fingerprint:
                raise IntervoxError(
                    f"the weights of {self.backbone_name} are not those that this model was trained "
                    "on: give the same backbone or refine again"
                )
        waves = [load_audio(source) for source in sources]
        settings = FeatureSettings(batch_seconds=batch_seconds, window_seconds=self.window_seconds)
        return self.project(layer_means(self._backbone, waves, settings)[0])

    @classmethod
    def from_pretrained(cls, *arguments: Any, **options: Any) -> "SubspaceModel":
        """Load from a folder or the hub, as the hub mixin does, but print nothing."""
        with redirect_stdout(io.StringIO()):
            model = super().from_pretrained(*arguments, **options)
        assert isinstance(model, SubspaceModel)
        return model

    def generate_model_card(self, *_arguments: Any, **_options: Any) -> ModelCard:
        """Describe a model that was not measured yet; a run's evaluation writes the real card."""
        spaces = ", ".join(f"{name} ({factor})" for name, factor in self.factors.items())
        return ModelCard(
            "---\nlibrary_name: intervox\nlicense: apache-2.0\n---\n\n"
            f"# Intervox subspaces of {self.backbone_name}\n\n{spaces}. Not measured: the card of the "
            "run that made it (`model/README.md`) has the figures.\n"
        )

    def compare(self, first: AudioSource, second: AudioSource, space: str = "speaker") -> dict[str, Any]:
        """Say whether two clips share a subspace's factor.

        Returns
        -------
        dict
            ``score`` (cosine), ``probability`` at even odds and ``same`` (probability of at least
            a half). The calibration comes from held-out synthetic cells, clean and degraded.

        Raises
        ------
        IntervoxError
            The subspace does not exist or was never calibrated.
        """
        self.check_space(space)
        if space not in self.calibration:
            raise IntervoxError(
                f"subspace {space!r} has no calibration: run `intervox evaluate` on the recipe first"
            )
        vectors = self.encode([first, second])[space]
        score = float(vectors[0] @ vectors[1])
        slope, offset = self.calibration[space]
        probability = 1 / (1 + math.exp(-(slope * score + offset)))
        return {
            "space": space,
            "score": round(score, 5),
            "probability": round(probability, 5),
            "same": probability >= 0.5,
        }

    def check_space(self, space: str) -> None:
        """Raise an ``IntervoxError`` that lists the subspaces unless ``space`` is one of them."""
        if space not in self.subspaces:
            raise IntervoxError(f"there is no subspace {space!r}: this model has {', '.join(self.subspaces)}")

    def _subspace(self, name: str) -> Subspace:
        subspace = self.subspaces[name]
        assert isinstance(subspace, Subspace)
        return subspace


def load_model(name: str | Path) -> SubspaceModel:
    """Load a refined model.

    Parameters
    ----------
    name
        Folder that ``save_pretrained`` wrote, or a hub id.

    Raises
    ------
    IntervoxError
        Nothing usable is there.
    """
    try:
        return SubspaceModel.from_pretrained(str(name))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise IntervoxError(
            f"{name} holds no refined model (config.json and model.safetensors): run "
            "`intervox run quickstart`, or give --model"
        ) from error
    except (ValueError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise IntervoxError(f"the model in {name} is damaged ({reason}): refine it again") from error
