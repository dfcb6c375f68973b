"""The default: one matrix on a clip's mean. Its subspace can be taken out, angled and projected."""

import torch
from torch import Tensor, nn

from intervox.recipe_training import SubspaceSettings
from intervox.subspaces.lda import LinearMap
from intervox.subspaces.transforms.base import Transform


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
