"""Sound of any length as overlapping windows, and the peaks of their scores as soon as they are certain."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

from intervox.audio import Waveform
from intervox.metrics.events import pick_peaks
from intervox.progress import progress_bar

NOTHING = -np.inf
"""Score of a window in which there is nothing to be found."""

_AT_ONCE = 120
"""Windows that are handed on together: enough to fill batches, few enough to be forgotten."""


_BEFORE = 4
"""Distances that are remembered: peaks that hide each other in turn are seldom more."""


@dataclass(frozen=True)
class Window:
    """A stretch of sound, and what is most like it.

    Attributes
    ----------
    start, end
        In seconds.
    column
        Which of the names.
    score
        How alike they are; ``NOTHING`` of silence.
    """

    start: float
    end: float
    column: int = 0
    score: float = NOTHING


def sliding_windows(
    chunks: Iterable[Waveform], window: int, hop: int
) -> Iterator[tuple[NDArray[np.int64], list[Waveform]]]:
    """Cut sound into overlapping windows as it arrives; the same ones however it is chunked.

    The windows are all those whose middle lies within the sound, from its very beginning on. Where
    the sound begins or ends within a window, the window is what there is of it.

    Parameters
    ----------
    chunks
        Of any lengths.
    window, hop
        Length of a window and from one start to the next, in samples.

    Yields
    ------
    starts, waves
        Shape (windows,), in samples, the first ones negative; and the windows. They come as soon as
        their last sample is there.
    """
    kept, offset, start = np.zeros(0, np.float32), 0, -(window // 2)
    for chunk in chunks:
        kept = np.concatenate([kept, chunk])
        whole = np.arange(start, offset + len(kept) - window + 1, hop)
        yield from _cut(kept, offset, whole, window)
        start += hop * len(whole)
        gone = max(0, min(start - offset, len(kept)))
        kept, offset = kept[gone:], offset + gone
    end = offset + len(kept)
    if end:
        yield from _cut(kept, offset, np.arange(start, end - window // 2 + 1, hop), window)


def _cut(
    kept: Waveform, offset: int, starts: NDArray[np.int64], window: int
) -> Iterator[tuple[NDArray[np.int64], list[Waveform]]]:
    for first in range(0, len(starts), _AT_ONCE):
        part = starts[first : first + _AT_ONCE]
        yield part, [kept[max(0, begin) : begin + window] for begin in (part - offset).tolist()]


class PeakPicker:
    """Peaks of a score that arrives window by window: ``pick_peaks`` on what surrounds each.

    A window is decided as soon as ``distance`` more are known: what comes later is too far away to
    hide it. The result is that of ``pick_peaks`` on the whole, except where peaks that are closer than
    ``distance`` rise one after another: there the first is dropped, though the last hides the second.

    Parameters
    ----------
    distance
        Windows from one peak to the next, at least.
    """

    def __init__(self, distance: int) -> None:
        self._distance = distance
        self._before = _BEFORE * distance
        size = self._before + 1 + distance
        self._scores = deque([NOTHING] * size, size)

    def push(self, score: float) -> bool:
        """Take the next window's score, and say whether the one ``distance`` windows ago is a peak."""
        self._scores.append(score)
        if self._scores[self._before] == NOTHING:
            return False
        return self._before in pick_peaks(np.asarray(self._scores), self._distance)


def confirmed_peaks(windows: Iterable[Window], threshold: float, distance: int) -> Iterator[Window]:
    """Yield the windows at which the score peaks, from the threshold on, ``distance`` windows later."""
    picker, recent = PeakPicker(distance), deque[Window](maxlen=distance + 1)
    silence = Window(0, 0)
    for window in chain(windows, repeat(silence, distance)):
        recent.append(window)
        if picker.push(window.score if window.score >= threshold else NOTHING):
            yield recent[0]


def watched(windows: Iterable[Window], seconds: float) -> Iterator[Window]:
    """Show a bar of how far the windows of a recording of some length have come."""
    with progress_bar("scanning", round(seconds), "s") as bar:
        shown = 0
        for window in windows:
            bar.advance(int(window.end) - shown)
            shown = int(window.end)
            yield window
