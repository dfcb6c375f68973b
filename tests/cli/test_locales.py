"""Locales that lack a character: of a name that is given, or of what is printed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def run(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    own = os.environ | {"PYTHONPATH": str(ROOT / "src")} | variables
    return subprocess.run(
        [sys.executable, "-m", "intervox", *words], env=own, capture_output=True, text=True, encoding="utf-8"
    )


@pytest.mark.parametrize("words", [("embed", "Çiğdem.wav"), ("run", "mini", "--folder", "日本")])
def test_a_word_that_the_locale_lacks_is_refused_with_the_remedy(words: tuple[str, ...]) -> None:
    done = run(*words, LC_ALL="POSIX", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith("can't be read in this locale: set PYTHONUTF8=1\n")
    assert done.stderr.count("\n") == 1


def test_what_standard_output_lacks_is_escaped(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: wörter\n")
    done = run("corpus", "plan", str(recipe), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(r"Plan of w\xf6rter")
