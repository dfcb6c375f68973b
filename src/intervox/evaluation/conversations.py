"""Recordings in which several people speak in turn, composed of clips of one each: the turns are known."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from intervox.audio import SAMPLE_RATE, AudioSource, Waveform, load_audio
from intervox.metrics.diarisation import Stretch

_PAUSE_SECONDS = (0.2, 1.0)
_NOISE = 3e-4
"""Deviation of the white noise beneath it all, so that pauses are no digital silence."""

_FRAME = 320
_FLOOR = 0.01
"""Where a clip's level first and last exceeds this share of its highest, its turn begins and ends."""


class Conversation(NamedTuple):
    """A recording, and who speaks when."""

    wave: Waveform
    turns: list[Stretch]


def compose(said: Sequence[tuple[str, AudioSource]], seed: int) -> Conversation:
    """Put clips one after the other, with pauses drawn between 0.2 and 1 s.

    Parameters
    ----------
    said
        Who speaks, and the clip, whose silence on either side is cut.
    """
    random = np.random.default_rng(seed)
    parts: list[Waveform] = []
    turns: list[Stretch] = []
    length = 0
    for name, clip in said:
        pause = np.zeros(round(random.uniform(*_PAUSE_SECONDS) * SAMPLE_RATE), np.float32)
        wave = _loud(load_audio(clip))
        start = length + len(pause)
        length = start + len(wave)
        parts += [pause, wave]
        turns.append((start / SAMPLE_RATE, length / SAMPLE_RATE, name))
    whole = np.concatenate([*parts, np.zeros(SAMPLE_RATE // 2, np.float32)])
    return Conversation(np.asarray(whole + random.normal(0, _NOISE, len(whole)), np.float32), turns)


def _loud(wave: Waveform) -> Waveform:
    """Cut what is silent before and after, by its level alone."""
    frames = wave[: len(wave) // _FRAME * _FRAME].reshape(-1, _FRAME)
    levels = np.sqrt(np.mean(frames**2, axis=1))
    loud = np.flatnonzero(levels > _FLOOR * levels.max())
    return wave[loud[0] * _FRAME : (loud[-1] + 1) * _FRAME]
