"""Planted test sets: labels without recordings."""

import numpy as np

from intervox.clips.labels import Clips


def grid(speakers: int, contents: int, repeats: int) -> Clips:
    """Every speaker says every content as often, in a second each."""
    cells = [(s, c) for s in range(speakers) for c in range(contents) for _ in range(repeats)]
    labels = {
        "speaker": np.array([f"speaker {s:02d}" for s, _ in cells]),
        "content": np.array([f"word {c:02d}" for _, c in cells]),
    }
    paths = np.array([f"{index:05d}" for index in range(len(cells))])
    return Clips(paths, labels, np.ones(len(cells)), np.full(len(cells), ""))
