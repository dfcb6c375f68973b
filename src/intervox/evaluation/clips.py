"""What is known of the clips that are evaluated: the labels that every measure reads."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.str_]


@dataclass(frozen=True)
class Clips:
    """The labels of a test set; every array has shape (clips,).

    Attributes
    ----------
    paths
        Where each recording lies, or a name for it.
    labels
        Factor to values. ``speaker`` and ``content`` are always there; ``session``, ``language``,
        ``gender``, ``emotion`` and others where the corpus tells; also ``text``, the words, which
        are no factor. Empty strings are unknown.
    duration
        In seconds; 0 where it is unknown.
    split
        ``train``, ``validation`` or ``test`` of an official split, or empty.
    """

    paths: Labels
    labels: Mapping[str, Labels]
    duration: NDArray[np.float64]
    split: Labels

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def speakers(self) -> Labels:
        """Who speaks in each clip."""
        return self.labels["speaker"]

    @property
    def factors(self) -> list[str]:
        """What has labels and can be probed."""
        return [name for name in self.labels if name != "text"]

    @property
    def contents(self) -> Labels:
        """What is said in each clip."""
        return self.labels["content"]

    def take(self, rows: NDArray[np.integer]) -> "Clips":
        """Keep some of the clips, in the order of ``rows``."""
        labels = {factor: values[rows] for factor, values in self.labels.items()}
        return Clips(self.paths[rows], labels, self.duration[rows], self.split[rows])
