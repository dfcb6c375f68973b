"""SubspaceModel: from a backbone's hidden states to named, separate subspaces."""

import io
import math
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from numpy.typing import NDArray
from safetensors import SafetensorError

from intervox.audio import AudioSource, load_audio
from intervox.backbones.base import Backbone, load_backbone
from intervox.default_model import DEFAULT, default_model_folder
from intervox.errors import IntervoxError
from intervox.recipe import FeatureSettings
from intervox.subspaces.encoding import encode_clips, encode_frames
from intervox.subspaces.heads import Heads


class SubspaceModel(
    Heads,
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
    >>> model = SubspaceModel.from_pretrained("default")  # doctest: +SKIP
    >>> model.encode(["a.wav", "b.wav"])["speaker"].shape  # doctest: +SKIP
    (2, 128)
    """

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
        super().__init__(layers, dim, subspaces)
        self.backbone_name = backbone
        self.fingerprint = fingerprint
        self.window_seconds = window_seconds
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

    @overload
    def encode(
        self, sources: Sequence[AudioSource], batch_seconds: float = ..., frames: Literal[False] = ...
    ) -> dict[str, NDArray[np.float32]]: ...

    @overload
    def encode(
        self, sources: Sequence[AudioSource], batch_seconds: float = ..., *, frames: Literal[True]
    ) -> dict[str, list[NDArray[np.float32]]]: ...

    def encode(
        self, sources: Sequence[AudioSource], batch_seconds: float = 20.0, frames: bool = False
    ) -> dict[str, NDArray[np.float32]] | dict[str, list[NDArray[np.float32]]]:
        """Embed clips of any length in every subspace.

        Parameters
        ----------
        sources
            Paths, bytes, open files, 16 kHz arrays or tensors, or ``(array, sample rate)``.
        batch_seconds
            Upper bound on the padded length of one batch through the backbone.
        frames
            Whether to embed every frame instead of every clip.

        Returns
        -------
        dict
            Subspace to unit vectors, shape (clips, dim), in the order given; with ``frames`` to one
            array (frames, dim) a clip. A clip's vectors do not depend on the others.

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
        backbone = self._own_backbone()
        waves = [load_audio(source) for source in sources]
        settings = FeatureSettings(batch_seconds=batch_seconds, window_seconds=self.window_seconds)
        embed = encode_frames if frames else encode_clips
        return embed(self, backbone, waves, settings)

    def _own_backbone(self) -> Backbone:
        """Load the backbone once, and make sure that it is the one that was trained on."""
        if self._backbone is None:
            backbone = load_backbone(self.backbone_name)
            if self.fingerprint and backbone.fingerprint != self.fingerprint:
                raise IntervoxError(
                    f"the weights of {self.backbone_name} are not those that this model was trained "
                    "on: give the same backbone or refine again"
                )
            self._backbone = backbone
        return self._backbone

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, name: str | Path = DEFAULT, **options: Any
    ) -> "SubspaceModel":
        """Load the packaged model, a folder or a hub id, as the hub mixin does, but print nothing."""
        folder = default_model_folder() if str(name) == DEFAULT else name
        with redirect_stdout(io.StringIO()):
            model = super().from_pretrained(str(folder), **options)
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


def load_model(name: str | Path) -> SubspaceModel:
    """Load a refined model.

    Parameters
    ----------
    name
        Folder that ``save_pretrained`` wrote, a hub id, or ``default``, the model in the package.

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
            "`intervox run quickstart`, or give --model default"
        ) from error
    except (ValueError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise IntervoxError(f"the model in {name} is damaged ({reason}): refine it again") from error
