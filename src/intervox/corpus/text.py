"""One text: what is said, in which language and of which kind; and when two texts are the same."""

import unicodedata
from dataclasses import dataclass

APOSTROPHES = "'’ʼ"


@dataclass(frozen=True)
class Text:
    """Something to say.

    Attributes
    ----------
    text
        As the synthesiser gets it.
    language
        BCP 47 tag, as the recipe's engines name it.
    kind
        One of ``recipe_corpus.TextKind``, or ``own`` for the user's file.
    """

    text: str
    language: str
    kind: str

    @property
    def key(self) -> tuple[str, str]:
        """Primary language and normal form: texts of one key are one content."""
        return self.language.split("-")[0].lower(), normalise_text(self.text)


def normalise_text(text: str) -> str:
    """Reduce a text to what is heard of it: two texts of one normal form are the same content.

    Case, punctuation, white space and the Unicode form are levelled; apostrophes join (``don't`` is
    ``dont``), other signs separate. Letters keep their accents.

    Examples
    --------
    >>> normalise_text(" Yes! ")
    'yes'
    >>> normalise_text("Don’t  STOP — now")
    'dont stop now'
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = (sign if _is_heard(sign) else " " for sign in folded if sign not in APOSTROPHES)
    return " ".join("".join(kept).split())


def _is_heard(sign: str) -> bool:
    # Marks are vowels in Indic scripts, and accents where no composed letter exists.
    return sign.isalnum() or unicodedata.category(sign).startswith("M")
