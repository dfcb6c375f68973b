"""Three clips in the working folder, and a way to run commands on them."""

import io
import sys
from pathlib import Path

import pytest
import soundfile as sf

from tests.cli.test_bad_input import run_main
from tests.support.commands import CLIPS, Result, Run
from tests.support.spoken import SENTENCES, spoken


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, with a.wav, b.wav and c.wav."""
    for name, (speaker, sentence) in CLIPS.items():
        sf.write(tmp_path / f"{name}.wav", spoken(speaker, SENTENCES[sentence]), 16_000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(clips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: exit code, standard output, standard error."""

    def call(*words: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        return run_main(monkeypatch, capsys, *words)

    return call
