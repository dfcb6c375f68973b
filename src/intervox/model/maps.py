"""The kinds of map by the name that a recipe gives them."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from intervox.model.closed_form import LinearMap
from intervox.recipe.training import Map, SharedSettings, SubspaceSettings


class Transform(nn.Module):
    """A map from a subspace's inputs to vectors, before they are scaled to unit length.

    A kind is constructed with the width of its inputs and the subspace's settings. Its
    ``forward`` takes clips (cells, width), or frames (cells, time, width) and their mask (cells, time)
    where it ``reads_frames``, and gives (cells, dim).

    Attributes
    ----------
    title
        What messages call it.
    reads_frames
        Whether it looks at frames; all others read a clip's mean.
    is_linear
        Whether it is its linear part and nothing else.
    is_shared
        Whether its inputs come through ``SharedLayers``.
    """

    title: ClassVar[str]
    reads_frames: ClassVar[bool] = False
    is_linear: ClassVar[bool] = False
    is_shared: ClassVar[bool] = False

    def linear_part(self) -> Tensor | None:
        """Return the matrix (dim, width) that the mean of the inputs goes through, or None."""
        return None

    def initialise(self, linear: LinearMap) -> None:
        """Start from a closed form; directions that it lacks start at zero.

        Only what has a linear part can.
        """
        raise NotImplementedError


class Linear(nn.Linear, Transform):
    """``x @ weight.T + bias``: the mean of a clip's mapped frames is the clip's mapped mean."""

    title = "linear"
    is_linear = True

    def __init__(self, width: int, settings: SubspaceSettings) -> None:
        super().__init__(width, settings.dim)

    def linear_part(self) -> Tensor:
        return self.weight

    def initialise(self, linear: LinearMap) -> None:
        fill_linear(self, linear)


def fill_linear(layer: nn.Linear, linear: LinearMap) -> None:
    """Copy a closed form into the first rows and columns of a layer; the rest becomes zero."""
    rows, columns = linear.weight.shape
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight[:rows, :columns].copy_(torch.from_numpy(linear.weight))
        layer.bias[:rows].copy_(torch.from_numpy(linear.bias))


class Mlp(nn.Sequential, Transform):
    """``width`` GELU units (Hendrycks & Gimpel 2016) between two matrices.

    It fits synthetic voices better than a linear map, and human ones worse; and no linear measure
    of separation exists for it.
    """

    title = "MLP"

    def __init__(self, width: int, settings: SubspaceSettings) -> None:
        super().__init__(nn.Linear(width, settings.width), nn.GELU(), nn.Linear(settings.width, settings.dim))


class SharedLayers(nn.Sequential):
    """Matrices with a ReLU after each, ``hidden`` of them: the network of all ``Shared`` maps but its end."""

    def __init__(self, width: int, settings: SharedSettings) -> None:
        super().__init__()
        for size in (width, *[settings.width] * (settings.hidden - 1)):
            self.extend([nn.Linear(size, settings.width), nn.ReLU()])


class Shared(nn.Linear, Transform):
    """A subspace's part of one network's output: these are the rows of the last matrix that give it.

    With ``SharedLayers`` of two layers and two subspaces it is the network of Cox & Barker 2026, whose output
    is cut in half. Rows of their own start, learn and decay exactly as rows of one matrix do, and no order of
    the subspaces has to be kept.
    """

    title = "MLP"
    is_shared = True

    def __init__(self, width: int, settings: SubspaceSettings) -> None:
        super().__init__(width, settings.dim)


_LEAST_VARIANCE = 1e-4
"""Below it the deviation has no gradient: that of a square root grows without bound at zero."""


class Attentive(Transform):
    """Weighted mean and deviation over frames, then a matrix (Okabe, Koshinaka & Shinoda 2018).

    A frame's weight is the softmax, over the clip's real frames, of ``v · tanh(W x + b)`` with
    ``width`` tanh units (their equations 2 and 3; the statistics are equations 5 and 6). ``v``
    starts at zero, so all frames weigh alike at first; started from a closed form, the matrix reads
    nothing of the deviation, so that the first vectors are exactly those of the linear map.
    A single frame is a clip of one: its weight is one.
    """

    title = "attentive"
    reads_frames = True

    def __init__(self, width: int, settings: SubspaceSettings) -> None:
        super().__init__()
        self.width = width
        self.hidden = nn.Linear(width, settings.width)
        self.score = nn.Parameter(torch.zeros(settings.width))
        self.output = nn.Linear(2 * width, settings.dim)

    def attention(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Return each frame's weight (cells, time): zero on padding, one in sum over real frames."""
        scores = torch.tanh(self.hidden(inputs)) @ self.score
        # The least number instead of -inf: a clip without any frame then gets zeros, not NaN.
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        return torch.softmax(scores, dim=1) * mask

    def forward(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Map frames (cells, time, width) and their mask (cells, time) to (cells, dim)."""
        weights = self.attention(inputs, mask)
        mean = torch.einsum("ntd,nt->nd", inputs, weights)
        variance = torch.einsum("ntd,nt->nd", (inputs - mean[:, None]).square(), weights)
        deviation = variance.clamp_min(_LEAST_VARIANCE).sqrt()
        vectors: Tensor = self.output(torch.cat([mean, deviation], dim=1))
        return vectors

    def linear_part(self) -> Tensor:
        """Return what the weighted mean goes through."""
        return self.output.weight[:, : self.width]

    def initialise(self, linear: LinearMap) -> None:
        fill_linear(self.output, linear)
        with torch.no_grad():
            self.score.zero_()


TRANSFORMS: dict[Map, type[Transform]] = {
    "linear": Linear,
    "mlp": Mlp,
    "shared": Shared,
    "attentive": Attentive,
}
