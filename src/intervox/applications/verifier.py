"""Is this the speaker? Enrolled people, scores, probabilities and a threshold of a chosen rate."""

import math
from collections.abc import Iterable
from numbers import Real
from typing import Self

import numpy as np
from numpy.typing import NDArray

from intervox.applications.enrolled import Enrolled
from intervox.audio import AudioSource
from intervox.errors import IntervoxError
from intervox.model.decision import EVEN, Decision

MIN_FALSE_ACCEPTS = 3
"""A rate is set where at least so many scores lie above the threshold: fewer say nothing about it."""

_MOST_AVERAGED = 5
"""Most of the references' speakers have at least so many cells."""


class SpeakerVerifier(Enrolled):
    """Speakers known by one clip or more each.

    Parameters
    ----------
    model, space, threshold
        As of ``Enrolled``. The default operating point accepts 1 % of strangers among synthetic
        speakers that training never heard, clean and degraded.

    Examples
    --------
    >>> verifier = SpeakerVerifier()
    >>> verifier.enrol("alice", ["a1.wav", "a2.wav"])  # doctest: +SKIP
    >>> verifier.verify("who.wav", "alice").accepted  # doctest: +SKIP
    True
    """

    def verify(self, clip: AudioSource, name: str, prior: float = EVEN) -> Decision:
        """Say whether a clip is of an enrolled speaker.

        Parameters
        ----------
        prior
            How probable that is before anything is heard, in (0, 1): part of the probability alone.

        Raises
        ------
        IntervoxError
            The name is not enrolled, or the clip can't be embedded.
        """
        self.check_name(name)
        vectors, seconds = self._examples([clip])
        score = float(
            self.model_.similarity(vectors, self.prototypes_)[0, self.classes_.tolist().index(name)]
        )
        known = self.seconds_[name], float(seconds[0])
        return self.model_.decide(score, self.space, known, self.threshold, prior, name)

    def set_false_accept_rate(self, rate: float, impostors: Iterable[AudioSource] | None = None) -> Self:
        """Choose the threshold by how often a stranger may be accepted.

        Parameters
        ----------
        rate
            Share of trials of a stranger against an enrolled speaker, in (0, 1).
        impostors
            Clips of people who are not enrolled, recorded as clips will be: they are scored against
            everybody who is, and the rate holds on them. Without, the rate holds on the model's
            references, which are synthetic voices: on people it is a start, not a promise.

        Raises
        ------
        IntervoxError
            There are too few impostors for the rate, or the model has no references.
        """
        _check_rate(rate)
        if impostors is not None:
            return self.set_threshold(self.decision_function(impostors), rate)
        references = self.model_.references
        if references is None:
            raise IntervoxError("this model has no references: give clips of people who are not enrolled")
        # Averages of several examples are closer to everyone: the references are averaged likewise.
        examples = round(float(np.median(list(self.counts_.values())))) if self.counts_ else 1
        factor = self.model_.factors[self.space]
        scores = references.impostor_scores(self.space, factor, min(examples, _MOST_AVERAGED))
        return self.set_threshold(scores, rate)

    def set_threshold(self, scores: NDArray[np.floating], rate: float) -> Self:
        """Put the threshold where a share of scores that should be refused is accepted.

        Parameters
        ----------
        scores
            Of clips against names that are not theirs, of any shape.
        rate
            In (0, 1).

        Raises
        ------
        IntervoxError
            The rate is out of range, or too small for so few scores.
        """
        _check_rate(rate)
        accepted = int(rate * scores.size)
        if accepted < MIN_FALSE_ACCEPTS:
            raise IntervoxError(
                f"{scores.size:,} scores are too few for a rate of {rate:g}: at least "
                f"{_count(MIN_FALSE_ACCEPTS / rate)} are needed; give more impostors, or a higher rate"
            )
        # Just above the highest score that must be refused.
        highest = np.partition(scores.ravel(), -accepted - 1)[-accepted - 1]
        self.threshold = float(np.nextafter(np.float32(highest), np.float32(2)))
        return self


def _check_rate(rate: float) -> None:
    if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 < rate < 1:
        raise IntervoxError(f"the rate is {rate!r}: give a share above 0 and below 1, such as 0.01")


def _count(number: float) -> str:
    """Write a number of scores out, as far as anybody could have as many."""
    return f"{math.ceil(number):,}" if number < 1e12 else f"{number:.0e}"
