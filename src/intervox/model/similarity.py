"""How alike embeddings are: cosines, for NumPy arrays and torch tensors alike."""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from intervox.errors import IntervoxError

Embeddings = TypeVar("Embeddings", NDArray[np.float32], torch.Tensor)


def similarity(first: Embeddings, second: Embeddings) -> Embeddings:
    """Return the cosine of every embedding of one set with every one of the other.

    Parameters
    ----------
    first, second
        Shapes (n, dim) and (m, dim), of one subspace; a single embedding may be (dim,).

    Returns
    -------
    ndarray or Tensor
        Shape (n, m), in [-1, 1], of the kind that was given.

    Raises
    ------
    IntervoxError
        The dimensions differ, as they do between subspaces.
    """
    rows, columns = _unit(first), _unit(second)
    _check_dims(rows, columns)
    return rows @ columns.T


def similarity_pairwise(first: Embeddings, second: Embeddings) -> Embeddings:
    """Return the cosine of each embedding with the one in the same row: shape (n,).

    Parameters
    ----------
    first, second
        Both of shape (n, dim).

    Raises
    ------
    IntervoxError
        The shapes differ.
    """
    rows, columns = _unit(first), _unit(second)
    _check_dims(rows, columns)
    if len(rows) != len(columns):
        raise IntervoxError(
            f"{len(rows)} embeddings can't be paired with {len(columns)}: give as many, or use similarity"
        )
    found: Embeddings = (rows * columns).sum(-1)
    return found


def _unit(vectors: Embeddings) -> Embeddings:
    rows = vectors[None] if vectors.ndim == 1 else vectors
    norms: Any = (rows * rows).sum(-1) ** 0.5
    found: Embeddings = rows / norms.clip(1e-12)[:, None]
    return found


def _check_dims(first: Embeddings, second: Embeddings) -> None:
    if first.ndim != 2 or first.shape[-1] != second.shape[-1]:
        raise IntervoxError(
            f"embeddings of shapes {tuple(first.shape)} and {tuple(second.shape)} can't be compared: give "
            "those of one subspace, (clips, dim)"
        )


CONDITION = "condition"
TEXT = "text"


@dataclass(frozen=True)
class References:
    """Some hundred cells that training never saw, clean and degraded, in every subspace.

    Attributes
    ----------
    vectors
        Subspace to unit vectors, shape (cells, dim).
    labels
        Factor to one value a cell; also ``text``, what is said, and ``condition``, clean or degraded.
    """

    vectors: dict[str, NDArray[np.float32]]
    labels: dict[str, list[str]]

    def impostor_scores(self, space: str, factor: str, examples: int = 1) -> NDArray[np.float32]:
        """Score every cell against those who differ from it in a factor.

        Parameters
        ----------
        factor
            What "different" means; a key of ``labels``.
        examples
            Cells that are averaged to one enrolment: averages are closer to everyone.

        Returns
        -------
        ndarray
            Shape (trials,): cosines; empty where nobody has so many cells.
        """
        labels, vectors = np.asarray(self.labels[factor]), self.vectors[space]
        scores = [np.zeros(0, np.float32)]
        for label in np.unique(labels):
            own = np.flatnonzero(labels == label)
            whole = len(own) // examples * examples
            sums = vectors[own[:whole]].reshape(-1, examples, vectors.shape[1]).sum(axis=1)
            enrolled = sums / np.linalg.norm(sums, axis=1, keepdims=True)
            scores.append((enrolled @ vectors[labels != label].T).ravel())
        return np.concatenate(scores)
