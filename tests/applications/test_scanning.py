"""Windows and peaks: the same however sound is chunked, and as soon as they can be."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from intervox.applications.live import NOTHING, Window, confirmed_peaks, sliding_windows
from intervox.audio import Waveform
from intervox.evaluation.streams import Stream, StreamWindows
from intervox.metrics.events import pick_peaks

SOUND = np.arange(1_000, dtype=np.float32)


def cut(chunks: list[Waveform], window: int, hop: int) -> list[tuple[int, Waveform]]:
    groups = list(sliding_windows(chunks, window, hop))
    return [pair for starts, waves in groups for pair in zip(starts.tolist(), waves, strict=True)]


def test_windows_by_hand() -> None:
    found = cut([SOUND[:10]], 4, 2)
    assert [start for start, _ in found] == [-2, 0, 2, 4, 6, 8]
    assert [wave.tolist() for _, wave in found] == [
        [0, 1], [0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9], [8, 9],
    ]  # fmt: skip
    # A sample less: the middle of the last window lies beyond the sound.
    assert cut([SOUND[:9]], 4, 2)[-1][1].tolist() == [6, 7, 8]
    # Shorter than a window: whatever there is.
    assert [wave.tolist() for _, wave in cut([SOUND[:1]], 4, 2)] == [[0]]
    assert cut([], 4, 2) == cut([SOUND[:0]], 4, 2) == []


@pytest.mark.parametrize(("window", "hop"), [(100, 25), (90, 40), (33, 33), (1_500, 10)])
def test_chunks_do_not_matter(window: int, hop: int) -> None:
    whole = cut([SOUND], window, hop)
    random = np.random.default_rng(0)
    for pieces in (2, 40, 900):
        # Some pieces are empty.
        edges = np.sort(random.integers(0, len(SOUND), pieces))
        again = cut(np.split(SOUND, edges), window, hop)
        assert [start for start, _ in again] == [start for start, _ in whole]
        for (_, first), (_, second) in zip(again, whole, strict=True):
            np.testing.assert_array_equal(first, second)


def test_whole_windows_are_those_that_are_measured() -> None:
    wave = np.random.default_rng(0).normal(size=80_000).astype(np.float32)
    measured = [clip.wave for clip in StreamWindows([Stream(wave, [], 0)]).load_shard(0)]
    found = [part for _, part in cut([wave], 16_000, 4_000) if len(part) == 16_000]
    np.testing.assert_array_equal(np.stack(found), np.stack([part for part in measured if part is not None]))


def test_a_window_comes_with_its_last_sample() -> None:
    given = 0

    def samples() -> Iterator[Waveform]:
        nonlocal given
        for start in range(0, 200, 5):
            given = start + 5
            yield SOUND[start : start + 5]

    for starts, _ in sliding_windows(samples(), 40, 10):
        if given < 200:
            assert given == starts[-1] + 40


def test_memory_is_that_of_a_window_and_a_chunk() -> None:
    chunk = np.zeros(480_000, np.float32)
    tracemalloc.start()
    count = sum(len(waves) for _, waves in sliding_windows((chunk for _ in range(60)), 16_000, 4_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 60 * 120 + 1
    assert peak < 3 * chunk.nbytes


def picked(scores: NDArray[np.float64], distance: int) -> list[int]:
    windows = (Window(0, 0, number, score) for number, score in enumerate(scores))
    return [window.column for window in confirmed_peaks(windows, NOTHING, distance)]


def test_peaks_by_hand() -> None:
    scores = np.array([5, 1, 2, 4, 3, 3.5, 1, 6])
    assert picked(scores, 3) == [0, 3, 7]
    assert picked(scores, 1) == [0, 3, 5, 7]
    assert picked(np.full(9, NOTHING), 3) == []
    # A plateau is one peak.
    assert len(picked(np.array([1.0, 2, 2, 1]), 3)) == 1


@pytest.mark.parametrize("distance", [1, 3, 6])
def test_peaks_are_those_of_the_whole(distance: int) -> None:
    random = np.random.default_rng(distance)
    # As smooth as scores of windows that overlap, and mostly below the threshold.
    scores = np.convolve(random.normal(size=6_000), np.ones(4) / 4, mode="valid")
    masked = np.where(scores >= 0.8, scores, NOTHING)
    expected = pick_peaks(masked, distance).tolist()
    assert len(expected) > 50
    assert picked(masked, distance) == expected
    # However low the threshold, two detections are never close to each other, and few are others.
    found, expected = picked(scores, distance), pick_peaks(scores, distance).tolist()
    assert len(set(found) ^ set(expected)) < 0.15 * len(expected)
    assert all(scores[peak] == scores[max(0, peak - 1) : peak + 2].max() for peak in found)


@pytest.mark.parametrize("scores", [[0.5], [0.2, 0.6], [0.9, 0.1, 0.2, 0.3, 0.8], [NOTHING, 0.7, NOTHING]])
def test_peaks_at_the_ends_of_short_recordings(scores: list[float]) -> None:
    windows = [Window(number, number + 1, number, score) for number, score in enumerate(scores)]
    found = [window.column for window in confirmed_peaks(windows, 0.3, 3)]
    assert found == [peak for peak in pick_peaks(np.array(scores), 3) if scores[peak] >= 0.3]
