"""Streams that are closed or empty, and errors that nobody foresaw: the exit code is still the answer."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from intervox.cli import app
from tests.cli.test_bad_input import run_main
from tests.conftest import ROOT


def shell(words: str, closed: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command with a stream closed, as a shell closes it."""
    line = f"{shlex.quote(sys.executable)} -m intervox {words} {closed}"
    own = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(["sh", "-c", line], cwd=folder, env=own, capture_output=True, text=True)


@pytest.mark.parametrize("closed", ["", "2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_a_closed_stream_changes_no_answer(closed: str, wav: Path) -> None:
    assert shell(f"verify {wav} {wav}", closed, wav.parent).returncode == 0


@pytest.mark.parametrize("words", ["embed --list -", "verify {wav} -", "spot - --examples yes={wav}"])
@pytest.mark.parametrize("closed", ["<&-", "</dev/null"])
def test_standard_input_without_anything_is_an_error(words: str, closed: str, wav: Path) -> None:
    done = shell(words.format(wav=wav), closed, wav.parent)
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
    assert len(said) == 1
    assert said[0].startswith("error: ")


@pytest.mark.parametrize(
    "mistake", [ZeroDivisionError(), OSError("no file"), ModuleNotFoundError(name="intervox.gone")]
)
def test_a_mistake_of_ours_is_not_the_answer_no(
    mistake: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise mistake

    monkeypatch.setattr(app, "app", fail)
    code, _, error = run_main(monkeypatch, capsys, "verify", "a.wav", "b.wav")
    assert code == 2
    assert f"{type(mistake).__name__}" in error.splitlines()[-1]
