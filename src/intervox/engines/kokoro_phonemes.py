"""eSpeak NG's transcription in the symbols that Kokoro was trained on.

Kokoro writes a diphthong or an affricate as one symbol, and English in a narrower set than eSpeak
NG's. The correspondence follows the one of Kokoro's own front end for words out of its lexicon.
"""

import re

from intervox.engines.phonemes import phonemise

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
