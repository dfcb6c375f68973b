"""Typed keywords: a synthesiser says them in many voices, and near misses beside them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache

import numpy as np

from intervox.applications.spotter import KeywordSpotter
from intervox.audio import Waveform
from intervox.corpus.acoustics.conditions import apply_condition, draw_condition
from intervox.corpus.acoustics.rooms import Acoustics
from intervox.corpus.plan.lexicon import load_lexicon
from intervox.engines.base import Engine, load_engine
from intervox.engines.phonemes import phonemise
from intervox.errors import IntervoxError
from intervox.progress import progress_bar
from intervox.recipe.corpus import ConditionSettings
from intervox.recipe.engines import EspeakSettings, KokoroSettings
from intervox.seeds import rng

ENGINES = {"espeak": EspeakSettings, "kokoro": KokoroSettings}

VOICES = 48
"""That say a keyword; each once clean and once under a condition."""

NEAR_MISSES, RIVAL_VOICES = 8, 8

_CONDITIONS = ConditionSettings(clean=0, room=0)
"""Noises and channels without simulated rooms, which take longer than all else here."""

_STRESS = re.compile(r"[^\w]|[\u02c8\u02cc\u02d0]")


@dataclass(frozen=True)
class Typed:
    """What stands behind a typed keyword.

    Attributes
    ----------
    renditions
        How many clips of it were synthesised.
    near_misses
        What sounds like it, and was synthesised as a rival.
    """

    text: str
    renditions: int
    near_misses: tuple[str, ...]


def enrol_typed(
    spotter: KeywordSpotter, text: str, engine: str = "espeak", language: str = "en", seed: int = 0
) -> Typed:
    """Enrol a keyword by its text.

    All renditions together count as one example, so that recorded ones can be added and count as much.
    Near misses, the words of the lexicon that sound most like it, become rivals: what is closer to one of
    them than to any keyword is no detection.

    Parameters
    ----------
    engine
        ``espeak``, or ``kokoro``, which sounds more like people and takes much longer.
    language
        BCP 47 tag of what is typed.

    Raises
    ------
    IntervoxError
        The text can't be spoken, or the engine is not installed or does not speak the language.
    """
    if engine not in ENGINES:
        raise IntervoxError(f"typed keywords are said by {' or '.join(ENGINES)}, not by {engine!r}")
    speaker = load_engine(ENGINES[engine](voices=VOICES, languages=(language,)))
    speaker.check()
    if not any(map(str.isalnum, text)) or not phonemes(text, language):
        raise IntervoxError(f"nothing can be said of {text!r}: type a word or a phrase")
    near = near_misses(text, language)
    with progress_bar(f"saying {text}", 2 * VOICES + len(near) * RIVAL_VOICES, "clips") as bar:

        def said(word: str, voices: int, disturbed: bool) -> Iterator[Waveform]:
            for wave in _renditions(speaker, word, voices, seed, disturbed):
                yield wave
                bar.advance(1)

        spotter.enrol(text, said(text, VOICES, True), as_one=True)
        rivals = [spotter.prototype(said(miss, RIVAL_VOICES, False)) for miss in near]
    if rivals:
        known = [] if spotter.rivals is None else [spotter.rivals]
        spotter.rivals = np.concatenate([*known, np.stack(rivals)])
    return Typed(text, 2 * VOICES, tuple(near))


def near_misses(text: str, language: str, count: int = NEAR_MISSES) -> list[str]:
    """Return the words of a language's lexicon that sound most like a text, other than it; closest first.

    What holds the text, or is held by it, is left out: there it is said indeed.
    """
    own = phonemes(text, language)
    sounds = {
        word: sound
        for word in load_lexicon(language).entries()
        if (sound := phonemes(word, language)) and sound not in own and own not in sound
    }
    return sorted(sounds, key=lambda word: (-SequenceMatcher(None, own, sounds[word]).ratio(), word))[:count]


@cache
def phonemes(text: str, language: str) -> str:
    """Transcribe a text without stress, length and pauses."""
    return _STRESS.sub("", phonemise(text, language))


def _renditions(engine: Engine, text: str, voices: int, seed: int, disturbed: bool) -> Iterator[Waveform]:
    """Say a text in the first voices, and each rendition once more under a condition where asked."""
    for number, voice in enumerate(engine.voices()[:voices]):
        wave = engine.render(text, voice.name, seed + number)
        yield wave
        if disturbed:
            random = rng(seed, "typed.condition", number)
            yield apply_condition(wave, draw_condition(_CONDITIONS, random, seed), Acoustics(), random)
