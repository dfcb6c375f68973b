"""What a model computes: standardised hidden states in, unit vectors a subspace out."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from intervox.errors import IntervoxError
from intervox.model.closed_form import Erasure, Labels, LinearMap, fit_erasure
from intervox.model.maps import TRANSFORMS, SharedLayers, Transform
from intervox.recipe.training import SharedSettings, SubspaceSettings


class Subspace(nn.Module):
    """An erasure where there is one, layer weights, a map, the unit sphere.

    Parameters
    ----------
    settings
        Layers, how they are combined, the kind of map and its dim.
    layers, dim
        Of the backbone.
    shared
        Where the map is ``shared``: of the network that its inputs come through.
    """

    map: Transform
    erase_read: Tensor
    erase_write: Tensor

    def __init__(self, settings: SubspaceSettings, layers: int, dim: int, shared: SharedSettings) -> None:
        super().__init__()
        used = list(range(layers) if settings.layers is None else settings.layers)
        if not used or max(used) >= layers or min(used) < 0:
            raise IntervoxError(
                f"`layers` of a subspace is {used}: this backbone has layers 0 to {layers - 1}"
            )
        self.settings = settings
        self.used = used
        self._layers = layers
        self.layer_logits = nn.Parameter(torch.zeros(len(used)))
        self.width = dim * len(used) if settings.combine == "concat" else dim
        kind = TRANSFORMS[settings.map]
        self.map = kind(shared.width if kind.is_shared else self.width, settings)
        if settings.erase:
            size = dim * len(used)
            count = min(size, len(settings.erase) * settings.erased_directions)
            # Of a fixed shape, so that a file can be loaded into it; zeros erase nothing.
            self.register_buffer("erase_read", torch.zeros(size, count))
            self.register_buffer("erase_write", torch.zeros(count, size))

    def layer_weights(self) -> Tensor:
        """Return the weight of each used layer; they are positive and sum to one."""
        return torch.softmax(self.layer_logits, dim=0)

    def chosen(self, states: Tensor) -> Tensor:
        """Take the used layers of standardised states (..., layers, dim), and erase from them."""
        chosen = states[..., self.used, :]
        if not self.settings.erase:
            return chosen
        flat = chosen.flatten(-2)
        return (flat - (flat @ self.erase_read) @ self.erase_write).view_as(chosen)

    def set_erasure(self, erasure: Erasure) -> None:
        """Erase from now on; fewer directions than there is room for are fine."""
        count = erasure.read.shape[1]
        self.erase_read.zero_()[:, :count] = torch.from_numpy(erasure.read)
        self.erase_write.zero_()[:count] = torch.from_numpy(erasure.write)

    def combine(self, states: Tensor) -> Tensor:
        """Weigh standardised layers (..., layers, dim), and sum or concatenate them: (..., width)."""
        chosen, weights = self.chosen(states), self.layer_weights()
        if self.settings.combine == "sum":
            return torch.einsum("...ld,l->...d", chosen, weights)
        # Scaled so that equal weights leave every layer as it is.
        return (chosen * (weights * len(weights))[:, None]).flatten(-2)

    @property
    def reads_one_layer(self) -> bool:
        """Whether the map's input is one layer as it is: the same for all subspaces that read this layer."""
        return len(self.used) == 1 and not self.settings.erase

    def forward(self, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map standardised states to vectors (cells, dim), before they are scaled to unit length.

        Parameters
        ----------
        states
            Means (cells, layers, dim), or frames (cells, time, layers, dim) where the map reads them.
        mask
            Of the frames: shape (cells, time).
        """
        inputs = self.combine(states)
        vectors: Tensor = self.map(inputs) if mask is None else self.map(inputs, mask)
        return vectors

    def reading(self) -> Tensor | None:
        """Return the map's linear part on all standardised layers, (subspace dim, layers * dim)."""
        weight = self.map.linear_part()
        if weight is None:
            return None
        shares = self.layer_weights()[:, None]
        if self.settings.combine == "sum":
            by_layer = weight[:, None] * shares
        else:
            by_layer = weight.view(len(weight), len(shares), -1) * shares * len(shares)
        if self.settings.erase:
            flat = by_layer.flatten(1)
            by_layer = (flat - (flat @ self.erase_write.T) @ self.erase_read.T).view_as(by_layer)
        reading = by_layer.new_zeros(len(by_layer), self._layers, by_layer.shape[2])
        reading[:, self.used] = by_layer
        return reading.flatten(1)


class Heads(nn.Module):
    """All subspaces on one standardisation.

    Parameters
    ----------
    layers, dim
        Shape of one clip's layer means.
    subspaces
        Name to ``SubspaceSettings`` or its dictionary; any list of factors.
    shared
        ``SharedSettings`` or its dictionary: of the network of those with ``map: shared``.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self, layers: int, dim: int, subspaces: Mapping[str, Any], shared: SharedSettings | Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.shared_settings = SharedSettings.model_validate(shared)
        settings = {name: SubspaceSettings.model_validate(given) for name, given in subspaces.items()}
        self.subspaces = nn.ModuleDict()
        for name, own in settings.items():
            if hasattr(self.subspaces, name):
                raise IntervoxError(f"subspaces: {name!r} can't be a name, torch uses it: choose another")
            self.subspaces[name] = Subspace(own, layers, dim, self.shared_settings)
        self.shared = self._shared_layers()
        self.register_buffer("mean", torch.zeros(layers, dim))
        self.register_buffer("scale", torch.ones(layers, dim))

    @property
    def factors(self) -> dict[str, str]:
        """Subspace name to the factor that it was trained for."""
        return {name: subspace.settings.factor for name, subspace in self._items()}

    @property
    def dims(self) -> dict[str, int]:
        """Subspace name to the dim of its vectors."""
        return {name: subspace.settings.dim for name, subspace in self._items()}

    @property
    def reads_frames(self) -> bool:
        """Whether any map looks at frames, so that means alone do not say what it does."""
        return any(subspace.map.reads_frames for _, subspace in self._items())

    def forward(self, states: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Project hidden states to unit vectors (cells, dim) a subspace.

        Frames (time, layers, dim) are as many clips of one frame. For a linear map the mean of their
        projections, before they are scaled to unit length, is that of the clip. A map that pools
        frames has one to pool: it weighs 1 and deviates by 0.

        Parameters
        ----------
        states
            Layer means (cells, layers, dim), which are clips of one frame to a map that reads
            frames, or frames (cells, time, layers, dim).
        mask
            Shape (cells, time): which frames are real; all of them without.
        """
        return {name: normalize(vectors, dim=-1) for name, vectors in self.mapped(states, mask).items()}

    def mapped(self, states: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Project as ``forward`` does, but do not scale the vectors, so that they can be averaged."""
        means, frames, mask = _with_frames(states, mask)
        means = self.standardise(means)
        frames = self.standardise(frames) if self.reads_frames else frames
        found, hidden = dict[str, Tensor](), None
        for name, subspace in self._items():
            if subspace.map.reads_frames:
                found[name] = subspace(frames, mask)
            elif subspace.map.is_shared and self.shared is not None:
                if hidden is None or not subspace.reads_one_layer:
                    hidden = self.shared(subspace.combine(means))
                found[name] = subspace.map(hidden)
            else:
                found[name] = subspace(means)
        return found

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
            Shape (cells,); see ``closed_form.fit_erasure``.
        """
        subspace, settings = self.subspace(name), self.subspace(name).settings
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
        return {
            name: dict(zip(subspace.used, subspace.layer_weights().tolist(), strict=True))
            for name, subspace in self._items()
        }

    def project(
        self, states: NDArray[np.float32], mask: NDArray[np.bool_] | None = None, *, unit: bool = True
    ) -> dict[str, NDArray[np.float32]]:
        """Project means, or frames under their mask, as ``forward`` or ``mapped`` do, in NumPy."""
        given = (
            torch.from_numpy(array).to(self.mean.device) for array in (states, mask) if array is not None
        )
        compute = self.forward if unit else self.mapped
        with torch.inference_mode():
            return {name: vectors.cpu().numpy() for name, vectors in compute(*given).items()}

    def subspace(self, name: str) -> Subspace:
        """Return a subspace by name."""
        subspace = self.subspaces[name]
        assert isinstance(subspace, Subspace)
        return subspace

    def _shared_layers(self) -> SharedLayers | None:
        sharing = {name: subspace for name, subspace in self._items() if subspace.map.is_shared}
        inputs = {(*subspace.used, subspace.settings.combine) for subspace in sharing.values()}
        if len(inputs) > 1:
            raise IntervoxError(
                f"subspaces {', '.join(sharing)} have map: shared, one network on one input: give them the "
                "same layers and combine"
            )
        widths = [subspace.width for subspace in sharing.values()]
        return SharedLayers(widths[0], self.shared_settings) if widths else None

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
