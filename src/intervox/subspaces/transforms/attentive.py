"""Attentive statistics pooling: learn which frames of a clip count, and what varies over them."""

import torch
from torch import Tensor, nn

from intervox.recipe_training import SubspaceSettings
from intervox.subspaces.lda import LinearMap
from intervox.subspaces.transforms.base import Transform
from intervox.subspaces.transforms.linear import fill_linear

_LEAST_VARIANCE = 1e-4
"""Below it the deviation has no gradient: that of a square root grows without bound at zero."""


class Attentive(Transform):
    """Weighted mean and deviation over frames, then a matrix (Okabe, Koshinaka & Shinoda 2018).

    A frame's weight is the softmax, over the clip's real frames, of ``v · tanh(W x + b)`` with
    ``width`` tanh units (their equations 2 and 3; the statistics are equations 5 and 6). ``v``
    starts at zero, so all frames weigh alike at first; started from a closed form, the matrix reads
    nothing of the deviation, so that the first vectors are exactly those of the linear map.
    A single frame, as in ``per_frame``, is a clip of one: its weight is one.
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
