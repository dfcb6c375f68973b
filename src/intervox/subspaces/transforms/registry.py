"""The kinds of map by the name that a recipe gives them."""

from intervox.recipe_training import Map
from intervox.subspaces.transforms.attentive import Attentive
from intervox.subspaces.transforms.base import Transform
from intervox.subspaces.transforms.linear import Linear
from intervox.subspaces.transforms.mlp import Mlp
from intervox.subspaces.transforms.orthogonal import Orthogonal

TRANSFORMS: dict[Map, type[Transform]] = {
    "linear": Linear,
    "mlp": Mlp,
    "attentive": Attentive,
    "orthogonal": Orthogonal,
}
