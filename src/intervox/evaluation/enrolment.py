"""Who enrols keywords and who is tested: the draws of examples, and the prototypes made of them."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from intervox.evaluation.clips import Clips, Labels

Rows = NDArray[np.int64]


def draw_episodes(
    clips: Clips, vocabularies: Sequence[Labels], shots: int, random: np.random.Generator
) -> Iterator[tuple[Labels, Rows, Rows]]:
    """Halve the speakers: one half gives the examples, all clips of the other half are tested.

    Parameters
    ----------
    clips
        Their labels.
    vocabularies
        The keywords to enrol, for each episode.
    shots
        Examples of each keyword.

    Yields
    ------
    keywords, examples, tested
        Shapes (keywords,), (keywords, shots) and (tested,), the latter two clip indices. Episodes
        in which some keyword has too few examples are left out.
    """
    names, speaker = np.unique(clips.speakers, return_inverse=True)
    said = {keyword: np.flatnonzero(clips.contents == keyword) for keyword in np.unique(clips.contents)}
    for keywords in vocabularies:
        enrols = np.zeros(len(names), bool)
        enrols[random.permutation(len(names))[: len(names) // 2]] = True
        enrolling = enrols[speaker]
        available = [said[keyword][enrolling[said[keyword]]] for keyword in keywords]
        examples = [random.choice(rows, shots, replace=False) for rows in available if len(rows) >= shots]
        if len(examples) == len(keywords):
            yield keywords, np.stack(examples), np.flatnonzero(~enrolling)


def prototypes(vectors: NDArray[np.float32], examples: Rows) -> NDArray[np.float32]:
    """Average each keyword's examples: unit vectors of shape (keywords, dim)."""
    means = vectors[examples].mean(axis=1)
    return np.asarray(means / (np.linalg.norm(means, axis=1, keepdims=True) + 1e-9), np.float32)
