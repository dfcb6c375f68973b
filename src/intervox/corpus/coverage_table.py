"""The coverage of texts as a table, for the terminal and for Markdown."""

from rich.console import Console
from rich.table import Table

from intervox.corpus.coverage import Coverage

_COLUMNS = ("language", "texts", "phonemes", "diphones", "entropy", "words", "rarest", "missing")


def print_coverage(found: dict[str, Coverage]) -> None:
    """Print a row a language.

    Phonemes and diphones come with the share of those in the language's lexicon, words as the
    shortest, the median and the longest text.
    """
    table = Table(title="Coverage", title_justify="left")
    for column in _COLUMNS:
        table.add_column(column, no_wrap=column not in ("rarest", "missing"))
    for cells in _rows(found):
        table.add_row(*cells)
    Console().print(table)


def coverage_markdown(found: dict[str, Coverage]) -> str:
    """Return the same table in Markdown."""
    lines = [_COLUMNS, tuple("---" for _ in _COLUMNS), *_rows(found)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rows(found: dict[str, Coverage]) -> list[tuple[str, ...]]:
    return [(language, *_cells(measured)) for language, measured in found.items()]


def _cells(found: Coverage) -> tuple[str, ...]:
    words = found.lengths["words"].quantiles
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
