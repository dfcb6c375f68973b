"""Kokoro's speakers: 54 presets, mixtures of them, and mixtures with the prosody of another preset.

A speaker's name spells how it is made: ``af_heart`` is a preset, ``af_heart*0.70+am_adam*0.30`` a
mixture, and ``af_heart*0.70+am_adam*0.30~am_echo`` has that mixture's timbre and the prosody of
``am_echo``. A voice adds the language it speaks and its usual rate: ``af_heart/en/r104``.

Timbre makes a speaker: the one list has no two of the same, whatever their prosody. A preset's timbre with
another one's prosody is close to the same speaker in another mood (docs/corpora.md has the figures).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, zip_longest

import numpy as np

from intervox.engines.base import Voice
from intervox.errors import IntervoxError
from intervox.recipe.engines import Prosody
from intervox.seeds import rng

POOLS = (
    ("ef_dora", "em_alex", "em_santa", "pf_dora", "pm_alex", "pm_santa", "af_alloy", "af_bella", "af_nova"),
    ("jf_alpha", "jf_gongitsune", "jf_nezumi", "jf_tebukuro", "jm_kumo",
     "af_heart", "am_adam", "am_echo", "am_santa"),
    ("bf_alice", "bf_lily", "bm_daniel", "bm_george",
     "af_jessica", "af_kore", "am_eric", "am_fenrir", "zf_xiaobei"),
    ("bf_emma", "bf_isabella", "bm_fable", "bm_lewis",
     "af_nicole", "af_river", "am_liam", "zf_xiaoni", "zm_yunjian"),
    ("hf_alpha", "hf_beta", "hm_omega", "hm_psi",
     "af_sarah", "af_sky", "am_michael", "am_onyx", "ff_siwis"),
    ("zf_xiaoxiao", "zf_xiaoyi", "zm_yunxi", "zm_yunxia", "zm_yunyang",
     "if_sara", "im_nicola", "af_aoede", "am_puck"),
)  # fmt: skip
"""The presets, dealt into six families of nine with four or five women each.

Only presets of one pool are mixed, so a held-out pool shares nothing with the others. Presets with
nearly the same style vector (``em_santa`` and ``pm_santa``, the ``dora`` and ``alex`` of two
languages, three of the Japanese ones) are in one pool for the same reason.
"""

PRESETS = tuple(sorted(preset for pool in POOLS for preset in pool))

TWINS = (
    {"em_santa", "pm_santa"},
    {"em_alex", "pm_alex"},
    {"ef_dora", "pf_dora"},
    {"jf_gongitsune", "jf_nezumi"},
)
"""Presets too alike for a mixture of the two to be a new speaker."""

NATIVE = {"es": "e", "fr": "f", "hi": "h", "it": "i", "pt": "p"}
"""Language to the first letter of its presets. All presets speak English, with an accent or not."""

WEIGHTS = (0.5, 0.7, 0.3)
BASE_RATE = (0.9, 1.1)


@dataclass(frozen=True)
class Spoken:
    """What a voice's name spells.

    Attributes
    ----------
    timbre, prosody
        Preset to weight; the two halves of the style vector are mixed apart.
    language
        Tag to transcribe the text in.
    rate
        Ratio to Kokoro's usual one.
    """

    timbre: dict[str, float]
    prosody: dict[str, float]
    language: str
    rate: float


def make_voices(count: int, languages: tuple[str, ...], prosody: Prosody = "own") -> list[Voice]:
    """Return ``count`` voices, the languages in turn; every speaker speaks one language.

    Parameters
    ----------
    prosody
        Where a mixture of two takes it from: its own presets, or another one that is ``drawn``. The
        voices are the same in all else.

    Raises
    ------
    IntervoxError
        A language is not one of Kokoro's, or it has fewer speakers.
    """
    for language in languages:
        if language != "en" and language not in NATIVE:
            raise IntervoxError(f"kokoro does not speak {language!r} here: choose of en, {', '.join(NATIVE)}")
    # English takes what the others leave, as only few presets speak them.
    shares = {
        language: count // len(languages) + (turn < count % len(languages))
        for turn, language in enumerate(languages)
    }
    chosen: dict[str, list[tuple[str, int]]] = {}
    taken: set[str] = set()
    for language in sorted(languages, key=lambda language: language == "en"):
        able = [
            (name, pool)
            for name, pool in _speakers()
            if name not in taken and name.startswith(NATIVE.get(language, ""))
        ]
        if len(able) < shares[language]:
            raise IntervoxError(
                f"kokoro has {len(able)} voices for {language!r}, {shares[language]} were asked for: "
                "lower `voices`"
            )
        chosen[language] = able[: shares[language]]
        taken.update(name for name, _ in chosen[language])
    in_turn = zip_longest(*([(language, *item) for item in chosen[language]] for language in languages))
    random = rng(0, "kokoro.voices")
    borrowed = _borrowed() if prosody == "drawn" else {}
    return [
        Voice(
            f"{borrowed.get(name, name)}/{language}/r{round(100 * random.uniform(*BASE_RATE))}",
            f"pool-{pool}",
            language,
        )
        for language, name, pool in (item for turn in in_turn for item in turn if item)
    ]


def parse_voice(voice: str) -> Spoken:
    """Read what ``make_voices`` wrote.

    Raises
    ------
    IntervoxError
        The name is not one of those.
    """
    try:
        speaker, language, rate = voice.split("/")
        timbre, borrows, prosody = speaker.partition("~")
        weights = _weights(timbre)
        tags = {"en": "en-gb" if speaker.startswith("b") else "en-us", "pt": "pt-br"}
        speed = int(rate.removeprefix("r")) / 100
        return Spoken(weights, _weights(prosody) if borrows else weights, tags.get(language, language), speed)
    except ValueError:
        raise IntervoxError(f"kokoro has no voice {voice!r}: see `intervox engines`") from None


def _weights(mixture: str) -> dict[str, float]:
    parts = [part.partition("*") for part in mixture.split("+")]
    weights = {preset: float(weight or 1) for preset, _, weight in parts}
    if not set(weights) <= set(PRESETS):
        raise ValueError(mixture)
    return weights


def _speakers() -> list[tuple[str, int]]:
    """List presets, mixtures of two, then of three, each with its pool, spread over the pools in turn."""
    found: list[tuple[str, int]] = []
    for of_pool in (_of_pool, _threes):
        pools = [[(name, number) for name in of_pool(pool, number)] for number, pool in enumerate(POOLS, 1)]
        found += [item for turn in zip_longest(*pools) for item in turn if item]
    return found


def _of_pool(pool: tuple[str, ...], number: int) -> Iterator[str]:
    """Yield a pool's presets, then each pair evenly mixed, then the pairs with either one stronger."""
    random = rng(number, "kokoro.mixture")
    yield from random.permutation(pool).tolist()
    pairs = [pair for pair in combinations(pool, 2) if set(pair) not in TWINS]
    for weight in WEIGHTS:
        for first, second in (pairs[index] for index in random.permutation(len(pairs))):
            # The stronger one comes first: it decides the accent.
            if weight < 0.5:
                yield f"{second}*{1 - weight:.2f}+{first}*{weight:.2f}"
            else:
                yield f"{first}*{weight:.2f}+{second}*{1 - weight:.2f}"


def _threes(pool: tuple[str, ...], number: int) -> Iterator[str]:
    """Yield a pool's even mixtures of three, each with the prosody of a preset that is none of them."""
    random = rng(number, "kokoro.threes")
    threes = [three for three in combinations(pool, 3) if not any(twins <= set(three) for twins in TWINS)]
    for index in random.permutation(len(threes)):
        first, second, third = random.permutation(threes[index]).tolist()
        yield _borrowing(f"{first}*0.34+{second}*0.33+{third}*0.33", pool, random)


def _borrowed() -> dict[str, str]:
    """Give every mixture of two the prosody of a third preset of its pool, drawn for each by itself."""
    return {
        name: _borrowing(name, pool, random)
        for number, pool in enumerate(POOLS, 1)
        for random in (rng(number, "kokoro.prosody"),)
        for name in _of_pool(pool, number)
        if "+" in name
    }


def _borrowing(mixture: str, pool: tuple[str, ...], random: np.random.Generator) -> str:
    others = [preset for preset in pool if preset not in mixture]
    return f"{mixture}~{others[int(random.integers(len(others)))]}"
