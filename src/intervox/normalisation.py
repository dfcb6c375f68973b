"""When two texts are the same: one rule for labels, reserved texts and recorded corpora."""

import re
import unicodedata

_NOT_SPOKEN = re.compile(r"[^\w\s']|_")


def normalise_text(text: str) -> str:
    """Fold case and Unicode forms, drop punctuation (not apostrophes), collapse spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return " ".join(_NOT_SPOKEN.sub(" ", folded).split())
