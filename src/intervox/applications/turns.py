"""Which voice speaks in which window? The most likely path, decided while it is heard."""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intervox.applications.verifier import SpeakerVerifier
from intervox.metrics.vectors import Vectors, unit

SWITCH = 3.0
"""What a change of speaker costs, in log odds: a window of another voice alone is no turn."""

_JOIN_SECONDS = 1.0
"""A shorter pause of one speaker is part of the turn; a longer one decides what was said before it."""


class Span(NamedTuple):
    """What one window stands for: it is heard in full, and speaks for the time that is nearest to it."""

    start: float
    end: float
    seconds: float


class Heard(NamedTuple):
    """Some windows of speech.

    Attributes
    ----------
    spans, vectors
        What each window stands for, and unit vectors, shape (windows, dim).
    certain
        Time in seconds before which no further window will begin.
    """

    spans: list[Span]
    vectors: Vectors
    certain: float


class Stretch(NamedTuple):
    """Windows in a row of one state, a column of ``Turns``."""

    state: int
    start: float
    end: float
    shares: NDArray[np.float64]
    """How probable nobody and each name is, by all windows together: shape (1 + names,)."""


class Path:
    """The most likely path through states, each decided as soon as no later evidence can change it.

    Parameters
    ----------
    states
        How many there are.
    switch
        What a change of state costs.
    """

    def __init__(self, states: int, switch: float) -> None:
        self._switch = switch
        self._best = np.zeros(states)
        self._before: list[NDArray[np.int64]] = []
        """Of each step that is undecided: the best state before, for each state."""

    def push(self, evidence: NDArray[np.float64]) -> list[int]:
        """Go one step, with evidence (states,) in log odds, and return the states that are decided by it."""
        highest = int(self._best.argmax())
        changes = self._best[highest] - self._switch > self._best
        before = np.where(changes, highest, np.arange(len(changes)))
        self._best = np.where(changes, self._best[highest] - self._switch, self._best) + evidence
        self._before.append(before)
        # Whatever comes, the path goes through the state that all come from.
        return self._decided(int(before[0]), len(self._before) - 1) if np.ptp(before) == 0 else []

    def settle(self) -> list[int]:
        """Decide all that is undecided by what is known, and go on from there."""
        if not self._before:
            return []
        state = int(self._best.argmax())
        self._best = np.where(np.arange(len(self._best)) == state, 0, -np.inf)
        return self._decided(state, len(self._before))

    def _decided(self, state: int, steps: int) -> list[int]:
        """Go back from the state at the last of so many steps, and forget them."""
        if not steps:
            return []
        path = [state]
        for before in reversed(self._before[1:steps]):
            path.append(int(before[path[-1]]))
        del self._before[:steps]
        return path[::-1]


class Turns:
    """Puts windows together into stretches of one speaker, as they are heard.

    Parameters
    ----------
    known
        Who may speak.
    nobody
        Whether nobody of them may: the first state then.
    longest
        Seconds after which a stretch is handed on in parts that adjoin; without, it comes whole.
    """

    def __init__(self, known: SpeakerVerifier, nobody: bool, longest: float = np.inf) -> None:
        self._known, self._nobody, self._longest = known, nobody, longest
        self._path = Path(len(known.classes_) + nobody, SWITCH)
        self._undecided: deque[tuple[Span, Vectors]] = deque()
        self._state = 0
        self._spans: list[Span] = []
        self._vectors: list[Vectors] = []
        self._end = np.inf

    def push(self, heard: Heard) -> Iterator[Stretch]:
        """Hear more, and yield what has ended for certain."""
        rows = zip(heard.spans, heard.vectors, self._evidence(heard), strict=True)
        for span, vector, evidence in rows:
            if span.start - self._end >= _JOIN_SECONDS:
                yield from self.settle()
            self._end = span.end
            self._undecided.append((span, vector))
            yield from self._decide(self._path.push(evidence))
        if heard.certain - self._end >= _JOIN_SECONDS:
            yield from self.settle()

    def settle(self) -> Iterator[Stretch]:
        """Yield what is left, decided by what is known."""
        yield from self._decide(self._path.settle())
        yield from self._ended()

    def _decide(self, states: list[int]) -> Iterator[Stretch]:
        for state in states:
            span, vector = self._undecided.popleft()
            if state != self._state or (self._spans and span.end - self._spans[0].start > self._longest):
                yield from self._ended()
            self._state = state
            self._spans.append(span)
            self._vectors.append(vector)

    def _ended(self) -> Iterator[Stretch]:
        if not self._spans:
            return
        seconds = max(sum(span.end - span.start for span in self._spans), self._spans[0].seconds)
        vector = unit(np.sum(self._vectors, axis=0))
        shares = self._known.posterior(self._known.scores(vector[None])[0], seconds)
        yield Stretch(self._state, self._spans[0].start, self._spans[-1].end, shares)
        self._spans, self._vectors = [], []

    def _evidence(self, heard: Heard) -> NDArray[np.float64]:
        """Weigh each window by the share of it that it stands for, as windows overlap: (windows, states)."""
        if not heard.spans:
            return np.zeros((0, 0))
        seconds = np.array([span.seconds for span in heard.spans])
        shares = np.array([span.end - span.start for span in heard.spans]) / seconds
        weighed = self._known.evidence(heard.vectors, seconds) * np.minimum(shares, 1)[:, None]
        return np.pad(weighed, ((0, 0), (int(self._nobody), 0)))
