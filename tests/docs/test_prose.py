"""The word list finds what it should, and leaves code alone."""

import runpy
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROSE = runpy.run_path(str(ROOT / "tools" / "prose.py"))


def found(path: Path, text: str) -> list[tuple[int, str]]:
    path.write_text(text, encoding="utf-8")
    return [(line, words) for line, words, _ in PROSE["problems"](path, PROSE["rules"]())]


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("It writes a line a clip.", [(1, "line a clip")]),
        ("First.\n\nThe same command goes\non where it stopped.", []),
        ("The command goes on where it stopped.", [(1, "goes on where")]),
        ("There is no folder. The name is no folder.", [(1, "is no folder")]),
        ("Write the the word.", [(1, "the the")]),
        ("Normalise `normalize`; [it](normalize.md).\n\n```python\nnormalize(x)\n```\n", []),
        ("To normalize is\nto synthesize.", [(1, "normalize"), (2, "synthesize")]),
    ],
)
def test_markdown(text: str, hits: list[tuple[int, str]], tmp_path: Path) -> None:
    assert sorted(found(tmp_path / "page.md", text)) == hits


def test_python_has_docstrings_comments_and_messages(tmp_path: Path) -> None:
    source = (
        '"""Mend it."""\nmend = normalize  # a row a cell\nsay(f"{mend} can\'t be had", "normalize this")\n'
    )
    assert sorted(found(tmp_path / "code.py", source)) == [
        (1, "Mend"),
        (2, "row a cell"),
        (3, "can't be had"),
    ]
