"""Where in a recording a keyword is said, and how to draw that."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from intervox.applications.spotter import Detection, KeywordSpotter
from intervox.audio import SAMPLE_RATE, Waveform
from intervox.errors import IntervoxError
from intervox.subspaces.model import SubspaceModel

MAX_EXAMPLES = 5
_BARS = 240


@dataclass(frozen=True)
class Timeline:
    """A recording and what was found in it.

    Attributes
    ----------
    seconds
        Length of the recording.
    outline
        SVG path of the recording's loudness, 0 to 1 wide and -1 to 1 high.
    """

    keyword: str
    detections: list[Detection]
    seconds: float
    outline: str


def spot(model: SubspaceModel, keyword: str, examples: Sequence[Waveform], recording: Waveform) -> Timeline:
    """Find a keyword that is known by examples."""
    space = next((space for space, factor in model.factors.items() if factor == "content"), None)
    if space is None:
        raise IntervoxError("this model has no subspace of content: no keyword can be found with it")
    spotter = KeywordSpotter(model, space).fit(examples, [keyword] * len(examples))
    found = sorted(spotter.scan(recording), key=lambda detection: detection.start)
    return Timeline(keyword, found, len(recording) / SAMPLE_RATE, _outline(recording))


def _outline(recording: Waveform) -> str:
    """Trace the peaks of pieces of equal length, scaled to the loudest."""
    edges = np.linspace(0, len(recording), _BARS + 1).astype(int)[:-1]
    peaks = np.maximum.reduceat(np.abs(recording), edges)
    heights = peaks / peaks.max()
    bars = (f"M{n} {-height:.2f}V{height:.2f}" for n, height in enumerate(heights))
    return "".join(bars)
