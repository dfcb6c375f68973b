"""What every engine offers, the registry that recipes name them by, and what engines of ONNX graphs share."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import soxr
from numpy.typing import NDArray

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.clips.manifest import FactorValues
from intervox.engines.phonemes import library_files
from intervox.errors import IntervoxError, missing_extra
from intervox.recipe.engines import EngineSettings

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


RATE_RANGE = (0.88, 1.14)
"""How much slower or faster than usual one person reads a text: each rendition draws from it."""

_FRAME_SECONDS = 0.01
_MARGIN_FRAMES = 5
_SILENCE_DB = -45.0


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
class RenditionLabels:
    """What a recording's manifest says of it besides who says what; nothing for synthetic speech.

    Attributes
    ----------
    session
        Recordings of one session share a channel.
    factors
        Values of ``Engine.factors``, as far as they are known.
    """

    session: str = ""
    factors: FactorValues = ()


class Engine(ABC):
    """A source of speech: a text-to-speech system, or recordings that stand for one.

    Subclasses are built from their part of the recipe, ``__init__(settings)``. Voices can be listed, and so
    a corpus planned, where nothing is installed that renders them; ``check`` says what is missing.

    Attributes
    ----------
    name
        As recipes give it.
    licence
        Of the speech.
    factors
        Further columns of labels that its renditions have.
    """

    name: ClassVar[str]
    licence: str
    factors: tuple[str, ...] = ()

    @property
    @abstractmethod
    def version(self) -> str:
        """What changes whenever the same arguments may give other samples."""

    def check(self) -> None:
        """Raise an ``IntervoxError`` that says how to get it where something to render with is missing."""
        assert self.version, "which can't be told either where something is missing"

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

    def takes(self) -> dict[str, frozenset[str]] | None:
        """Return the texts that each voice can say, or None for an engine that says anything."""
        return None

    def labels(self, text: str, voice: str, seed: int) -> RenditionLabels:
        """Return what is known of the clip that ``render`` gives for these arguments."""
        return RenditionLabels()


ENGINES = {
    "espeak": "intervox.engines.espeak:EspeakEngine",
    "kokoro": "intervox.engines.kokoro:KokoroEngine",
    "piper": "intervox.engines.piper:PiperEngine",
    "recordings": "intervox.engines.recordings:RecordingsEngine",
    "unlabelled": "intervox.engines.unlabelled:UnlabelledEngine",
    "command": "intervox.engines.command:CommandEngine",
    "clone": "intervox.engines.clone:CloneEngine",
}
"""Recipe name to ``module:class``; imported on first use."""

_loaded: dict[str, Engine] = {}


def load_engine(settings: EngineSettings) -> Engine:
    """Return the engine that a recipe describes, made once per process.

    Raises
    ------
    IntervoxError
        Its settings can't be used; that nothing renders is said by ``Engine.check``.
    """
    key = settings.model_dump_json()
    if key not in _loaded:
        module, attribute = ENGINES[settings.name].split(":")
        _loaded[key] = getattr(import_module(module), attribute)(settings)
    return _loaded[key]


def check_runtime(extra: str) -> None:
    """Refuse to render with an engine of ONNX graphs without their runtime, or eSpeak NG's phonemes."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        raise missing_extra("onnxruntime", extra, f"the {extra} engine") from None
    library_files(f"the {extra} engine")


def open_session(path: Path) -> "InferenceSession":
    """Load an ONNX graph to run on one thread, as several processes share the cores.

    Parameters
    ----------
    path
        The ``.onnx`` file.

    Raises
    ------
    IntervoxError
        The file is no graph that ``onnxruntime`` can run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors share no base class
        reason = str(error).splitlines()[0]
        raise IntervoxError(f"{path} can't be run ({reason}): get the file again") from None


def finished_clip(samples: NDArray[np.float32], sample_rate: int) -> Waveform:
    """Cut the silence around the speech to 50 ms, resample to 16 kHz, and keep within [-1, 1].

    Parameters
    ----------
    samples
        Shape (samples,), at ``sample_rate`` Hz.
    sample_rate
        Of the graph's output.
    """
    frame = round(_FRAME_SECONDS * sample_rate)
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    level = np.sqrt(np.mean(frames**2, axis=1))
    heard = np.flatnonzero(level > level.max(initial=0) * 10 ** (_SILENCE_DB / 20))
    if not len(heard):
        return np.zeros(0, np.float32)
    first, last = max(0, heard[0] - _MARGIN_FRAMES), heard[-1] + 1 + _MARGIN_FRAMES
    wave = soxr.resample(samples[first * frame : last * frame], sample_rate, SAMPLE_RATE)
    return np.asarray(wave / max(1.0, np.abs(wave).max()), np.float32)
