"""How two subspaces lie to each other: angles of their maps, and dependence of their embeddings."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import subspace_angles

from intervox.evaluation.representations import linear_spaces, subspace_basis
from intervox.metrics.information import shared_bits
from intervox.metrics.vectors import Vectors
from intervox.model.model import SubspaceModel
from intervox.seeds import rng
from intervox.training.losses import coupling

PERMUTATIONS = 20


def principal_angles(model: SubspaceModel, seed: int) -> dict[str, Any]:
    """Measure the angles between what every two linear subspaces read, in degrees.

    In the coordinates of all standardised layers (Björck & Golub 1973). Subspaces that read
    different layers are at right angles by construction; and since the data are correlated, right
    angles are no independence. ``dependence`` measures that.

    Parameters
    ----------
    seed
        Of the random subspaces of the same ranks that the angles are compared with.

    Returns
    -------
    dict
        ``<first>-<second>`` to ``mean``, ``min``, ``random_mean`` and ``random_min``; without the
        subspaces whose map is not linear.
    """
    random = rng(seed, "geometry.halves")
    result = {}
    for first, second in combinations(linear_spaces(model), 2):
        bases = [subspace_basis(model, name) for name in (first, second)]
        angles = np.rad2deg(subspace_angles(*bases))
        by_chance = np.rad2deg(subspace_angles(*(random.normal(size=basis.shape) for basis in bases)))
        result[f"{first}-{second}"] = {
            "mean": round(float(angles.mean()), 3),
            "min": round(float(angles.min()), 3),
            "random_mean": round(float(by_chance.mean()), 3),
            "random_min": round(float(by_chance.min()), 3),
        }
    return result


def dependence(vectors: Mapping[str, Vectors], speakers: NDArray[Any], seed: int) -> dict[str, Any]:
    """Measure the linear dependence of every two spaces on the same held-out clips.

    Parameters
    ----------
    vectors
        Space to vectors (clips, dim).
    speakers
        Shape (clips,): what the halves of ``shared_bits`` must not share.
    seed
        Of the permutations.

    Returns
    -------
    dict
        ``<first>-<second>`` to ``cross_covariance`` (the RV coefficient of ``losses.coupling``, in
        [0, 1]), ``cross_covariance_by_chance`` (its mean when clips are paired at random; it is not
        zero in a finite sample) and ``shared_bits`` (``information.shared_bits``).
    """
    random = rng(seed, "geometry.permutations")
    result = {}
    for first, second in combinations(vectors, 2):
        a, b = torch.from_numpy(vectors[first]), torch.from_numpy(vectors[second])
        orders = [torch.from_numpy(random.permutation(len(b))) for _ in range(PERMUTATIONS)]
        by_chance = torch.stack([coupling(a, b[order]) for order in orders]).mean()
        result[f"{first}-{second}"] = {
            "cross_covariance": round(float(coupling(a, b)), 5),
            "cross_covariance_by_chance": round(float(by_chance), 5),
            "shared_bits": round(shared_bits(vectors[first], vectors[second], speakers), 5),
        }
    return result
