"""eSpeak NG through its C library: formant synthesis, a few milliseconds per clip, no model to load.

The wheel ``espeakng-loader`` carries the library and its data. A voice here is an accent, a variant
(formants, breath, roughness), a pitch, a rate, a scale of the formants and a timbre; its name
spells them all, as in ``en-us+f2/p65/r165/v104/t17``.
"""

import ctypes
from difflib import get_close_matches
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
import soxr
from scipy import fft

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.engines.base import Engine, Voice
from intervox.engines.phonemes import fresh_library, library_files
from intervox.errors import IntervoxError
from intervox.recipe.engines import EspeakSettings
from intervox.seeds import rng
from intervox.storage import read_json

ACCENTS = (  # of English; another language is spoken as its tag says
    "en-us",
    "en",
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
    "en-us-nyc",
)

NOT_HUMAN = (
    "whisper", "whisperf", "UniRobot", "anikaRobot", "Demonic", "croak", "robosoft", "robosoft2",
    "robosoft3", "robosoft4", "robosoft5", "robosoft6", "robosoft7", "robosoft8", "fast",
)  # fmt: skip
"""Variants that whisper, that play a robot or a monster, or that only change the rate."""

NOT_REPRODUCIBLE = ("Reed", "caleb")
"""Variants whose noise source no seed reaches: the same call gives other samples."""

PITCHES = (25, 45, 65, 85)
RATES = (140, 165, 190)

FORMANT_SCALE = (0.86, 1.18)
"""Range of the formants against the variant's own: from long vocal tracts to short ones."""

TIMBRE_DB = 3.0
TIMBRE_ORDER = 8
"""Deviation and detail of each voice's own long-term spectrum, a cosine series over the mel scale."""

_PURPOSE = "the espeak engine"
_NAMES = Path(__file__).with_name("espeak_names.json")
"""Those of espeakng-loader 0.2.4, to plan with where it is not installed."""

_CHARS_UTF8 = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_HEADROOM = 55  # at the usual 100, loud voices clip

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class EspeakEngine(Engine):
    """The ``espeak`` engine.

    Not thread-safe: an engine collects one clip at a time.
    """

    name = "espeak"
    licence = "GPL-3.0-or-later (the synthesiser; the audio that it makes is free of it)"

    def __init__(self, settings: EspeakSettings) -> None:
        self._settings = settings
        variants, self._languages = known_names()
        self._variants = [name for name in variants if name not in NOT_HUMAN + NOT_REPRODUCIBLE]
        self._chunks: list[bytes] = []
        self._callback = _Callback(self._collect)

    def languages(self) -> list[str]:
        """Return the languages that ``settings.languages`` may name: all that have a dictionary."""
        return self._languages

    @property
    def version(self) -> str:
        self.check()
        return version("espeakng-loader")

    def check(self) -> None:
        library_files(_PURPOSE)

    def voices(self) -> list[Voice]:
        """Spread the voices evenly over languages, and in each over variants and the rest.

        Every variant is used about equally often, each time with another combination of accent,
        pitch and rate. No two voices share a timbre, in whatever language.
        """
        languages = list(dict.fromkeys(self._settings.languages))
        self._check_languages(languages)
        random = rng(0, "espeak.voices")
        voices: list[Voice] = []
        for rank, language in enumerate(languages):
            count = (self._settings.voices - len(voices)) // (len(languages) - rank)
            voices += self._voices_of(language, count, len(voices), random)
        return voices

    def _check_languages(self, languages: list[str]) -> None:
        known = self.languages()
        for language in languages:
            if language.lower() not in known:
                near = get_close_matches(language.lower(), known, 3) or known[:: len(known) // 8]
                raise IntervoxError(
                    f"espeak has no language {language!r}, but for example {', '.join(near)}: see all with "
                    "`intervox corpus languages`"
                )
        if self._settings.voices < len(languages):
            raise IntervoxError(
                f"espeak is to speak {len(languages)} languages with {self._settings.voices} voices: raise "
                "`voices` to one for each language at least"
            )

    def _voices_of(
        self, language: str, count: int, first_timbre: int, random: np.random.Generator
    ) -> list[Voice]:
        accents = ACCENTS if language == "en" else (language,)
        settings = list(product(PITCHES, RATES, accents))
        available = len(settings) * len(self._variants)
        if count > available:
            raise IntervoxError(
                f"espeak has {available:,} voices in {language!r}, {count:,} were asked for: lower `voices`"
            )
        shuffled = random.permutation(len(settings))
        voices = []
        for index in range(count):
            turn, which = divmod(index, len(self._variants))
            pitch, rate, accent = settings[shuffled[(which * 7 + turn) % len(settings)]]
            variant = self._variants[which]
            formants = round(100 * np.exp(random.uniform(*np.log(FORMANT_SCALE))))
            name = f"{accent}+{variant}/p{pitch}/r{rate}/v{formants}/t{first_timbre + index}"
            voices.append(Voice(name, variant, language))
        return voices

    def render(self, text: str, voice: str, seed: int) -> Waveform:
        """Speak ``text``; the seed moves pitch, range and rate by what one person varies."""
        name, pitch, rate, formants, timbre = voice.split("/")
        random = rng(seed, "espeak.take")
        scale = int(formants[1:]) / 100
        with fresh_library(_PURPOSE) as (library, sample_rate):
            library.espeak_SetSynthCallback(self._callback)
            if library.espeak_SetVoiceByName(name.encode()) != 0:
                raise IntervoxError(f"espeak has no voice {name!r}: see `intervox engines`")
            library.espeak_ng_SetRandSeed(int(random.integers(1, 2**31)))
            library.espeak_SetParameter(_VOLUME, _HEADROOM, 0)
            library.espeak_SetParameter(_PITCH, int(pitch[1:]) + int(random.integers(-6, 7)), 0)
            library.espeak_SetParameter(_RANGE, int(random.integers(30, 80)), 0)
            library.espeak_SetParameter(_RATE, int(int(rate[1:]) / scale * random.uniform(0.88, 1.14)), 0)
            data = text.encode() + b"\0"
            self._chunks.clear()
            library.espeak_Synth(data, len(data), 0, 1, 0, _CHARS_UTF8, None, None)
            library.espeak_Synchronize()
        samples = np.frombuffer(b"".join(self._chunks), np.int16).astype(np.float32)
        if not len(samples):
            return samples
        wave = soxr.resample(samples / np.float32(32768), sample_rate * scale, SAMPLE_RATE)
        return _coloured(wave, int(timbre[1:]))

    def _collect(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int) -> int:
        if samples and count:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        return 0


def known_names() -> tuple[list[str], list[str]]:
    """Return the names of eSpeak NG's variants and languages, also where it is not installed."""
    try:
        _, data = library_files(_PURPOSE)
    except IntervoxError:
        names = read_json(_NAMES)
        return names["variants"], names["languages"]
    variants = sorted(path.name for path in (data / "voices" / "!v").iterdir())
    files = (path for path in (data / "lang").rglob("*") if path.is_file())
    languages = (path.name.lower() for path in files)
    return variants, sorted(name for name in languages if (data / f"{name.split('-')[0]}_dict").is_file())


def _coloured(wave: Waveform, timbre: int) -> Waveform:
    """Give the voice its own long-term spectrum: a smooth curve over the mel scale, drawn once."""
    size = fft.next_fast_len(len(wave), real=True)
    mel = np.log1p(fft.rfftfreq(size, 1 / SAMPLE_RATE) / 700) / np.log1p(8000 / 700)
    order = np.arange(1, TIMBRE_ORDER + 1)
    gains = rng(timbre, "espeak.timbre").normal(0, TIMBRE_DB, TIMBRE_ORDER)
    curve = gains @ np.cos(np.pi * order[:, None] * mel)
    coloured = fft.irfft(fft.rfft(wave, size) * 10 ** (curve / 20), size)[: len(wave)]
    return np.asarray(coloured / max(1.0, np.abs(coloured).max()), np.float32)
