"""What every subspace says of two clips."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intervox.audio import Waveform
from intervox.subspaces.model import SubspaceModel

_QUESTIONS = {
    "speaker": ("Same voice?", "the same voice", "different voices"),
    "content": ("Same words?", "the same words", "different words"),
}


@dataclass(frozen=True)
class Verdict:
    """The answer of one subspace.

    Attributes
    ----------
    vectors
        Unit vectors of the two clips, shape (2, dim).
    score
        Their cosine.
    probability
        That they share the factor, at even odds; None where the subspace was never calibrated.
    threshold
        Score of an even probability; None likewise.
    """

    space: str
    factor: str
    vectors: NDArray[np.float32]
    score: float
    probability: float | None
    threshold: float | None

    @property
    def question(self) -> str:
        """What the subspace was asked."""
        return _QUESTIONS.get(self.factor, (f"Same {self.factor}?",))[0]

    @property
    def words(self) -> str:
        """The answer in plain words."""
        if self.probability is None:
            return "Not calibrated: only the score is known"
        same, different = self.alternatives
        sure = "Very likely" if abs(self.probability - 0.5) >= 0.4 else "Probably"
        return f"{sure} {same if self.probability >= 0.5 else different}"

    @property
    def alternatives(self) -> tuple[str, str]:
        """How to call a pair that shares the factor, and one that does not."""
        _, *alternatives = _QUESTIONS.get(
            self.factor, ("", f"the same {self.factor}", f"a different {self.factor}")
        )
        return alternatives[0], alternatives[1]


def compare(model: SubspaceModel, first: Waveform, second: Waveform) -> list[Verdict]:
    """Compare two clips in every subspace, the speaker's first."""
    vectors = model.encode([first, second])
    spaces = sorted(model.factors, key=lambda space: model.factors[space] != "speaker")
    return [_verdict(model, space, vectors[space]) for space in spaces]


def _verdict(model: SubspaceModel, space: str, vectors: NDArray[np.float32]) -> Verdict:
    score = float(model.similarity_pairwise(vectors[:1], vectors[1:])[0])
    probability = threshold = None
    if space in model.calibration:
        slope, offset = model.calibration[space]
        probability = float(model.probability(np.array([score]), space)[0])
        threshold = -offset / slope
    return Verdict(space, model.factors[space], vectors, score, probability, threshold)
