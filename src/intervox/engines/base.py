"""What every engine offers, and the registry that recipes name them by."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module

from intervox.audio import Waveform
from intervox.errors import IntervoxError


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker.

    Attributes
    ----------
    name
        Unique within its engine; ``Engine.render`` accepts it.
    family
        What the voice is derived from. Voices of one family are never split between training and
        held-out cells: they differ by less than two people do.
    language
        BCP 47 tag of what it speaks.
    """

    name: str
    family: str
    language: str


class Engine(ABC):
    """A text-to-speech system."""

    name: str
    version: str
    licence: str

    @abstractmethod
    def voices(self, count: int) -> list[Voice]:
        """Return ``count`` different voices, the same ones for the same count.

        Raises
        ------
        IntervoxError
            The engine has fewer.
        """

    @abstractmethod
    def render(self, text: str, voice: str, seed: int) -> Waveform:
        """Speak ``text``; the same arguments give the same samples, whatever was rendered before.

        Parameters
        ----------
        text
            What to say.
        voice
            A ``Voice.name`` of this engine.
        seed
            Chooses the rendition: the small differences between two readings by one speaker.

        Returns
        -------
        Waveform
            Shape (samples,), 16 kHz. Empty where the engine produced nothing.
        """


ENGINES = {"espeak": "intervox.engines.espeak:EspeakEngine"}
"""Recipe name to ``module:class``; imported on first use."""

_loaded: dict[str, Engine] = {}


def load_engine(name: str) -> Engine:
    """Return the engine of that name, started once per process.

    Raises
    ------
    IntervoxError
        The name is unknown, or the engine is not installed.
    """
    if name not in ENGINES:
        raise IntervoxError(f"unknown engine {name!r}: choose from {', '.join(sorted(ENGINES))}")
    if name not in _loaded:
        module, attribute = ENGINES[name].split(":")
        _loaded[name] = getattr(import_module(module), attribute)()
    return _loaded[name]
