"""The one table writer: a table of finished text, on the terminal or as Markdown, LaTeX or CSV.

A new format is a function from tables to text and its line in ``FORMATS``.
"""

import csv as csv_module
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from intervox.errors import IntervoxError
from intervox.storage import write_bytes

if TYPE_CHECKING:
    from rich.table import Table as Grid

NOTHING = "–"
"""A cell without a value."""

MARKERS = ("<!-- tables: begin -->", "<!-- tables: end -->")
"""Lines of a Markdown file between which ``insert_markdown`` writes."""

_LEAST_WIDTH = 100
_INTERVAL = re.compile(r"^(\S+) \[(?:(\S+), (\S+)|([^\]]+))\]$")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "×": r"$\times$",
    "±": r"$\pm$",
    "–": "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
} | {sign: f"\\{sign}" for sign in "&%$#_{}"}


@dataclass(frozen=True)
class Table:
    """A title, a sentence on how to read it, a header and rows of finished text.

    Attributes
    ----------
    title
        The part before a colon also names the table in files and links. A table without a title is
        written as the bare grid.
    note
        May be empty.
    rows
        As many cells each as the header; a cell may have several lines.
    labels
        How many leading columns name the row; the others hold figures.
    """

    title: str
    note: str
    header: list[str]
    rows: list[list[str]]
    labels: int = 2

    @classmethod
    def from_records(
        cls, title: str, note: str, records: Sequence[Mapping[str, str]], labels: int = 2
    ) -> "Table":
        """Make a table of rows given as column to cell; columns stand in the order of their first cells."""
        header = list(dict.fromkeys(name for record in records for name in record))
        rows = [[record.get(name, NOTHING) for name in header] for record in records]
        return cls(title, note, header, rows, labels)

    @property
    def key(self) -> str:
        """A short name for files and links."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.split(":")[0].lower()).strip("-")

    def without_empty_columns(self) -> "Table":
        """Leave out the columns of figures in which no row has a value."""
        kept = [
            index
            for index in range(len(self.header))
            if index < self.labels or any(row[index] != NOTHING for row in self.rows)
        ]
        rows = [[row[index] for index in kept] for row in self.rows]
        return replace(self, header=[self.header[index] for index in kept], rows=rows)


def print_tables(tables: Sequence[Table]) -> None:
    """Show tables on standard output; where the columns have no room side by side, each row is a list."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _LEAST_WIDTH)
    for table in tables:
        console.print(Text(table.title, "bold"), _grid(table, console.width), sep="\n")
        if table.note:
            console.print(Text(table.note, "dim"), soft_wrap=True)


def _grid(table: Table, width: int) -> "Grid":
    """Lay a table out without cutting a word, side by side or as lists."""
    from rich.table import Table as Grid
    from rich.text import Text

    widths = _column_widths(table, width)
    if widths is None:
        grid = Grid(show_header=False, show_lines=True)
        grid.add_column(overflow="fold")
        for row in table.rows:
            named = zip(table.header, row, strict=True)
            lines = [f"{name}: {cell}" if name else cell for name, cell in named if cell]
            grid.add_row(Text("\n".join(lines)))
        return grid
    grid = Grid(show_lines=any("\n" in cell for row in table.rows for cell in row))
    for index, (name, size) in enumerate(zip(table.header, widths, strict=True)):
        grid.add_column(Text(name), justify="left" if index < table.labels else "right", width=size)
    for row in table.rows:
        grid.add_row(*map(Text, row))
    return grid


def _column_widths(table: Table, width: int) -> list[int] | None:
    """Share a width out to the columns, so that every word is whole; None where there is too little."""
    columns = list(zip(table.header, *table.rows, strict=True))
    words = [max(len(word) for cell in column for word in (*cell.split(), "")) for column in columns]
    widths = [max(len(line) for cell in column for line in (*cell.splitlines(), "")) for column in columns]
    room = width - 3 * len(columns) - 1
    if sum(words) > room:
        return None
    while sum(widths) > room:
        widest = max((i for i in range(len(widths)) if widths[i] > words[i]), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def markdown(tables: Sequence[Table]) -> str:
    """Write tables in Markdown, title and note as a paragraph before each."""
    blocks = []
    for table in tables:
        if table.title:
            blocks.append(f"**{table.title}.** {table.note}".strip())
        rows = (table.header, ["---"] * len(table.header), *table.rows)
        blocks.append("\n".join(f"| {' | '.join(map(_markdown, row))} |" for row in rows))
    return "\n\n".join(blocks)


def insert_markdown(path: Path, tables: Sequence[Table]) -> None:
    """Replace the text between the ``MARKERS`` of a Markdown file by tables.

    Raises
    ------
    IntervoxError
        The file is not text, or has no markers.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise IntervoxError(f"{path} is not UTF-8 text: give a Markdown file") from None
    begin, end = MARKERS
    if begin not in text or end not in text:
        raise IntervoxError(f"{path} has no lines {begin} and {end}: add them where the tables belong")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    write_bytes(path, f"{before}{begin}\n{markdown(tables)}\n{end}{after}".encode())


def latex(tables: Sequence[Table]) -> str:
    r"""Write tables in LaTeX, to be used with ``\usepackage{booktabs}``."""
    blocks = []
    for table in tables:
        lines = [
            r"\begin{table}",
            rf"\caption{{{_latex(table.title)}. {_latex(table.note)}}}",
            rf"\label{{tab:{table.key}}}",
            rf"\begin{{tabular}}{{{'l' * table.labels}{'r' * (len(table.header) - table.labels)}}}",
            r"\toprule",
            _latex_row(table.header),
            r"\midrule",
            *map(_latex_row, table.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def csv(tables: Sequence[Table]) -> str:
    """Write tables in CSV: of each a line with its title, the header, the rows, an empty line.

    Intervals get columns of their own, and why there is none another; numbers lose their thousands
    separators, and a missing value is empty.
    """
    buffer = io.StringIO()
    for index, table in enumerate(tables):
        buffer.write("\n" * (index > 0) + f"# {table.title}\n")
        columns = [[name, *(row[index] for row in table.rows)] for index, name in enumerate(table.header)]
        split = [part for column in columns for part in _split_interval(column)]
        csv_module.writer(buffer, lineterminator="\n").writerows(zip(*split, strict=True))
    return buffer.getvalue()


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {"markdown": markdown, "latex": latex, "csv": csv}
"""Name of a format to the function that writes tables in it."""


def _markdown(cell: str) -> str:
    return cell.replace("|", r"\|").replace("\n", "<br>")


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_latex, cells)) + r" \\"


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def _split_interval(column: Sequence[str]) -> list[list[str]]:
    """Split a column of values with intervals: value, low end, high end, and why a value has none."""
    name, *cells = ["" if cell == NOTHING else cell for cell in column]
    found = [_INTERVAL.match(cell) for cell in cells]
    if not any(found):
        return [[name, *(re.sub(r"(?<=\d),(?=\d{3})", "", cell) for cell in cells)]]
    values = [
        match.groups("") if match else (cell, "", "", "") for match, cell in zip(found, cells, strict=True)
    ]
    titles = (name, f"{name}, low", f"{name}, high", f"{name}, no interval")
    parts = [[title, *(value[part] for value in values)] for part, title in enumerate(titles)]
    return parts if any(parts[3][1:]) else parts[:3]
