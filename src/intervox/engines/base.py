"""What every engine offers, and the registry that recipes name them by."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar

from intervox.audio import Waveform
from intervox.errors import IntervoxError
from intervox.recipe_corpus import EngineSettings


class RenderError(IntervoxError):
    """One rendition failed; the cell keeps the reason and the corpus goes on."""


@dataclass(frozen=True)
class Voice:
    """One synthetic speaker, or a person on record.

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


@dataclass(frozen=True)
class Take:
    """A text that one voice of a recorded corpus has said."""

    voice: str
    text: str


class Engine(ABC):
    """A source of speech: a text-to-speech system, or recordings that stand for one.

    Subclasses are built from their part of the recipe, ``__init__(settings)``, and raise an
    ``IntervoxError`` that says how to get what is missing.
    """

    name: ClassVar[str]
    version: str
    licence: str

    @abstractmethod
    def voices(self) -> list[Voice]:
        """Return as many different voices as the settings ask for, the same ones every time.

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

        Raises
        ------
        RenderError
            This text can't be spoken in this voice.
        """

    def takes(self) -> list[Take] | None:
        """Return what can be said by whom, or None for an engine that says anything in any voice."""
        return None

    def session(self, text: str, voice: str, seed: int) -> str:
        """Name the recording session that ``render`` with these arguments takes its clip from."""
        return ""


ENGINES = {
    "espeak": "intervox.engines.espeak:EspeakEngine",
    "kokoro": "intervox.engines.kokoro:KokoroEngine",
    "piper": "intervox.engines.piper:PiperEngine",
    "recordings": "intervox.engines.recordings:RecordingsEngine",
    "command": "intervox.engines.command:CommandEngine",
}
"""Recipe name to ``module:class``; imported on first use."""

_loaded: dict[str, Engine] = {}


def load_engine(settings: EngineSettings) -> Engine:
    """Return the engine that a recipe describes, started once per process.

    Raises
    ------
    IntervoxError
        The engine, or something that it needs, is not installed; the message says how to get it.
    """
    key = settings.model_dump_json()
    if key not in _loaded:
        module, attribute = ENGINES[settings.name].split(":")
        _loaded[key] = getattr(import_module(module), attribute)(settings)
    return _loaded[key]
