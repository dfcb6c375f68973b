"""Transcriptions in the international phonetic alphabet, cut into phonemes."""

import re

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
