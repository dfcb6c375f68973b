"""One subspace: which layers it reads, what is erased from them, how they are combined and mapped."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from intervox.errors import IntervoxError
from intervox.model.closed_form import Erasure
from intervox.model.maps import TRANSFORMS, Transform
from intervox.recipe.training import SubspaceSettings


class Subspace(nn.Module):
    """An erasure where there is one, layer weights, a map, the unit sphere.

    Parameters
    ----------
    settings
        Layers, how they are combined, the kind of map and its dim.
    layers, dim
        Of the backbone.
    """

    map: Transform
    erase_read: Tensor
    erase_write: Tensor

    def __init__(self, settings: SubspaceSettings, layers: int, dim: int) -> None:
        super().__init__()
        used = list(settings.layers) if settings.layers is not None else list(range(layers))
        if not used or max(used) >= layers or min(used) < 0:
            raise IntervoxError(f"subspace layers {used}: this backbone has layers 0 to {layers - 1}")
        self.settings = settings
        self.used = used
        self._layers = layers
        self.layer_logits = nn.Parameter(torch.zeros(len(used)))
        width = dim * len(used) if settings.combine == "concat" else dim
        self.map = TRANSFORMS[settings.map](width, settings)
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

    def forward(self, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map standardised states to unit vectors (cells, dim).

        Parameters
        ----------
        states
            Means (cells, layers, dim), or frames (cells, time, layers, dim) where the map reads them.
        mask
            Of the frames: shape (cells, time).
        """
        inputs = self.combine(states)
        return normalize(self.map(inputs) if mask is None else self.map(inputs, mask), dim=-1)

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
