"""The same or not: cosines of embeddings, their calibration, the decision; and speech to set it on."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intervox.errors import IntervoxError

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
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
        That they share the factor, calibrated, given the prior.
    accepted
        Whether the score reaches the threshold.
    threshold
        Minimum score that is accepted, for clips as long as these.
    prior
        How probable it was taken to be before anything was heard.
    name
        Whom the clip was compared with, where that has a name.
    """

    space: str
    score: float
    probability: float
    accepted: bool
    threshold: float
    prior: float
    name: str = ""


SECONDS = (0.3, 20.0)
"""Durations between which a calibration tells clips apart; beyond, the nearer of the two counts."""

EVEN = 0.5
"""The prior where nobody gives one."""


class Calibration(NamedTuple):
    """From a cosine and the clips' durations to the log odds of "the same" at even odds.

    ``slope * score + offset + shorter * log(s) + longer * log(l)``, where s and l are the seconds of the
    shorter and the longer clip: the more is heard, the further same and different lie apart. Durations
    are a *quality measure* in the sense of Thienpondt, Desplanques & Demuynck 2021 (ICASSP, section 2.4).

    Attributes
    ----------
    accept_at
        Log odds at even odds from which a pair is accepted by default: the operating point.
    """

    slope: float
    offset: float
    shorter: float = 0.0
    longer: float = 0.0
    accept_at: float = 0.0

    def log_odds(self, scores: ArrayLike, first: ArrayLike = 1.0, second: ArrayLike = 1.0) -> Floats:
        """Turn cosines into log odds of "the same" at even odds.

        Parameters
        ----------
        scores
            Of any shape.
        first, second
            Seconds of the two clips behind each score, of shapes that go with it.
        """
        return np.asarray(np.asarray(scores, np.float64) * self.slope + self._offset(first, second))

    def probability(
        self, scores: ArrayLike, first: ArrayLike = 1.0, second: ArrayLike = 1.0, prior: float = EVEN
    ) -> Floats:
        """Turn cosines into probabilities of "the same", as ``log_odds`` does, given a prior.

        Parameters
        ----------
        prior
            How probable it is before anything is heard, in (0, 1).

        Raises
        ------
        IntervoxError
            The prior is out of range.
        """
        log_odds = self.log_odds(scores, first, second) + logit(prior, "prior")
        return np.asarray(np.exp(-np.logaddexp(0, -log_odds)))

    def score_at(
        self, log_odds: float | None = None, first: ArrayLike = 1.0, second: ArrayLike = 1.0
    ) -> Floats:
        """Return the cosines at which "the same" has some log odds, by default the operating point's."""
        wanted = self.accept_at if log_odds is None else log_odds
        return np.asarray((wanted - self._offset(first, second)) / self.slope)

    def decide(
        self,
        space: str,
        score: float,
        seconds: tuple[float, float],
        threshold: float | None = None,
        prior: float = EVEN,
        name: str = "",
    ) -> Decision:
        """Say what a cosine of clips of some seconds means, by a threshold or the operating point."""
        least = float(self.score_at(None, *seconds)) if threshold is None else threshold
        probability = float(self.probability(score, *seconds, prior))
        return Decision(space, float(score), probability, bool(score >= least), least, prior, name)

    def _offset(self, first: ArrayLike, second: ArrayLike) -> Floats:
        logs = np.log(np.clip(np.broadcast_arrays(first, second), *SECONDS))
        return np.asarray(self.offset + self.shorter * logs.min(axis=0) + self.longer * logs.max(axis=0))


def logit(probability: float, what: str = "probability") -> float:
    """Return the log odds of a probability.

    Raises
    ------
    IntervoxError
        It is not between 0 and 1; ``what`` is its name.
    """
    if not 0 < probability < 1:
        raise IntervoxError(f"the {what} is {probability}: give a number above 0 and below 1")
    return math.log(probability / (1 - probability))


def in_percent(probability: float) -> str:
    """Write a probability without claiming certainty."""
    if probability < 0.01:
        return "below 1\u00a0%"
    return "above 99\u00a0%" if probability > 0.99 else f"{100 * probability:.0f}\u00a0%"


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
