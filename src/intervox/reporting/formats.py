"""Tables on the terminal and in Markdown, LaTeX and CSV."""

import csv as csv_module
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from intervox import __version__
from intervox.errors import IntervoxError
from intervox.reporting.table import NOTHING, Table
from intervox.storage import write_bytes


def render(template: str, **values: Any) -> str:
    """Fill a template of ``reporting/page`` with values, escaped; a value that is missing is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("intervox.reporting", "page"),
        autoescape=lambda name: name is not None and name.endswith(".jinja"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(template).render(version=__version__, **values)


MARKERS = ("<!-- tables: begin -->", "<!-- tables: end -->")
_INTERVAL = re.compile(r"^(\S+) \[(\S+), (\S+)\]$")
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


def print_tables(tables: list[Table]) -> None:
    """Show tables on standard output."""
    console = Console(width=max(Console().width, 100))
    for table in tables:
        shown = RichTable(
            title=escape(table.title),
            caption=escape(table.note),
            title_justify="left",
            caption_justify="left",
        )
        for index, column in enumerate(table.header):
            shown.add_column(escape(column), justify="left" if index < table.labels else "right")
        for row in table.rows:
            shown.add_row(*map(escape, row))
        console.print(shown)


def markdown(tables: list[Table]) -> str:
    """Write tables in Markdown."""
    blocks = []
    for table in tables:
        rows = (table.header, ["---"] * len(table.header), *table.rows)
        lines = [
            " | ".join(["", *(cell.replace("|", r"\|") for cell in cells), ""]).strip() for cells in rows
        ]
        blocks.append(f"**{table.title}.** {table.note}\n\n" + "\n".join(lines))
    return "\n\n".join(blocks)


def insert_markdown(path: Path, tables: list[Table]) -> None:
    """Replace what stands between the markers of a Markdown file by tables.

    Raises
    ------
    IntervoxError
        The file has no markers.
    """
    text = path.read_text(encoding="utf-8")
    begin, end = MARKERS
    if begin not in text or end not in text:
        raise IntervoxError(f"{path} has no lines {begin} and {end}: add them where the tables belong")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    write_bytes(path, f"{before}{begin}\n{markdown(tables)}\n{end}{after}".encode())


def latex(tables: list[Table]) -> str:
    r"""Write tables in LaTeX, to be used with ``\usepackage{booktabs}``."""
    blocks = []
    for table in tables:
        columns = "l" * table.labels + "r" * (len(table.header) - table.labels)
        body = [_latex_row(row) for row in table.rows]
        lines = [
            r"\begin{table}",
            rf"\caption{{{_latex(table.title)}. {_latex(table.note)}}}",
            rf"\label{{tab:{table.key}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            _latex_row(table.header),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _latex_row(cells: list[str]) -> str:
    return " & ".join(map(_latex, cells)) + r" \\"


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def csv(tables: list[Table]) -> str:
    """Write tables in CSV, one section a table: a line with the title, the table, an empty line."""
    return "\n".join(f"# {table.title}\n{csv_table(table)}" for table in tables)


def write_csv(folder: Path, tables: list[Table]) -> list[Path]:
    """Write one CSV file a table, named by its title."""
    paths = [folder / f"{table.key}.csv" for table in tables]
    for path, table in zip(paths, tables, strict=True):
        write_bytes(path, csv_table(table).encode())
    return paths


def csv_table(table: Table) -> str:
    """Write one table in CSV; intervals get columns of their own, and a missing value is empty."""
    columns = [[name, *(row[index] for row in table.rows)] for index, name in enumerate(table.header)]
    split = [part for column in columns for part in _split_interval(column)]
    buffer = io.StringIO()
    csv_module.writer(buffer, lineterminator="\n").writerows(zip(*split, strict=True))
    return buffer.getvalue()


def _split_interval(column: list[str]) -> list[list[str]]:
    name, *cells = ["" if cell == NOTHING else cell for cell in column]
    found = [_INTERVAL.match(cell) for cell in cells]
    if not any(found):
        return [[name, *(re.sub(r"(?<=\d),(?=\d{3})", "", cell) for cell in cells)]]
    values = [match.groups() if match else (cell, "", "") for match, cell in zip(found, cells, strict=True)]
    titles = (name, f"{name}, low", f"{name}, high")
    return [[title, *(value[part] for value in values)] for part, title in enumerate(titles)]


FORMATS: dict[str, Callable[[list[Table]], str]] = {"markdown": markdown, "latex": latex, "csv": csv}
"""What tables can be written as."""
