"""One hidden layer on a clip's mean."""

from torch import nn

from intervox.recipe_training import SubspaceSettings
from intervox.subspaces.transforms.base import Transform


class Mlp(nn.Sequential, Transform):
    """``width`` GELU units (Hendrycks & Gimpel 2016) between two matrices.

    It fits synthetic voices better than a linear map, and human ones worse; and no linear measure
    of separation exists for it.
    """

    title = "MLP"

    def __init__(self, width: int, settings: SubspaceSettings) -> None:
        super().__init__(nn.Linear(width, settings.width), nn.GELU(), nn.Linear(settings.width, settings.dim))
