"""The table writer: nothing that a table holds is lost or misread in any format."""

import io
import re
import time
from csv import reader
from pathlib import Path

import pytest
from rich.console import Console

from intervox.errors import IntervoxError
from intervox.progress import progress_bar
from intervox.tables import NOTHING, Table, csv, insert_markdown, latex, markdown, print_tables

ODD = Table("Odd: a_b & 50 %", "A note, ~ and {braces}.", ["who", "what", "EER | %", "count"], [])


def test_markdown_and_its_markers(tmp_path: Path) -> None:
    table = Table(ODD.title, ODD.note, ODD.header, [["a|b", "c", "1.0 [0.5, 2.0]", "50,000"]])
    lines = markdown([table]).splitlines()
    assert lines[0] == "**Odd: a_b & 50 %.** A note, ~ and {braces}."
    assert lines[2:] == [
        r"| who | what | EER \| % | count |",
        "| --- | --- | --- | --- |",
        r"| a\|b | c | 1.0 [0.5, 2.0] | 50,000 |",
    ]
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- tables: begin -->\nold\n<!-- tables: end -->\nafter\n")
    insert_markdown(page, [table])
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("before\n<!-- tables: begin -->\n**Odd")
    assert text.endswith("<!-- tables: end -->\nafter\n")
    page.write_text("nothing")
    with pytest.raises(IntervoxError, match="add them where the tables belong"):
        insert_markdown(page, [table])


def test_latex_is_escaped_and_ruled() -> None:
    table = Table(ODD.title, ODD.note, ODD.header, [["a_b", "R&D", "1.5 ×", "–"]])
    text = latex([table])
    assert r"\caption{Odd: a\_b \& 50 \%. A note, \textasciitilde{} and \{braces\}.}" in text
    assert r"\label{tab:odd}" in text
    assert r"\begin{tabular}{llrr}" in text
    assert r"a\_b & R\&D & 1.5 $\times$ & -- \\" in text
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")


def test_csv_has_plain_numbers() -> None:
    table = Table(
        ODD.title, ODD.note, ODD.header, [["a,b", "c", "1.0 [0.5, 2.0]", "50,000"], ["d", "e", "–", "7"]]
    )
    title, *lines = csv([table]).splitlines()
    assert title == "# Odd: a_b & 50 %"
    header, first, second = reader(lines)
    assert header == ["who", "what", "EER | %", "EER | %, low", "EER | %, high", "count"]
    assert first == ["a,b", "c", "1.0", "0.5", "2.0", "50000"]
    assert second == ["d", "e", "", "", "", "7"]
    assert csv([table, table]).count("\n\n# Odd") == 1


def test_a_table_without_a_title_is_a_bare_grid() -> None:
    assert markdown([Table("", "", ["", "n"], [["a", "1\n2"]])]) == "|  | n |\n| --- | --- |\n| a | 1<br>2 |"


def test_empty_columns_of_figures_go() -> None:
    table = Table(
        "T", "", ["who", "what", "x", "y"], [["a", NOTHING, NOTHING, "1"], ["b", NOTHING, NOTHING, "2"]]
    )
    slim = table.without_empty_columns()
    assert slim.header == ["who", "what", "y"]
    assert slim.rows == [["a", NOTHING, "1"], ["b", NOTHING, "2"]]


def shown(
    table: Table, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    print_tables([table])
    return capsys.readouterr().out


def test_the_terminal_shows_every_letter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eight columns that need 240 signs; a pipe is taken to be 100 wide."""
    cells = [f"{letter * 29}." for letter in "abcdefgh"]
    text = shown(Table("Wide", "", [f"{i}" for i in range(8)], [cells]), 80, monkeypatch, capsys)
    assert "…" not in text
    assert all(text.count(letter) == 29 for letter in "bcfgh")
    assert max(map(len, text.splitlines())) <= 100


def test_the_terminal_takes_no_cell_for_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note = "pip install intervox[espeak] " * 6
    text = shown(Table("Title [bold]", note, ["[red]"], [["intervox[espeak]"]]), 80, monkeypatch, capsys)
    assert all(part in text for part in ("Title [bold]", "[red]", "intervox[espeak]", note))


def test_lines_of_a_cell_are_kept_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(Table("Lines", "", ["", "n"], [["a", "1\n2"], ["b", "3"]]), 80, monkeypatch, capsys)
    assert text.count("├") == 1


@pytest.mark.parametrize("columns", [2, 9])
def test_at_80_columns_no_word_is_cut(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Side by side where it fits; each row as a list where it does not."""
    monkeypatch.setattr("intervox.tables._LEAST_WIDTH", 80)
    header = ["protocol", *(f"cross-condition-{n}" for n in range(columns))]
    rows = [[who, *(f"{n}{n}.{n} [1{n}.0, 2{n}.0]" for n in range(columns))] for who in ("libri", "fsdd")]
    text = shown(Table("EER", "", header, rows, labels=1), 80, monkeypatch, capsys)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    found = text.split()
    for word in " ".join((*header, *rows[0], *rows[1])).split():
        assert word in found or f"{word}:" in found


def test_a_bar_of_80_columns_shows_its_times_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    console = Console(width=80, force_terminal=True, file=screen, color_system=None)
    monkeypatch.setattr("intervox.progress.console", console)
    with progress_bar("synthetic, cross condition", 10_000, "measurements") as bar:
        for _ in range(3):
            time.sleep(0.12)
            bar.advance(7, "synthetic separation")
    last = screen.getvalue().split("\r")[-1]
    assert re.search(r"synthetic, cross condition .* 21/10000 .*measurements/s (\d:\d\d:\d\d ?){2}", last)
    assert "…" not in last
