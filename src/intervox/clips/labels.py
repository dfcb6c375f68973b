"""What is known of clips: what is said in one, and the labels of a whole set of them."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.str_]

UNLABELLED = -1
"""Number of an unknown value of a factor; its cell takes no part in that factor's loss."""

PIECE = "piece"
"""Kind of a ``Text`` that nobody wrote down: it names a piece of an unlabelled recording by its place."""

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
        One of ``recipe.corpus.TextKind``, ``recorded``, ``own`` for the user's file, or ``PIECE``.
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


@dataclass(frozen=True)
class Clips:
    """The labels of a test set; every array has shape (clips,).

    Attributes
    ----------
    paths
        Where each recording lies, or a name for it.
    labels
        Factor to values. ``speaker`` and ``content`` are always there; ``session``, ``language``,
        ``gender``, ``emotion`` and others where the corpus tells; also ``text``, the words, which
        are no factor. Empty strings are unknown.
    duration
        In seconds; 0 where it is unknown.
    split
        ``train``, ``validation`` or ``test`` of an official split, or empty.
    """

    paths: Labels
    labels: Mapping[str, Labels]
    duration: NDArray[np.float64]
    split: Labels

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def speakers(self) -> Labels:
        """Who speaks in each clip."""
        return self.labels["speaker"]

    @property
    def contents(self) -> Labels:
        """What is said in each clip."""
        return self.labels["content"]

    @property
    def factors(self) -> list[str]:
        """What has labels and can be probed."""
        return [name for name in self.labels if name != "text"]

    def take(self, rows: NDArray[np.integer]) -> "Clips":
        """Keep some of the clips, in the order of ``rows``."""
        labels = {factor: values[rows] for factor, values in self.labels.items()}
        return Clips(self.paths[rows], labels, self.duration[rows], self.split[rows])
