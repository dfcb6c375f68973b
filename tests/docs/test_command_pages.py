"""The site has a page for each command, with all that its help says, and tables where pages ask for them."""

import runpy
from pathlib import Path

import pytest
import typer

from intervox.cli.app import app
from tests.conftest import ROOT

pytest.importorskip("mkdocs", reason="the site needs the extra docs")

PAGES = runpy.run_path(str(ROOT / "docs" / "command_pages.py"))["pages"]()
HOOKS = runpy.run_path(str(ROOT / "docs" / "hooks.py"))


def test_every_command_has_a_page() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    below = {f"commands/corpus-{name}.md" for name in commands.pop("corpus").commands}
    assert set(PAGES) == below | {f"commands/{name}.md" for name in commands}


def test_a_page_has_usage_options_and_examples() -> None:
    title, text = PAGES["commands/verify.md"]
    assert title == "verify"
    assert "intervox verify [OPTIONS]" in text
    assert "| `--false-accept-rate <float range>` | Share of strangers that may pass" in text
    assert "## Examples\n\n```text\nintervox verify a.wav b.wav\n" in text
    assert "\b" not in "".join(text for _, text in PAGES.values())


def test_tables_come_from_where_they_were_measured() -> None:
    asked = HOOKS["TABLE"].findall((ROOT / "docs" / "which-model.md").read_text(encoding="utf-8"))
    assert asked
    for page, section in asked:
        assert HOOKS["table_of"](ROOT / "docs" / page, section).startswith("| ")
    with pytest.raises(LookupError, match="no table under 'nothing'"):
        HOOKS["table_of"](Path(ROOT / "docs" / "export.md"), "nothing")
