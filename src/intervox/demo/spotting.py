"""Where in a recording a keyword is said, and how to draw that."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from intervox.applications.spotter import Detection, KeywordSpotter
from intervox.audio import SAMPLE_RATE, Waveform
from intervox.errors import IntervoxError
from intervox.metrics.events import HOP_SECONDS
from intervox.model.model import SubspaceModel

MAX_EXAMPLES = 5
USUAL_SECONDS = 25.0
"""Once in so many seconds a keyword is expected, unless the visitor says otherwise."""

_BARS = 240


@dataclass(frozen=True)
class Timeline:
    """A recording and what was found in it.

    Attributes
    ----------
    seconds
        Length of the recording.
    outline
        SVG path of the recording's loudness, 240 wide and -1 to 1 high.
    usual_seconds
        Once in so many seconds a keyword is expected: what the probabilities assume.
    """

    keyword: str
    detections: list[Detection]
    seconds: float
    outline: str
    usual_seconds: float


def spot(
    model: SubspaceModel,
    keyword: str,
    examples: Sequence[Waveform],
    recording: Waveform,
    usual_seconds: float = USUAL_SECONDS,
) -> Timeline:
    """Find a keyword that is known by examples and expected once in ``usual_seconds``."""
    space = next((space for space, factor in model.factors.items() if factor == "content"), None)
    if space is None:
        raise IntervoxError("this model has no subspace of content: no keyword can be found with it")
    prior = HOP_SECONDS / usual_seconds
    spotter = KeywordSpotter(model, space, hop_seconds=HOP_SECONDS, prior=prior)
    spotter.fit(examples, [keyword] * len(examples))
    found = sorted(spotter.scan(recording), key=lambda detection: detection.start)
    return Timeline(keyword, found, len(recording) / SAMPLE_RATE, _outline(recording), usual_seconds)


def _outline(recording: Waveform) -> str:
    """Trace the peaks of pieces of equal length, scaled to the loudest."""
    edges = np.linspace(0, len(recording), _BARS + 1).astype(int)[:-1]
    peaks = np.maximum.reduceat(np.abs(recording), edges)
    heights = peaks / peaks.max()
    bars = (f"M{n} {-height:.2f}V{height:.2f}" for n, height in enumerate(heights))
    return "".join(bars)
