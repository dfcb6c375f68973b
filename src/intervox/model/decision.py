"""The same or not: cosines of embeddings, their calibration, the decision; and speech to set it on."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intervox.errors import IntervoxError

if TYPE_CHECKING:
    import torch

Embeddings = TypeVar("Embeddings", NDArray[np.float32], "torch.Tensor")


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
    rows, columns = _unit_rows(first, second)
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
    rows, columns = _unit_rows(first, second)
    if len(rows) != len(columns):
        raise IntervoxError(
            f"{len(rows)} embeddings can't be paired with {len(columns)}: give as many, or use similarity"
        )
    found: Embeddings = (rows * columns).sum(-1)
    return found


def _unit_rows(*sets: Embeddings) -> list[Embeddings]:
    if len({vectors.shape[-1] for vectors in sets}) > 1 or max(vectors.ndim for vectors in sets) > 2:
        shapes = " and ".join(str(tuple(vectors.shape)) for vectors in sets)
        raise IntervoxError(
            f"embeddings of shapes {shapes} can't be compared: give those of one subspace, (clips, dim)"
        )
    found: list[Any] = []
    for vectors in sets:
        rows: Any = vectors[None] if vectors.ndim == 1 else vectors
        found.append(rows / ((rows * rows).sum(-1) ** 0.5).clip(1e-12)[:, None])
    return found


@dataclass(frozen=True)
class Decision:
    """Whether a clip shares a subspace's factor with another clip, or with somebody enrolled.

    Attributes
    ----------
    space
        The subspace in which they were compared.
    score
        Cosine, in [-1, 1].
    probability
        That they share the factor, calibrated, at even odds.
    accepted
        Whether the score reaches the threshold.
    threshold
        Least score that is accepted; that of an even probability unless another was chosen.
    name
        Whom the clip was compared with, where that has a name.
    """

    space: str
    score: float
    probability: float
    accepted: bool
    threshold: float
    name: str = ""


class Calibration(NamedTuple):
    """From a cosine to the log odds of "the same", at even odds: ``slope * score + offset``."""

    slope: float
    offset: float

    def probability(self, scores: ArrayLike, prior: float = 0.5) -> NDArray[np.float64]:
        """Turn cosines of any shape into probabilities of "the same".

        Parameters
        ----------
        prior
            How probable it is before anything is heard, in (0, 1).

        Raises
        ------
        IntervoxError
            The prior is out of range.
        """
        log_odds = np.asarray(scores, np.float64) * self.slope + self.offset + _prior_log_odds(prior)
        return np.asarray(np.exp(-np.logaddexp(0, -log_odds)))

    def score_at(self, probability: float = 0.5, prior: float = 0.5) -> float:
        """Return the cosine at which "the same" has a probability, given a prior; both in (0, 1)."""
        wanted = math.log(probability / (1 - probability))
        return (wanted - _prior_log_odds(prior) - self.offset) / self.slope

    def decide(self, space: str, score: float, threshold: float | None = None, name: str = "") -> Decision:
        """Say what a cosine means; without a threshold, what is at least as probable as not is accepted."""
        probability = float(self.probability(score))
        accepted = probability >= 0.5 if threshold is None else score >= threshold
        reached = self.score_at() if threshold is None else threshold
        return Decision(space, float(score), probability, bool(accepted), reached, name)


def _prior_log_odds(prior: float) -> float:
    if not 0 < prior < 1:
        raise IntervoxError(f"the prior is {prior}: give a probability above 0 and below 1")
    return math.log(prior / (1 - prior))


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
