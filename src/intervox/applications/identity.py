"""What is said of a clip among many people, of live speech, and of a threshold set on other people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Said = TypeVar("Said")

_RESAMPLES = 1000


@dataclass(frozen=True)
class Candidate:
    """Somebody whom a clip may be of.

    Attributes
    ----------
    score
        As ``SpeakerVerifier.decision_function`` gives it.
    probability
        That it is this one, of all who are enrolled and nobody of them.
    """

    name: str
    score: float
    probability: float


@dataclass(frozen=True)
class Identity:
    """Who of the enrolled a clip is of.

    Attributes
    ----------
    name
        ``unknown`` where the closest one's score is below the threshold.
    probability
        That it is this one or, of ``unknown``, that it is nobody enrolled.
    threshold
        Minimum score to be taken for somebody. By default the operating point, the higher the more people
        are enrolled: a stranger is taken for any of them as rarely as for one.
    candidates
        The closest ones, closest first.
    """

    name: str
    probability: float
    threshold: float
    candidates: list[Candidate]


@dataclass(frozen=True)
class Answer(Generic[Said]):
    """What is said of a window of live speech.

    Attributes
    ----------
    start, end
        Of the window, in seconds from the beginning of the stream.
    found
        A ``Decision`` of ``verify_stream``, an ``Identity`` of ``identify_stream``.
    """

    start: float
    end: float
    found: Said


@dataclass(frozen=True)
class ShownRate:
    """How often strangers are accepted at a threshold, and what stands behind the figure.

    Attributes
    ----------
    threshold
        Minimum score that is accepted.
    rate, interval
        Share of comparisons that are accepted, and its central 95 % over resamples of the people.
    comparisons, people
        How many stand behind the rate.
    cohort_clips
        Clips of others that normalise scores; 0 without.
    """

    threshold: float
    rate: float
    interval: tuple[float, float]
    comparisons: int
    people: int
    cohort_clips: int

    @classmethod
    def of(cls, scores: Sequence[NDArray[np.float32]], threshold: float, cohort_clips: int) -> "ShownRate":
        """Count, in scores of one array per person."""
        accepted = np.array([(found >= threshold).sum() for found in scores])
        counts = np.array([found.size for found in scores])
        drawn = np.random.default_rng(0).integers(len(scores), size=(_RESAMPLES, len(scores)))
        low, high = np.quantile(accepted[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [0.025, 0.975])
        rate = float(accepted.sum() / counts.sum())
        return cls(threshold, rate, (float(low), float(high)), int(counts.sum()), len(scores), cohort_clips)
