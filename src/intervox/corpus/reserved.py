"""Texts that evaluation protocols test, and that training therefore leaves out."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

from intervox.corpus.text import Text, normalise_text


@dataclass(frozen=True)
class Reserved:
    """Normal forms of reserved texts: those of every language, and those of one.

    ``text in reserved`` tells whether a ``Text`` is one of them as a whole.
    """

    everywhere: frozenset[str] = frozenset()
    by_language: tuple[tuple[str, frozenset[str]], ...] = ()

    def of(self, language: str) -> frozenset[str]:
        """Return what is reserved in a language; regions share it."""
        own = dict(self.by_language).get(language.split("-")[0].lower(), frozenset())
        return self.everywhere | own

    def __contains__(self, text: Text) -> bool:
        return normalise_text(text.text) in self.of(text.language)


def reserved_texts(extra: Iterable[str] = ()) -> Reserved:
    """Return the reserved texts that ``reserved.yaml`` lists, and more.

    Parameters
    ----------
    extra
        Contents of further protocols, such as those that are found on this machine; they are
        reserved in every language.
    """
    known = _known()
    everywhere = known["any"] | {heard for text in extra if (heard := normalise_text(text))}
    return Reserved(everywhere, tuple((name, known[name]) for name in known if name != "any"))


def check_reserved(texts: Iterable[Text], reserved: Reserved) -> list[Text]:
    """Return the texts that are a reserved text as a whole."""
    return [text for text in texts if text in reserved]


def count_containing(texts: Iterable[Text], reserved: Reserved) -> int:
    """Count the texts that hold a reserved word beside others, which is no offence."""
    return sum(
        text not in reserved and not reserved.of(text.language).isdisjoint(normalise_text(text.text).split())
        for text in texts
    )


@cache
def _known() -> dict[str, frozenset[str]]:
    content = files("intervox.corpus").joinpath("reserved.yaml").read_text("utf-8")
    # BaseLoader: every scalar is a text; "no" and "on" must not become truth values.
    languages: dict[str, dict[str, list[str]]] = yaml.load(content, yaml.BaseLoader)
    return {
        language: frozenset(normalise_text(text) for texts in protocols.values() for text in texts)
        for language, protocols in languages.items()
    }
