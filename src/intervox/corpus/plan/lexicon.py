"""The languages' lexicons: small grammars in YAML that the built-in texts are drawn from.

A lexicon is a set of rules. Each rule is a list of options, one of which is drawn; a slot in it,
``{rule}``, is replaced by a draw of that rule, ``{rule:0.6}`` with that probability only. The kinds
of text are rules themselves, so a lexicon, with what all of them share in ``grammar.yaml``, says
completely what its language can be made to say. ``words`` lists the rules whose options make up the
kind ``word``; ``limits`` bounds the number of words in what a rule gives.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np
import yaml

from intervox.errors import IntervoxError
from intervox.storage import stable_hash

_PACKAGE = files("intervox.corpus.plan")
_FOLDER = _PACKAGE.joinpath("lexicons")
NO_WORDS = ("onsets", "nuclei", "codas", "letters")
"""Rules that hold pieces of pseudo-words, which nobody says alone, or the names of letters."""

_SLOT = re.compile(r"\{([\w-]+)(?::([\d.]+))?\}")


@dataclass(frozen=True)
class Lexicon:
    """What one language's built-in texts are drawn from.

    Attributes
    ----------
    language
        Its primary language subtag, the name of the file.
    rules
        Options of each rule.
    limits
        Fewest and most words of a rule's outcome.
    """

    language: str
    rules: dict[str, list[str]]
    limits: dict[str, tuple[int, int]]

    def draw(self, rule: str, random: np.random.Generator) -> str:
        """Draw one outcome of a rule; a sentence gets its capital and its full stop."""
        fewest, most = self.limits.get(rule, (0, 10_000))
        while True:
            options = self.rules[rule]
            outcome = self._filled(options[random.integers(len(options))], random)
            if fewest <= len(outcome.split()) <= most:
                break
        return f"{outcome[0].upper()}{outcome[1:]}." if rule == "sentence" else outcome

    def entries(self) -> list[str]:
        """Return every word and fixed phrase, without repeats."""
        options = (option for name, rule in self.rules.items() if name not in NO_WORDS for option in rule)
        return list(dict.fromkeys(option for option in options if option and not _SLOT.search(option)))

    def _filled(self, option: str, random: np.random.Generator) -> str:
        def fill(slot: re.Match[str]) -> str:
            rule, probability = slot.groups()
            if probability and random.random() >= float(probability):
                return ""
            return self.draw(rule, random)

        return _SLOT.sub(fill, option)


def lexicon_languages() -> list[str]:
    """Return the languages that have a built-in lexicon."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _FOLDER.iterdir() if entry.name[0] != ".")


@cache
def lexicons_key() -> str:
    """Hash all that the built-in texts come from: part of what decides a corpus' bytes."""
    found = [file for folder in (_PACKAGE, _FOLDER) for file in folder.iterdir()]
    return stable_hash({f.name: f.read_text("utf-8") for f in found if f.name.endswith(".yaml")})


@cache
def load_lexicon(language: str) -> Lexicon:
    """Read the lexicon of a BCP 47 tag; regions share that of their language.

    Raises
    ------
    IntervoxError
        The language has none.
    """
    primary = language.split("-")[0].lower()
    if primary not in lexicon_languages():
        raise IntervoxError(
            f"there are no built-in texts in {language!r}, only in {', '.join(lexicon_languages())}: "
            "give your own as `texts.file`, lines of `language<TAB>text`"
        )
    content = _read(_FOLDER.joinpath(f"{primary}.yaml"))
    rules: dict[str, list[str]] = {**_read(_PACKAGE.joinpath("grammar.yaml")), **content["rules"]}
    rules["word"] = [word for name in content["words"] for word in rules[name]]
    limits = {rule: (int(fewest), int(most)) for rule, (fewest, most) in content.get("limits", {}).items()}
    return Lexicon(primary, rules, limits)


def _read(file: Traversable) -> Any:
    # BaseLoader: every scalar is a text; "no" and "on" must not become truth values.
    return yaml.load(file.read_text("utf-8"), yaml.BaseLoader)
