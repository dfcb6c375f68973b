"""What a model computes: standardised hidden states in, unit vectors a subspace out."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from intervox.errors import IntervoxError
from intervox.model.closed_form import Labels, LinearMap, fit_erasure
from intervox.model.subspace import Subspace
from intervox.recipe.training import SubspaceSettings


class Heads(nn.Module):
    """All subspaces on one standardisation.

    Parameters
    ----------
    layers, dim
        Shape of one clip's layer means.
    subspaces
        Name to ``SubspaceSettings`` or its dictionary; any list of factors.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, layers: int, dim: int, subspaces: Mapping[str, Any]) -> None:
        super().__init__()
        settings = {name: SubspaceSettings.model_validate(given) for name, given in subspaces.items()}
        self.subspaces = nn.ModuleDict()
        for name, own in settings.items():
            if hasattr(self.subspaces, name):
                raise IntervoxError(f"subspaces: {name!r} can't be a name, torch uses it: choose another")
            self.subspaces[name] = Subspace(own, layers, dim)
        self.register_buffer("mean", torch.zeros(layers, dim))
        self.register_buffer("scale", torch.ones(layers, dim))

    @property
    def factors(self) -> dict[str, str]:
        """Subspace name to the factor that it was trained for."""
        return {name: subspace.settings.factor for name, subspace in self._items()}

    @property
    def reads_frames(self) -> bool:
        """Whether any map looks at frames, so that means alone do not say what it does."""
        return any(subspace.map.reads_frames for _, subspace in self._items())

    def forward(self, states: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Project hidden states to unit vectors (cells, dim) a subspace.

        Parameters
        ----------
        states
            Layer means (cells, layers, dim), which are clips of one frame to a map that reads
            frames, or frames (cells, time, layers, dim).
        mask
            Shape (cells, time): which frames are real; all of them without.
        """
        means, frames, mask = _with_frames(states, mask)
        means = self.standardise(means)
        frames = self.standardise(frames) if self.reads_frames else frames
        return {
            name: subspace(frames, mask) if subspace.map.reads_frames else subspace(means)
            for name, subspace in self._items()
        }

    def per_frame(self, states: Tensor) -> dict[str, Tensor]:
        """Project frames (time, layers, dim), each as a clip of its own, to unit vectors (time, dim).

        For a linear map the mean of the frames' projections, before they are scaled to unit length,
        is that of the clip. A map that pools frames has one to pool: it weighs 1 and deviates by 0.
        """
        return self.forward(states)

    def maps(self) -> dict[str, Tensor]:
        """Return each map's linear part on all standardised layers, (subspace dim, layers * dim).

        Layer weights and erasure are multiplied in, and gradients flow. An attentive map's is that of
        its weighted mean; an MLP has none and is left out.
        """
        found = {name: subspace.reading() for name, subspace in self._items()}
        return {name: reading for name, reading in found.items() if reading is not None}

    def standardise(self, states: Tensor) -> Tensor:
        """Give every layer and dimension zero mean and unit deviation over the training cells."""
        return (states - self.mean) / self.scale

    def set_standardisation(self, mean: Tensor, deviation: Tensor) -> None:
        """Take mean and deviation of the training cells, each (layers, dim)."""
        self.mean.copy_(mean)
        self.scale.copy_(deviation.clamp_min(1e-5))

    def fit_erasure(
        self, name: str, means: Tensor, labels: Mapping[str, Labels], blocks: Labels | None = None
    ) -> None:
        """Project out the factors that a subspace's settings want erased; after ``set_standardisation``.

        Parameters
        ----------
        means
            Layer means of the training cells (cells, layers, dim).
        labels
            Factor to classes (cells,), at least for those to erase.
        blocks
            Shape (cells,); see ``erasure.fit_erasure``.
        """
        subspace = self.subspace(name)
        settings = subspace.settings
        inputs = self.standardise(means)[:, subspace.used].flatten(1).numpy()
        factors = [labels[factor] for factor in settings.erase]
        subspace.set_erasure(
            fit_erasure(inputs, factors, settings.erased_directions, settings.shrinkage, blocks)
        )

    def erased(self, name: str, standard: Tensor) -> Tensor:
        """Take out of standardised states (..., layers, dim) what a subspace has erased."""
        subspace = self.subspace(name)
        result = standard.clone()
        result[..., subspace.used, :] = subspace.chosen(standard)
        return result

    def initialise(self, name: str, linear: LinearMap) -> None:
        """Start a subspace from a closed-form map; directions that it lacks start at zero."""
        transform = self.subspace(name).map
        if transform.linear_part() is None:
            raise IntervoxError(
                f"subspace {name!r} has an {transform.title} map: set training.initialisation to random"
            )
        transform.initialise(linear)

    def layer_weights(self) -> dict[str, dict[int, float]]:
        """Return, a subspace, each used layer's learned weight."""
        result = {}
        for name, subspace in self._items():
            weights: list[float] = subspace.layer_weights().tolist()
            result[name] = dict(zip(subspace.used, weights, strict=True))
        return result

    def project(self, means: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Project cached layer means (cells, layers, dim), in NumPy."""
        with torch.inference_mode():
            spaces = self(torch.from_numpy(means).to(self.mean.device))
        return {name: vectors.cpu().numpy() for name, vectors in spaces.items()}

    def project_frames(
        self, states: NDArray[np.float32], mask: NDArray[np.bool_]
    ) -> dict[str, NDArray[np.float32]]:
        """Project frames (cells, time, layers, dim) under their mask (cells, time), in NumPy."""
        device = self.mean.device
        with torch.inference_mode():
            spaces = self(torch.from_numpy(states).to(device), torch.from_numpy(mask).to(device))
        return {name: vectors.cpu().numpy() for name, vectors in spaces.items()}

    def subspace(self, name: str) -> Subspace:
        """Return a subspace by name."""
        subspace = self.subspaces[name]
        assert isinstance(subspace, Subspace)
        return subspace

    def _items(self) -> Iterator[tuple[str, Subspace]]:
        for name in self.subspaces:
            yield name, self.subspace(name)


def frame_means(states: Tensor, mask: Tensor) -> Tensor:
    """Average frames (cells, time, layers, dim) over the real ones; without any, zeros."""
    weights = mask / mask.sum(dim=1, keepdim=True).clamp_min(1)
    return torch.einsum("ntld,nt->nld", states, weights.to(states.dtype))


def _with_frames(states: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return means, frames and their mask, whichever of the two was given."""
    frames = states[:, None] if states.ndim == 3 else states
    if mask is None:
        mask = torch.ones(frames.shape[:2], dtype=torch.bool, device=states.device)
    return states if states.ndim == 3 else frame_means(states, mask), frames, mask
