"""A keyword in a recording, and who of the people enrolled says it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from intervox.applications.enrolled import UNKNOWN
from intervox.applications.live import Window
from intervox.applications.verifier import SpeakerVerifier
from intervox.errors import IntervoxError
from intervox.model.embedder import Embedder


@dataclass(frozen=True)
class Detection:
    """A keyword in a recording.

    Attributes
    ----------
    start, end
        Of the window in which it was found, in seconds.
    score
        Cosine of the window with the keyword's examples, in [-1, 1].
    probability
        Calibrated, at the prior of ``KeywordSpotter``.
    speaker, speaker_probability
        Who of the spotter's ``people`` says it, or ``unknown``, and how probable that is; None where nobody
        asks.
    """

    keyword: str
    start: float
    end: float
    score: float
    probability: float
    speaker: str | None = None
    speaker_probability: float | None = None


def check_people(people: SpeakerVerifier | None, speaker: str | None, model: Embedder) -> None:
    """Raise an ``IntervoxError`` where people can't be told apart by a model, or one of them is missing."""
    if people is not None:
        assert len(people.prototypes_)  # or it raises that nobody is enrolled
        if people.model_.key != model.key:
            raise IntervoxError("keywords and people were enrolled with different models: use one for both")
        if speaker is not None:
            people.check_name(speaker)
    elif speaker is not None:
        raise IntervoxError(f"people are needed to know {speaker!r} by: give those enrolled")


def attributed(
    found: Detection, windows: Iterable[Window], people: SpeakerVerifier, speaker: str | None
) -> Detection:
    """Say who speaks in a detection, by all windows whose middle lies in it.

    Parameters
    ----------
    speaker
        Whose voice it is compared with; without, that of everybody.
    """
    near = [w for w in windows if found.start <= (w.start + w.end) / 2 <= found.end]
    voices = np.stack([window.voice for window in near if window.voice is not None]).sum(axis=0)
    seconds = max(w.end for w in near) - min(w.start for w in near)
    vector = np.asarray(voices / np.linalg.norm(voices), np.float32)
    if speaker is None:
        identity = people.identity(vector, seconds)
        return replace(found, speaker=identity.name, speaker_probability=identity.probability)
    decision = people.decision(vector, seconds, speaker)
    name = speaker if decision.accepted else UNKNOWN
    return replace(found, speaker=name, speaker_probability=decision.probability)
