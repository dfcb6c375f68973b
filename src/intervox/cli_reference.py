"""Whom ``intervox verify`` compares clips with: one clip, or somebody who is enrolled."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from intervox.errors import IntervoxError

if TYPE_CHECKING:
    from intervox.interop.base import Vectors
    from intervox.subspaces.model import SubspaceModel

SPEAKER = "speaker"


@dataclass(frozen=True)
class Reference:
    """A speaker with whom clips are compared.

    Attributes
    ----------
    vector
        Unit vector, shape (dim,).
    threshold
        Cosine from which on a speaker is the same; None to decide by the probability.
    """

    name: str
    model: "SubspaceModel"
    space: str
    vector: "Vectors"
    threshold: float | None

    def compare(self, vectors: "dict[str, Vectors]") -> tuple[float, float, bool]:
        """Return cosine, probability at even odds, and whether it is the same speaker."""
        score = vectors[self.space] @ self.vector
        probability = float(self.model.probability(score, self.space))
        same = probability >= 0.5 if self.threshold is None else bool(score >= self.threshold)
        return float(score), probability, same


def heard_reference(
    clip: str, model: "SubspaceModel", vectors: "dict[str, Vectors] | IntervoxError", rate: float | None
) -> Reference:
    """Take one clip as the reference; without a rate scikit-learn stays out, which costs half a second."""
    model.check_space(SPEAKER)
    if isinstance(vectors, IntervoxError):
        raise vectors
    threshold = None
    if rate is not None:
        from intervox.applications.verifier import SpeakerVerifier

        threshold = SpeakerVerifier(model).set_false_accept_rate(rate).threshold_
    return Reference(clip, model, SPEAKER, vectors[SPEAKER], threshold)


def enrolled_reference(path: Path, speaker: str | None, model: str | None, rate: float | None) -> Reference:
    """Take a speaker of a file of ``intervox enrol``, by default the only one."""
    from intervox.applications.verifier import SpeakerVerifier

    verifier = SpeakerVerifier.load(path, model)
    names = verifier.classes_.tolist()
    if speaker is None and len(names) != 1:
        raise IntervoxError(f"{path} knows {', '.join(names) or 'nobody'}: say whom to verify with --speaker")
    name = names[0] if speaker is None else speaker
    verifier.check_name(name)
    if rate is not None:
        verifier.set_false_accept_rate(rate)
    vector = verifier.prototypes_[names.index(name)]
    return Reference(name, verifier.model_, verifier.space, vector, verifier.threshold_)
