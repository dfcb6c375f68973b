"""Adaptive score normalisation: what a cosine means for this clip and this person, beside a cohort."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from intervox.errors import IntervoxError

TOP = 100
"""Cohort clips that are nearest to a vector, and whose scores normalise its own."""

LEAST = 20
"""Fewer clips say too little about mean and deviation."""

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Cohort:
    """Clips of people who are nobody of the enrolled, recorded as clips will be.

    Adaptive symmetric normalisation, AS-norm1 of Matějka et al. 2017 (*Analysis of Score Normalization in
    Multilingual Speaker Recognition*, Interspeech): a score is standardised by the scores of each of its
    two sides with the cohort clips that are nearest to that side, and the two are averaged. The result is
    brought back to the scale of cosines by the cohort's own mean and deviation, so that calibration and
    thresholds keep their meaning as far as they can.

    Attributes
    ----------
    vectors
        Unit vectors, shape (clips, dim).
    """

    vectors: Vectors

    def __post_init__(self) -> None:
        if len(self.vectors) < LEAST:
            raise IntervoxError(
                f"{len(self.vectors)} clips are too few to normalise by: give at least {LEAST}, of as many "
                "people as you can"
            )

    def scores(self, vectors: Vectors, prototypes: Vectors) -> Vectors:
        """Score clips against prototypes: normalised, on the scale of cosines.

        Parameters
        ----------
        vectors, prototypes
            Unit vectors, shapes (clips, dim) and (names, dim).

        Returns
        -------
        ndarray
            Shape (clips, names); it may leave [-1, 1].
        """
        raw = vectors @ prototypes.T
        clip_mean, clip_deviation = self._nearest(vectors)
        name_mean, name_deviation = self._nearest(prototypes)
        of_clips = (raw - clip_mean[:, None]) / clip_deviation[:, None]
        of_names = (raw - name_mean) / name_deviation
        mean, deviation = self._usual
        return np.asarray((of_clips + of_names) / 2 * deviation + mean, np.float32)

    @cached_property
    def _usual(self) -> tuple[float, float]:
        """Mean and deviation that a cohort clip itself has, on average."""
        mean, deviation = self._nearest(self.vectors, itself=True)
        return float(mean.mean()), float(deviation.mean())

    def _nearest(self, vectors: Vectors, itself: bool = False) -> tuple[Vectors, Vectors]:
        """Mean and deviation of each vector's scores with its nearest cohort clips: shape (vectors,)."""
        scores = vectors @ self.vectors.T
        if itself:
            np.fill_diagonal(scores, -np.inf)
        top = min(TOP, len(self.vectors) - itself)
        nearest = np.partition(scores, -top, axis=1)[:, -top:]
        return nearest.mean(axis=1), np.maximum(nearest.std(axis=1), 1e-4)
