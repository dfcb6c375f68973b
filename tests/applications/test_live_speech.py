"""Windows of live speech, however sound is chunked, and how late answers come."""

import time
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from intervox.applications import vad
from intervox.applications.live import Clock
from intervox.applications.turns import Path
from intervox.applications.vad import SpeechWindow, speech_windows
from intervox.audio import SAMPLE_RATE, Waveform

SPEECH = [(1.0, 8.3), (9.5, 10.5), (14.0, 19.0)]
"""Loud, in seconds of 20."""


@pytest.fixture
def sound(monkeypatch: pytest.MonkeyPatch) -> Waveform:
    """Let loudness be speech, and return sound with some of it, all samples different."""
    monkeypatch.setattr(vad, "_detector", lambda: lambda frame: float(frame.max() > 0.05))
    wave = np.linspace(0.0, 0.01, 20 * SAMPLE_RATE, dtype=np.float32)
    for start, end in SPEECH:
        wave[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)] += 0.1
    return wave


def chunked(wave: Waveform, size: int) -> Iterator[Waveform]:
    return (wave[start : start + size] for start in range(0, len(wave), size))


def cut(chunks: Iterable[Waveform]) -> list[SpeechWindow]:
    return [window for windows, _ in speech_windows(chunks, 4, 2) for window in windows]


def test_windows_follow_the_speech(sound: Waveform) -> None:
    found = cut([sound])
    stretches = vad.speech(sound)
    assert len(stretches) == len(SPEECH)
    expected = []
    for start, end in stretches:
        # By hand: every two seconds while four are left, and the last one ends with the stretch.
        starts = [start + 2 * n for n in range(10) if start + 2 * n + 4 < end] + [max(start, end - 4)]
        expected += [(begin, min(begin + 4, end), begin == start, begin == starts[-1]) for begin in starts]
    assert len(found) == len(expected)
    for window, (start, end, first, last) in zip(found, expected, strict=True):
        assert (window.first, window.last) == (first, last)
        assert window.start == round(start * SAMPLE_RATE)
        assert len(window.wave) == round((end - start) * SAMPLE_RATE)
        np.testing.assert_array_equal(window.wave, sound[window.start : window.start + len(window.wave)])


@pytest.mark.parametrize("size", [160, 1_601, 16_000, 100_000])
def test_chunks_do_not_matter(sound: Waveform, size: int) -> None:
    whole, found = cut([sound]), cut(chunked(sound, size))
    assert len(found) == len(whole)
    for one, other in zip(found, whole, strict=True):
        assert (one.start, one.first, one.last) == (other.start, other.first, other.last)
        np.testing.assert_array_equal(one.wave, other.wave)


def test_a_window_comes_as_soon_as_it_can(sound: Waveform) -> None:
    size, given = 1_600, 0
    for windows, certain in speech_windows(chunked(sound, size), 4, 2):
        given += size
        assert certain <= given / SAMPLE_RATE
        for window in windows:
            end = window.start + len(window.wave)
            # What goes on is cut within a frame and a chunk; an end is known after a third of a second.
            assert given - end <= size + (0.33 * SAMPLE_RATE if window.last else 1024)


def test_states_are_decided_while_they_are_heard() -> None:
    path = Path(3, 3.0)
    evidence = np.zeros((8, 3))
    evidence[:4, 1], evidence[4:, 2] = 5, 5
    decided = [state for row in evidence for state in path.push(row)]
    assert len(decided) >= 6, "nothing that follows can change these"
    assert decided + path.settle() == [1] * 4 + [2] * 4
    # What was settled is where the path goes on: another state costs a change.
    assert path.push(np.array([2.0, 0, 0])) + path.settle() == [2]
    assert path.settle() == []


def test_late_is_from_when_the_sound_was_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    def chunks() -> Iterator[NDArray[np.float32]]:
        nonlocal now
        for late in (0.1, 0.0, 0.3):  # a busy consumer takes chunks late
            now = 100 + late + 0.5 * (1 + count)
            yield np.zeros((8_000, 1), np.float32)

    clock, count = Clock(chunks()), 0
    for count, _ in enumerate(clock, 1):  # noqa: B007 - chunks reads it
        pass
    assert now == pytest.approx(101.8)
    assert clock.milliseconds_since(1.2) == pytest.approx(600)
