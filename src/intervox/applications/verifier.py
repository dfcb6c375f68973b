"""Is this the speaker? Enrolled people, scores, probabilities and a threshold of a chosen rate."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from intervox.applications.enrolled import UNKNOWN, Enrolled
from intervox.applications.identity import Answer, Candidate, Identity, Said, ShownRate
from intervox.applications.normalise import Cohort
from intervox.applications.vad import speech_windows
from intervox.audio import SAMPLE_RATE, AudioSource, resample_chunks
from intervox.errors import IntervoxError
from intervox.model.decision import EVEN, Decision, logit

MIN_FALSE_ACCEPTS = 3
"""A rate is set where at least so many scores lie above the threshold: fewer say nothing about it."""

LEAST_PEOPLE = 5
"""Fewer strangers show no rate, however many clips there are of them."""

LIVE_WINDOW_SECONDS, LIVE_HOP_SECONDS = 4.0, 2.0
"""Of live speech that goes on so long: longer windows say more of a voice, and say it later."""

_CANDIDATES = 3

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

    @property
    def _name_at(self) -> float:
        """Log odds from which a clip is named: a stranger has as many chances to be taken for somebody."""
        return self._accept_at + math.log(max(1, len(self._known)))

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
        return self.decision(vectors[0], float(seconds[0]), name, prior)

    def decision(
        self, vector: NDArray[np.float32], seconds: float, name: str, prior: float = EVEN
    ) -> Decision:
        """Compare a unit vector (dim,) of some seconds of speech with an enrolled speaker; as ``verify``."""
        score = float(self.scores(vector[None])[0, self.classes_.tolist().index(name)])
        known = self.seconds_[name], seconds
        return self.model_.decide(score, self.space, known, self.threshold, prior, name)

    def evidence(self, vectors: NDArray[np.float32], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weigh unit vectors (clips, dim) of some seconds each (clips,) against every name.

        Returns
        -------
        ndarray
            Shape (clips, names): log odds of each name against a stranger; where a threshold is set, by how
            much they exceed those at it.
        """
        known = self._enrolled_seconds
        odds = self._calibration.log_odds(self.scores(vectors), seconds[:, None], known)
        if self.threshold is None:
            return odds
        return odds - self._calibration.log_odds(self.threshold, seconds[:, None], known)

    def posterior(
        self, scores: NDArray[np.float32], seconds: float, prior: float = EVEN
    ) -> NDArray[np.float64]:
        """Say how probable it is, given scores (names,) of some seconds of speech, that nobody speaks or who.

        Returns
        -------
        ndarray
            Shape (1 + names,), of sum 1: nobody enrolled, then every name; before, each name is as likely.
        """
        odds = self._calibration.log_odds(scores, seconds, self._enrolled_seconds)
        # The evidence for a name is its odds against a stranger.
        weights = np.append(-logit(prior, "prior"), odds - np.log(len(scores)))
        shares = np.exp(weights - weights.max())
        return np.asarray(shares / shares.sum())

    def identify(self, clip: AudioSource, prior: float = EVEN) -> Identity:
        """Say who of the enrolled a clip is of, or nobody.

        Parameters
        ----------
        prior
            How probable it is, before anything is heard, that it is of anybody enrolled, each alike.

        Raises
        ------
        IntervoxError
            Nobody is enrolled, or the clip can't be embedded.
        """
        vectors, seconds = self._examples([clip])
        return self.identity(vectors[0], float(seconds[0]), prior)

    def identity(self, vector: NDArray[np.float32], seconds: float, prior: float = EVEN) -> Identity:
        """Say whose a unit vector (dim,) of some seconds of speech is; as ``identify``."""
        names, scores = self.classes_, self.scores(vector[None])[0]
        shares = self.posterior(scores, seconds, prior)
        order = np.argsort(-scores)
        best = int(order[0])
        least = self._calibration.score_at(self._name_at, seconds, self._enrolled_seconds[best])
        threshold = float(least) if self.threshold is None else self.threshold
        accepted = bool(scores[best] >= threshold)
        return Identity(
            str(names[best]) if accepted else UNKNOWN,
            float(shares[best + 1] if accepted else shares[0]),
            threshold,
            [Candidate(str(names[i]), float(scores[i]), float(shares[i + 1])) for i in order[:_CANDIDATES]],
        )

    def verify_stream(
        self, chunks: Iterable[NDArray[Any]], name: str, rate: int = SAMPLE_RATE, prior: float = EVEN
    ) -> Iterator[Answer[Decision]]:
        """Verify live speech while it is heard: ``verify`` of each window; as ``identify_stream``."""
        self.check_name(name)
        return self._answers(chunks, rate, lambda *heard: self.decision(*heard, name, prior))

    def identify_stream(
        self, chunks: Iterable[NDArray[Any]], rate: int = SAMPLE_RATE, prior: float = EVEN
    ) -> Iterator[Answer[Identity]]:
        """Say who speaks in live sound as it is heard: ``identify`` of each window; needs the extra ``vad``.

        Speech that is longer than ``LIVE_WINDOW_SECONDS`` gives an answer on the last so many seconds every
        ``LIVE_HOP_SECONDS``, as soon as they are heard. The last answer is on the end of the speech, and
        comes after a pause of a third of a second. See ``intervox.applications.live`` for sources of sound
        and for a ``Clock`` that measures how late answers come.

        Parameters
        ----------
        chunks
            Arrays of any lengths, (samples,) or (samples, channels), as a microphone gives them.
        rate
            Of the chunks, in Hz.
        prior
            As for ``identify``.

        Raises
        ------
        IntervoxError
            Nobody is enrolled, the extra is not installed, or a chunk is not an array of finite numbers.
        """
        assert len(self.prototypes_)
        return self._answers(chunks, rate, lambda *heard: self.identity(*heard, prior))

    def _answers(
        self, chunks: Iterable[NDArray[Any]], rate: int, answer: Callable[[NDArray[np.float32], float], Said]
    ) -> Iterator[Answer[Said]]:
        self.model_.ready()
        sound = resample_chunks(chunks, rate)
        for windows, _ in speech_windows(sound, LIVE_WINDOW_SECONDS, LIVE_HOP_SECONDS):
            for window, vector in zip(windows, self._embed(each.wave for each in windows), strict=True):
                start, seconds = window.start / SAMPLE_RATE, len(window.wave) / SAMPLE_RATE
                yield Answer(start, start + seconds, answer(vector, seconds))

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
        if self.cohort is not None:
            raise IntervoxError(
                "scores are normalised by a cohort, those of the model's references are not: set the rate "
                "with `intervox calibrate`, or give impostors"
            )
        references = self.model_.references
        if references is None:
            raise IntervoxError("this model has no references: give clips of people who are not enrolled")
        # Averages of several examples are closer to everyone: the references are averaged likewise.
        examples = round(float(np.median(list(self.counts_.values())))) if self.counts_ else 1
        factor = self.model_.factors[self.space]
        scores = references.impostor_scores(self.space, factor, min(examples, _MOST_AVERAGED))
        return self.set_threshold(scores, rate)

    def calibrate(
        self,
        others: Mapping[str, Iterable[AudioSource]],
        rate: float = 0.01,
        anybody: bool = False,
        normalise: bool = True,
    ) -> ShownRate:
        """Set the threshold, and by default a cohort, on people who are not enrolled.

        Half of the people, drawn with a fixed seed, become the cohort that scores are normalised by; the
        threshold is set on the other half.

        Parameters
        ----------
        others
            Person to clips, recorded as clips will be. Clips of one person are not independent: the
            interval is over people.
        rate
            Share of comparisons of a stranger with somebody enrolled that may be accepted, in (0, 1).
        anybody
            Let the rate be that of strangers who are taken for anybody enrolled, as ``identify`` asks.
        normalise
            Whether to set a cohort; without, an earlier one is dropped.

        Raises
        ------
        IntervoxError
            There are too few people, clips or comparisons to show the rate. Nothing is changed then.
        """
        _check_rate(rate)
        if len(others) < (1 + normalise) * LEAST_PEOPLE:
            without = "; half as many do without normalisation" if normalise else ""
            least = (1 + normalise) * LEAST_PEOPLE
            raise IntervoxError(f"{len(others)} other people are too few: give at least {least}{without}")
        if both := sorted({*others} & {*self._known}):
            raise IntervoxError(f"{both[0]!r} is enrolled: calibrate with clips of other people")
        vectors = {name: self._examples(clips)[0] for name, clips in others.items()}
        order = np.random.default_rng(0).permutation(sorted(vectors)).tolist()
        cohort, tried = (order[::2], order[1::2]) if normalise else ([], order)
        before = self.cohort, self.threshold
        self.cohort = Cohort(np.concatenate([vectors[name] for name in cohort])) if cohort else None
        try:
            scores = {name: self.scores(vectors[name]) for name in tried}
            if anybody:
                scores = {name: found.max(axis=1, keepdims=True) for name, found in scores.items()}
            self.set_threshold(np.concatenate(list(scores.values())), rate)
        except IntervoxError:
            self.cohort, self.threshold = before
            raise
        return ShownRate.of(
            list(scores.values()), self.threshold_, len(self.cohort.vectors) if self.cohort else 0
        )

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
