"""Kokoro-82M through ONNX Runtime: 54 presets and mixtures of them, a third of real time on one core.

A style vector has a half for timbre (the decoder reads it) and one for prosody (the predictor of durations,
pitch and energy reads it). A voice may take the two from different presets.

The graph draws no random numbers, so the same arguments give the same samples. They are those of
one kind of processor: int8 arithmetic may round differently on another.
"""

import re
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from intervox.audio import Waveform
from intervox.engines.base import (
    RATE_RANGE,
    Engine,
    RenderError,
    Voice,
    check_runtime,
    finished_clip,
    open_session,
)
from intervox.engines.kokoro_assets import (
    MODEL,
    STYLE_SHAPE,
    VOCABULARY,
    VOICES,
    check_assets,
    default_folder,
)
from intervox.engines.kokoro_voices import make_voices, parse_voice
from intervox.engines.phonemes import phonemise
from intervox.recipe.engines import KokoroSettings
from intervox.seeds import rng
from intervox.storage import read_json

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_SAMPLE_RATE = 24_000
_PROSODY = slice(128, 256)
"""Of a style vector; what comes before it is timbre."""

_TIE = "^"
_SYLLABIC = re.compile("(\\S)\u0329")

_ALL = {
    "a^ɪ": "I",
    "a^ʊ": "W",
    "d^z": "ʣ",
    "d^ʒ": "ʤ",
    "e^ɪ": "A",
    "o^ʊ": "O",
    "t^s": "ʦ",
    "t^ʃ": "ʧ",
    "ɔ^ɪ": "Y",
    "ə^ʊ": "Q",
}
_ENGLISH = {
    "ʔˌn\u0329": "tᵊn",
    "ʔn\u0329": "tᵊn",
    "ʔ": "t",
    "ə^l": "ᵊl",
    "ɚ": "əɹ",
    "ɐ": "ə",
    "r": "ɹ",
    "x": "k",
    "ç": "k",
    "ɬ": "l",
    "ʲ": "",
    "\u0303": "",
}
_AMERICAN = {"ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ɪə": "iə", "ɾ": "T", "o": "ɔ", "ː": ""}
_BRITISH = {"e^ə": "ɛː", "iə": "ɪə", "i^ə": "ɪə"}


class KokoroEngine(Engine):
    """The ``kokoro`` engine."""

    name = "kokoro"
    licence = "Apache-2.0 (Kokoro-82M; its phonemes come from eSpeak NG, GPL-3.0-or-later)"

    def __init__(self, settings: KokoroSettings) -> None:
        self._settings = settings
        self._folder = settings.folder or default_folder()
        # One preset is some 0.5 MB; a run comes back to the same few.
        self._preset = lru_cache(maxsize=None)(self._read_preset)

    @cached_property
    def version(self) -> str:  # type: ignore[override]  # found once
        check_runtime("kokoro")
        return f"v1.0-int8-{check_assets(self._folder)['model_sha256'][:8]}"

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        vocabulary: dict[str, int] = read_json(self._folder / VOCABULARY)["vocab"]
        return vocabulary

    def voices(self) -> list[Voice]:
        return make_voices(self._settings.voices, self._settings.languages, self._settings.prosody)

    def render(self, text: str, voice: str, seed: int) -> Waveform:
        """Speak ``text``; the seed moves the rate, as Kokoro has no other choice to make."""
        spoken = parse_voice(voice)
        symbols = kokoro_phonemes(text, spoken.language)
        ids = [self._vocabulary[symbol] for symbol in symbols if symbol in self._vocabulary]
        if not ids:
            return np.zeros(0, np.float32)
        if len(ids) >= STYLE_SHAPE[0]:
            raise RenderError(
                f"kokoro reads {STYLE_SHAPE[0] - 1} symbols at once and the text {text[:40]!r}... has "
                f"{len(ids)}: shorten it"
            )
        style = self._mixed(spoken.timbre, len(ids))
        style[_PROSODY] = self._mixed(spoken.prosody, len(ids))[_PROSODY]
        speed = spoken.rate * rng(seed, "kokoro.take").uniform(*RATE_RANGE)
        inputs = {
            self._tokens: np.array([[0, *ids, 0]], np.int64),
            "style": style[None],
            "speed": np.array([speed], np.float32),
        }
        return finished_clip(self._session.run(None, inputs)[0].reshape(-1), _SAMPLE_RATE)

    @cached_property
    def _session(self) -> "InferenceSession":
        return open_session(self._folder / MODEL)

    @cached_property
    def _tokens(self) -> str:
        """The graph's name for the symbols, the one thing in which the two exports differ."""
        names: list[str] = [given.name for given in self._session.get_inputs()]
        return next(name for name in names if name not in ("style", "speed"))

    def _mixed(self, weights: dict[str, float], symbols: int) -> NDArray[np.float32]:
        """Return the style vector of some presets, shape (256,)."""
        parts = (np.float32(weight) * self._preset(preset)[symbols] for preset, weight in weights.items())
        return np.asarray(sum(parts), np.float32)

    def _read_preset(self, preset: str) -> NDArray[np.float32]:
        """Return a preset's style vectors by number of symbols, shape (510, 256)."""
        path = self._folder / VOICES / f"{preset}.bin"
        return np.fromfile(path, np.float32).reshape(STYLE_SHAPE)


def kokoro_phonemes(text: str, language: str) -> str:
    """Transcribe ``text`` in Kokoro's symbols.

    Parameters
    ----------
    text
        What is said.
    language
        BCP 47 tag; ``en-us`` and ``en-gb`` are the two Englishes that Kokoro speaks.

    Raises
    ------
    IntervoxError
        eSpeak NG is not installed or does not know the language.
    """
    symbols = _replaced(phonemise(text, language, tie=_TIE), _ALL)
    if language.startswith("en"):
        symbols = _replaced(symbols, _ENGLISH)
        symbols = _SYLLABIC.sub(r"ᵊ\1", symbols)
        symbols = _replaced(symbols, _BRITISH if language == "en-gb" else _AMERICAN)
    return symbols.replace(_TIE, "")


def _replaced(symbols: str, table: dict[str, str]) -> str:
    for old, new in table.items():
        symbols = symbols.replace(old, new)
    return symbols
