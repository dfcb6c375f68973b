"""Kokoro's speakers: 54 presets, and mixtures of two of them.

A speaker's name spells how it is made: ``af_heart`` is a preset, ``af_heart*0.70+am_adam*0.30`` a
mixture. A voice adds the language it speaks and its usual rate: ``af_heart/en/r104``.
"""

from collections.abc import Iterator
from itertools import combinations, zip_longest

from intervox.engines.base import Voice
from intervox.errors import IntervoxError
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


def make_voices(count: int, languages: tuple[str, ...]) -> list[Voice]:
    """Return ``count`` voices, the languages in turn; every speaker speaks one language.

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
    return [
        Voice(f"{name}/{language}/r{round(100 * random.uniform(*BASE_RATE))}", f"pool-{pool}", language)
        for language, name, pool in (item for turn in in_turn for item in turn if item)
    ]


def parse_voice(voice: str) -> tuple[dict[str, float], str, float]:
    """Return the presets and their weights, the language tag to speak, and the rate.

    Raises
    ------
    IntervoxError
        The name is not one that ``make_voices`` gives.
    """
    try:
        speaker, language, rate = voice.split("/")
        parts = [part.partition("*") for part in speaker.split("+")]
        weights = {preset: float(weight or 1) for preset, _, weight in parts}
        spoken = {"en": "en-gb" if speaker.startswith("b") else "en-us", "pt": "pt-br"}
        named = spoken.get(language, language), int(rate.removeprefix("r")) / 100
    except ValueError:
        weights, named = {}, ("", 0.0)
    if not weights or not set(weights) <= set(PRESETS):
        raise IntervoxError(f"kokoro has no voice {voice!r}: see `intervox engines`")
    return weights, *named


def _speakers() -> list[tuple[str, int]]:
    """List presets, then mixtures, each with its pool; any first few are spread over the pools."""
    pools = [[(name, number) for name in _of_pool(pool, number)] for number, pool in enumerate(POOLS, 1)]
    return [item for turn in zip_longest(*pools) for item in turn if item]


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
