"""The content inventory: what the synthetic speakers say.

Built-in texts are generated from ``lexicon.yaml``: single words, pseudo-words (every legal
sequence of English sounds, not just the frequent ones), phrases of two to four words and sentences
of five to twenty. Lengths matter as much as words: a map trained on one-second clips fails on
ten-second ones.
"""

from importlib.resources import files
from pathlib import Path

import numpy as np
import yaml

from intervox.errors import IntervoxError

Lexicon = dict[str, list[str]]

SHARES = {"word": 0.30, "pseudo-word": 0.25, "phrase": 0.22, "sentence": 0.23}
"""Kinds of text and their shares of the inventory."""


def builtin_texts(count: int, seed: int) -> list[str]:
    """Generate ``count`` different English texts of 1 to 20 words.

    Parameters
    ----------
    count
        How many; about 3,000 at most before single words run out.
    seed
        Chooses them; the same seed and count give the same texts in the same order.

    Raises
    ------
    IntervoxError
        More texts are asked for than the lexicon can give.
    """
    lexicon: Lexicon = yaml.safe_load(files("intervox.corpus").joinpath("lexicon.yaml").read_text())
    random = np.random.default_rng([seed, 1])
    words = [word for kind in ("nouns", "verbs", "adjectives", "adverbs", "names") for word in lexicon[kind]]
    makers = {
        "word": lambda: str(random.choice(words)),
        "pseudo-word": lambda: _pseudo_word(lexicon, random),
        "phrase": lambda: _phrase(lexicon, random),
        "sentence": lambda: _sentence(lexicon, random),
    }
    texts: dict[str, None] = {}
    for kind, share in SHARES.items():
        wanted = len(texts) + round(count * share)
        for _ in range(100 * count):
            if len(texts) >= wanted:
                break
            texts[makers[kind]()] = None
        else:
            raise IntervoxError(
                f"the built-in lexicon has no {count:,} texts: lower `texts.count` or give `texts.file`"
            )
    order = random.permutation(len(texts))
    inventory = list(texts)
    return [inventory[index] for index in order]


def read_texts(path: Path) -> list[str]:
    """Read the user's own texts: one a line, UTF-8, blank lines and repeats left out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise IntervoxError(f"{path} can't be read as UTF-8 text ({error}): give one text a line") from None
    texts = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not texts:
        raise IntervoxError(f"{path} holds no text: write one text a line")
    return texts


def _pseudo_word(lexicon: Lexicon, random: np.random.Generator) -> str:
    syllables = [
        "".join(str(random.choice(lexicon[part])) for part in ("onsets", "nuclei", "codas"))
        for _ in range(random.integers(1, 4))
    ]
    return "".join(syllables)


def _noun_phrase(lexicon: Lexicon, random: np.random.Generator) -> str:
    def pick(kind: str) -> str:
        return str(random.choice(lexicon[kind]))

    form = random.integers(4)
    if form == 0:
        return pick("names")
    if form == 1:
        return f"the {pick('nouns')}"
    return f"{random.choice(['the', 'her', 'our', 'that'])} {pick('adjectives')} {pick('nouns')}"


def _phrase(lexicon: Lexicon, random: np.random.Generator) -> str:
    def pick(kind: str) -> str:
        return str(random.choice(lexicon[kind]))

    forms = (
        lambda: f"{pick('adjectives')} {pick('nouns')}",
        lambda: f"the {pick('adjectives')} {pick('nouns')}",
        lambda: f"{pick('names')} {pick('verbs')} {pick('adverbs')}",
        lambda: f"{pick('nouns')} and {pick('nouns')}",
        lambda: pick("places"),
        lambda: f"{pick('adverbs')} {pick('verbs')}",
        lambda: f"{pick('adjectives')}, {pick('adjectives')} {pick('nouns')}",
    )
    return forms[random.integers(len(forms))]()


def _clause(lexicon: Lexicon, random: np.random.Generator) -> str:
    return (
        f"{_noun_phrase(lexicon, random)} {random.choice(lexicon['verbs'])} {_noun_phrase(lexicon, random)}"
    )


def _sentence(lexicon: Lexicon, random: np.random.Generator) -> str:
    """Write one to three clauses, with a place or a time: 5 to 20 words."""
    while True:
        parts = [_clause(lexicon, random)]
        for _ in range(random.integers(0, 3)):
            parts.append(f"{random.choice(lexicon['linkers'])} {_clause(lexicon, random)}")
        if random.random() < 0.6:
            parts.append(str(random.choice(lexicon[str(random.choice(["places", "times"]))])))
        sentence = " ".join(parts)
        if 5 <= len(sentence.split()) <= 20:
            return sentence[0].upper() + sentence[1:] + "."
