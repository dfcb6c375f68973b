"""Readers of evaluation corpora, each on a miniature tree of the real shape."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from intervox.errors import IntervoxError
from intervox.evaluation.protocols import Protocol, find_protocols
from intervox.manifest import Row

from .conftest import ROOT

LISTS = ROOT / ".." / "shared" / "protocols"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty data folder."""
    monkeypatch.setenv("INTERVOX_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def lists() -> Path:
    """Return the folder of official lists, or skip where it is missing."""
    if not LISTS.is_dir():
        pytest.skip("official lists are not here: ../shared/protocols is missing")
    return LISTS


def grow(folder: Path, files: Iterable[str], **texts: str) -> None:
    """Make empty files, and files of text whose names have ``__`` for ``/`` and ``_dot_`` for a dot."""
    for name in files:
        write(folder / name, "")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def read(name: str) -> Protocol:
    (protocol,) = find_protocols((name,))
    return protocol


def rows(name: str) -> dict[str, Row]:
    return {row.path.name: row for row in read(name).rows}
def test_protocol_readers_on_trees_of_the_real_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "librispeech/test-other/1688/1688-142285-0000.flac",
        "librispeech/test-other/1688/1688-142285-0001.flac",
        "librispeech/test-other/1998/15444/1998-15444-0001.flac",
        "speech_commands/yes/0a7c2a8d_nohash_0.wav",
        "speech_commands/yes/0a7c2a8d_nohash_1.wav",
        "speech_commands/no/1b4c9b89_nohash_0.wav",
        "speech_commands/_background_noise_/running_tap.wav",
        "fsdd/recordings/7_jackson_32.wav",
        "fsdd/recordings/7_jackson_33.wav",
        "fsdd/recordings/0_theo_1.wav",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.csv").write_text(
        "path,speaker,content,session\na.wav,ann,hello,1\nb.wav,ann,,1\nc.wav,bob,hello,2\n",
        encoding="utf-8-sig",
    )
    monkeypatch.setenv("INTERVOX_DATA", str(tmp_path))
    found = {p.name: p for p in find_protocols(("auto",))}
    rows = {name: [(row.speaker, row.content) for row in p.rows] for name, p in found.items()}
    assert rows == {
        "librispeech": [
            ("1688", "1688-142285-0000"),
            ("1688", "1688-142285-0001"),
            ("1998", "1998-15444-0001"),
        ],
        "speech_commands": [("1b4c9b89", "no"), ("0a7c2a8d", "yes"), ("0a7c2a8d", "yes")],
        "fsdd": [("theo", "0"), ("jackson", "7"), ("jackson", "7")],
        "mine": [("ann", "hello"), ("ann", "unknown: b.wav"), ("bob", "hello")],
    }
    assert found["mine"].rows[0].path == tmp_path / "mine" / "a.wav"
    with pytest.raises(IntervoxError, match=r"'absent' has no recordings.*INTERVOX_DATA"):
        find_protocols(("absent",))
    for text, complaint in (
        ("path,who\na.wav,ann\n", "lacks the columns content, speaker"),
        ("path,speaker,content\na.wav\n", "recording 1: path and speaker must not be empty"),
        ("path,speaker,content\na.wav,ann,x\nb.wav,ann,y\n", "at least two speakers"),
    ):
        (tmp_path / "mine" / "manifest.csv").write_text(text)
        with pytest.raises(IntervoxError, match=complaint):
            find_protocols(("mine",))
    with pytest.raises(IntervoxError, match="give the name of a folder"):
        find_protocols(("../mine",))
    monkeypatch.setenv("INTERVOX_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(IntervoxError, match="INTERVOX_DATA is .*nowhere, which is not a folder"):
        find_protocols(("auto",))


def test_the_human_corpora_have_the_documented_sizes(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERVOX_DATA", str(corpora))
    sizes = {
        p.name: (len(p.rows), len({row.speaker for row in p.rows}), len({row.content for row in p.rows}))
        for p in find_protocols(("auto",))
    }
    assert sizes == {
        "librispeech": (100, 10, 100),
        "speech_commands": (3927, 457, 12),
        "fsdd": (3000, 6, 10),
    }


