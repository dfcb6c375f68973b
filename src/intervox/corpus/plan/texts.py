"""The content inventory: what the synthetic speakers say.

Texts are drawn from the built-in lexicons, or read from the user's own file. Kinds and lengths matter as
much as words: a map trained on one-second clips fails on ten-second ones, and forty sentences overfit.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import yaml

from intervox.clips.labels import Text, normalise_text
from intervox.clips.text_files import read_lines
from intervox.corpus.plan.lexicon import Lexicon, load_lexicon
from intervox.errors import IntervoxError
from intervox.recipe.corpus import KINDS, TextKind, TextSettings
from intervox.seeds import rng

MAX_CHARACTERS = 400
"""Longest line of the user's file: about half a minute of speech."""

_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")


@dataclass(frozen=True)
class Reserved:
    """Normal forms of reserved texts, by primary language; those under ``any`` are reserved in all.

    ``text in reserved`` tells whether a ``Text`` is one of them as a whole.
    """

    texts: Mapping[str, frozenset[str]]

    def of(self, language: str) -> frozenset[str]:
        """Return what is reserved in a language; regions share it."""
        return frozenset().union(
            *(self.texts.get(tag, ()) for tag in ("any", language.split("-")[0].lower()))
        )

    def __contains__(self, text: Text) -> bool:
        return normalise_text(text.text) in self.of(text.language)


def texts(settings: TextSettings, languages: Sequence[str], seed: int) -> list[Text]:
    """Return the content inventory of a recipe.

    Parameters
    ----------
    settings
        How many of each kind, or which file.
    languages
        BCP 47 tags of what the engines speak; ``settings.count`` texts are drawn for each.
    seed
        Chooses them. The texts of one language do not depend on which others are asked for.

    Returns
    -------
    list of Text
        Language by language, each in random order and without two that sound the same.

    Raises
    ------
    IntervoxError
        A language has no lexicon, the lexicon is exhausted, or the file can't be used.
    """
    reserved = Reserved({}) if settings.protocol_texts else reserved_texts(settings.reserved)
    found: list[Text] = []
    for language in dict.fromkeys(languages):
        if settings.file is None:
            found += _drawn(settings, language, seed, reserved)
        else:
            found += _own_texts(settings, settings.file, language, reserved)
    return found


def read_texts(path: Path, language: str = "en") -> list[Text]:
    """Read the user's own texts: UTF-8, one per line, ``language<TAB>text`` or the text alone.

    Parameters
    ----------
    path
        Blank lines and repeats are left out.
    language
        Of lines that name none.

    Raises
    ------
    IntervoxError
        The file, or one of its lines, can't be used; the message has the line's number.
    """
    if path.exists() and not path.is_file():
        raise IntervoxError(f"`texts.file` is {path}, which is not a file: give one with one text per line")
    lines = read_lines(path, "a file of texts")
    found: dict[tuple[str, str], Text] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            text = _own_text(line.strip(), language, f"{path}, line {number}")
            found.setdefault((text.language, normalise_text(text.text)), text)
    if not found:
        raise IntervoxError(f"{path} holds no text: write one text a line")
    return list(found.values())


def _own_text(line: str, default: str, where: str) -> Text:
    first, tab, rest = line.partition("\t")
    language, text = (first.strip(), rest.strip()) if tab else (default, line)
    if not _TAG.fullmatch(language):
        raise IntervoxError(
            f"{where}: {language[:20]!r} before the tab is no language tag such as en or pt-br"
        )
    if any(unicodedata.category(sign) == "Cc" for sign in text):
        raise IntervoxError(f"{where} holds a control character: a line is `text` or `language<TAB>text`")
    if len(text) > MAX_CHARACTERS:
        raise IntervoxError(
            f"{where} has {len(text):,} characters: split it into lines of {MAX_CHARACTERS} at most"
        )
    if not normalise_text(text):
        raise IntervoxError(f"{where} has nothing to say, neither letter nor digit: remove it")
    return Text(text, language, "own")


def _own_texts(settings: TextSettings, path: Path, language: str, reserved: Reserved) -> list[Text]:
    """Return the file's texts in one language; a line in ``pt`` also serves voices of ``pt-br``."""
    found = [
        replace(text, language=language)
        for text in read_texts(path, settings.file_language)
        if f"{language}-".lower().startswith(f"{text.language}-".lower())
    ]
    if not found:
        raise IntervoxError(
            f"{path} has no text in {language!r}, which an engine of the recipe speaks: add lines of "
            f"`{language}<TAB>text`, set `texts.file_language`, or take the language out of the recipe"
        )
    if offending := [text for text in found if text in reserved]:
        named = ", ".join(repr(text.text) for text in offending[:5])
        raise IntervoxError(
            f"{path} has {len(offending)} texts that evaluation protocols test ({named}): remove them, "
            "or set `texts.protocol_texts: true` and lose those protocols as a test"
        )
    return found


def _drawn(settings: TextSettings, language: str, seed: int, reserved: Reserved) -> list[Text]:
    lexicon = load_lexicon(language)
    if lacking := [kind for kind in settings.kinds if kind not in lexicon.rules]:
        having = ", ".join(kind for kind in KINDS if kind in lexicon.rules)
        raise IntervoxError(
            f"texts.kinds: the built-in lexicon of {language!r} has no {', '.join(lacking)}, only {having}: "
            "take it out of `kinds` or give `texts.file`"
        )
    random = rng(seed, f"texts.{language}")
    heard = set(reserved.of(language))
    found: list[Text] = []
    wanted = 0
    for kind, count in _counts(settings).items():
        # What a kind can't give, most often single words, the next one gives.
        wanted += count
        found += [
            Text(text, language, kind)
            for text in _distinct(lexicon, kind, wanted - len(found), heard, random)
        ]
    if len(found) < wanted:
        raise IntervoxError(
            f"the built-in lexicon of {language!r} has only {len(found):,} of {wanted:,} texts: lower "
            "`texts.count`, give other kinds a share in `texts.kinds`, or give `texts.file`"
        )
    return [found[index] for index in random.permutation(len(found))]


def _distinct(
    lexicon: Lexicon, kind: TextKind, count: int, heard: set[str], random: np.random.Generator
) -> list[str]:
    """Draw up to ``count`` texts that sound like none that was ``heard``, and add them to it."""
    found: list[str] = []
    for _ in range(100 * count):
        if len(found) == count:
            break
        text = lexicon.draw(kind, random)
        if (normal := normalise_text(text)) not in heard:
            heard.add(normal)
            found.append(text)
    return found


def _counts(settings: TextSettings) -> dict[TextKind, int]:
    """Apportion ``count`` by largest remainders, in the order of ``KINDS``."""
    exact = {kind: settings.count * settings.kinds[kind] for kind in KINDS if kind in settings.kinds}
    counts = {kind: math.floor(value) for kind, value in exact.items()}
    missing = settings.count - sum(counts.values())
    # Of equal remainders the one that rounding to even takes up comes first.
    order = sorted(
        exact, key=lambda kind: (exact[kind] - counts[kind], round(exact[kind]) - counts[kind]), reverse=True
    )
    for kind in order[:missing]:
        counts[kind] += 1
    return counts


def reserved_texts(extra: Iterable[str] = ()) -> Reserved:
    """Return the reserved texts that ``reserved.yaml`` lists, and more.

    Parameters
    ----------
    extra
        Contents of further protocols, such as those that are found on this machine; they are
        reserved in every language.
    """
    known = _known()
    return Reserved(known | {"any": known["any"] | set(map(normalise_text, extra)) - {""}})


@cache
def _known() -> dict[str, frozenset[str]]:
    content = files("intervox.corpus.plan").joinpath("reserved.yaml").read_text("utf-8")
    # BaseLoader: every scalar is a text; "no" and "on" must not become truth values.
    languages: dict[str, dict[str, list[str]]] = yaml.load(content, yaml.BaseLoader)
    return {
        language: frozenset(normalise_text(text) for texts in protocols.values() for text in texts)
        for language, protocols in languages.items()
    }
