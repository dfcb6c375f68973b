"""How much of a language's sounds a set of texts covers, and how its lengths are spread.

The yardstick is what eSpeak NG says of the language's own built-in lexicon: its phonemes, allophones
included, and the pairs of them within words. A language without a lexicon has counts but no shares.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.stats import entropy

from intervox.clips.labels import Text
from intervox.corpus.plan.lexicon import lexicon_languages, load_lexicon
from intervox.engines.phonemes import phonemise
from intervox.tables import Table

_AFFRICATES = ("tʃ", "dʒ", "ts", "dz", "tɕ", "dʑ", "tʂ", "dʐ")
_DIPHTHONGS = (
    *("aɪ", "aʊ", "ɔɪ", "ɔø", "ɔʏ", "eɪ", "oʊ", "əʊ", "ɪə", "eə", "ɛə", "ʊə"),
    *("ʌɪ", "ɛi", "œy", "ʌu", "ɑu", "ɐ̃ʊ̃", "eʊ", "iʊ", "oɪ", "uɪ", "ɐɪ", "ɐ̃ɪ̃", "õɪ̃"),
)
_TIE = "\u0361"
# Length, secondary articulation, rhoticity, and the marks that combine with the letter before.
_MODIFIERS = "[\u0300-\u0360\u0362-\u036fːˑʰʲʷˠˤ˞ⁿˡ̩̯]*"
_UNIT = "|".join((*_AFFRICATES, *_DIPHTHONGS, r"[^\W\d_ʰʲʷˠˤⁿˡːˑ]"))
_PHONEME = re.compile(f"(?:{_UNIT}){_MODIFIERS}")
_LANGUAGE_SWITCH = re.compile(r"\([^)]*\)")

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
RAREST = 5
_BATCH = 100
_CLAUSE_MARKS = re.compile(r"[^\w\s'’-]")

Diphone = tuple[str, str]


@dataclass(frozen=True)
class Coverage:
    """What the texts of one language cover.

    Attributes
    ----------
    texts, kinds
        How many, in all and of each kind.
    phonemes
        How often each occurs, the most frequent first.
    diphones
        How many different pairs of phonemes occur within words.
    missing
        Phonemes of the inventory that no text has.
    phoneme_share, diphone_share
        Of the lexicon's inventory and pairs; None without a lexicon.
    entropy
        Of the phonemes' frequencies, in bits; ``log2(len(phonemes))`` where all are as frequent.
    lengths
        ``QUANTILES`` of the texts' ``characters``, ``words`` and ``phonemes``.
    """

    texts: int
    kinds: dict[str, int]
    phonemes: dict[str, int]
    diphones: int
    missing: list[str]
    phoneme_share: float | None
    diphone_share: float | None
    entropy: float
    lengths: dict[str, dict[str, float]]

    def rarest(self) -> list[str]:
        """Return the phonemes that occur, but least often."""
        return list(self.phonemes)[: -RAREST - 1 : -1]

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain types."""
        return asdict(self) | {"distinct_phonemes": len(self.phonemes), "rarest": self.rarest()}


def coverage(texts: Iterable[Text]) -> dict[str, Coverage]:
    """Measure the texts of each language.

    Raises
    ------
    IntervoxError
        eSpeak NG is not installed, or does not know a language.
    """
    by_language: dict[str, list[Text]] = {}
    for text in texts:
        by_language.setdefault(text.language, []).append(text)
    return {language: _measured(language, found) for language, found in by_language.items()}


def tokenise(ipa: str) -> list[list[str]]:
    """Cut a transcription into words, and those into phonemes.

    A phoneme is a base letter with its length, secondary articulation and combining marks, or an
    affricate or a falling diphthong of two letters; tied or not, both come out untied. Stress, tones,
    punctuation and marks of a change of language are dropped.

    Examples
    --------
    >>> tokenise("dʒˈʌdʒ t͡ʃˈuːz, (fr)vɛ̃(en)")
    [['dʒ', 'ʌ', 'dʒ'], ['tʃ', 'uː', 'z'], ['v', 'ɛ̃']]
    """
    plain = _LANGUAGE_SWITCH.sub(" ", ipa).replace(_TIE, "")
    words = re.sub("[ˈˌ]", "", plain).split()
    return [phonemes for word in words if (phonemes := _PHONEME.findall(word))]


@cache
def inventory(language: str) -> tuple[frozenset[str], frozenset[Diphone]]:
    """Return the phonemes and the pairs of them within words that a language's lexicon has."""
    spoken = _spoken(load_lexicon(language).entries(), language)
    phonemes, diphones = _count(word for words in spoken for word in words)
    return frozenset(phonemes), frozenset(diphones)


def _measured(language: str, texts: list[Text]) -> Coverage:
    spoken = _spoken([text.text for text in texts], language)
    phonemes, diphones = _count(word for words in spoken for word in words)
    has_lexicon = language.split("-")[0].lower() in lexicon_languages()
    known, pairs = inventory(language) if has_lexicon else (frozenset(), frozenset())
    return Coverage(
        texts=len(texts),
        kinds=dict(Counter(text.kind for text in texts).most_common()),
        phonemes=dict(sorted(phonemes.items(), key=lambda item: (-item[1], item[0]))),
        diphones=len(diphones),
        missing=sorted(known - phonemes.keys()),
        phoneme_share=len(known & phonemes.keys()) / len(known) if known else None,
        diphone_share=len(pairs & diphones.keys()) / len(pairs) if pairs else None,
        entropy=float(entropy(list(phonemes.values()), base=2)) if phonemes else 0.0,
        lengths={
            "characters": _lengths([len(text.text) for text in texts]),
            "words": _lengths([len(text.text.split()) for text in texts]),
            "phonemes": _lengths([sum(map(len, words)) for words in spoken]),
        },
    )


def _spoken(texts: list[str], language: str) -> list[list[list[str]]]:
    """Return each text's words, transcribed many at a time: a call costs more than what it says."""
    spoken: list[list[list[str]]] = []
    for start in range(0, len(texts), _BATCH):
        batch = [_CLAUSE_MARKS.sub(" ", text) for text in texts[start : start + _BATCH]]
        parts = phonemise("! ".join(batch) + "!", language).rstrip("!").split("!")
        if len(parts) != len(batch):  # something was not spoken, or too long for one clause
            parts = [phonemise(text, language) for text in batch]
        spoken += [tokenise(part) for part in parts]
    return spoken


def _count(words: Iterable[list[str]]) -> tuple[Counter[str], Counter[Diphone]]:
    phonemes: Counter[str] = Counter()
    diphones: Counter[Diphone] = Counter()
    for word in words:
        phonemes.update(word)
        diphones.update(pairwise(word))
    return phonemes, diphones


def _lengths(values: list[int]) -> dict[str, float]:
    return {f"{share:g}": float(np.quantile(values, share)) for share in QUANTILES}


def coverage_table(found: dict[str, Coverage]) -> Table:
    """Arrange the coverage of each language as a row."""
    return Table(
        "Coverage: sounds and lengths of the texts",
        "Phonemes and diphones with the share of those in the language's lexicon; entropy of the phonemes in "
        "bits; words of the shortest, the median and the longest text.",
        ["language", "texts", "phonemes", "diphones", "entropy", "words", "rarest", "missing"],
        [[language, *_cells(measured)] for language, measured in found.items()],
        labels=8,
    )


def _cells(found: Coverage) -> tuple[str, ...]:
    words = found.lengths["words"]
    return (
        f"{found.texts:,}",
        f"{len(found.phonemes)}{_share(found.phoneme_share)}",
        f"{found.diphones:,}{_share(found.diphone_share)}",
        f"{found.entropy:.2f}",
        "–".join(f"{words[share]:g}" for share in ("0", "0.5", "1")),
        " ".join(found.rarest()),
        " ".join(found.missing) or "none",
    )


def _share(share: float | None) -> str:
    return "" if share is None else f" ({100 * share:.0f} %)"
