"""Paths as people type, list and copy them."""

import gzip
from pathlib import Path

import pytest

from intervox.clips.paths import find_path, match
from intervox.clips.text_files import open_text, read_lines
from intervox.errors import IntervoxError, IntervoxWarning


def test_a_path_in_another_normal_form_is_found(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    (tmp_path / decomposed).mkdir()
    (tmp_path / decomposed / f"{composed}.wav").touch()
    for folder in (composed, decomposed):
        for name in (composed, decomposed):
            assert Path(find_path(str(tmp_path / folder / f"{name}.wav"))).is_file()
    missing = str(tmp_path / composed / "g\u00fcn.wav")
    assert find_path(missing) == missing
    assert find_path("a//b") == "a//b"


def test_patterns_know_folders_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("clips [2024]", "clips 2", "cafe\u0301"):
        Path(folder).mkdir()
        Path(folder, "[a] e\u0301.wav").touch()
    assert match("clips [2024]/*.wav") == ["clips [2024]/[a] e\u0301.wav"]
    assert match("clips [0-9]/*.wav") == ["clips 2/[a] e\u0301.wav"]
    assert match("*/*\u00e9.wav") == sorted(f"{path}" for path in Path().glob("*/*.wav"))
    assert match("./clips 2/*") == ["./clips 2/[a] e\u0301.wav"]
    assert match("caf\u00e9/*.wav") == ["cafe\u0301/[a] e\u0301.wav"]
    assert match(str(tmp_path / "clips [2024]" / "**" / "*.wav")) == [
        str(tmp_path / "clips [2024]" / "[a] e\u0301.wav")
    ]


def test_what_systems_leave_behind_is_skipped_with_a_line(tmp_path: Path) -> None:
    for name in ("1.wav", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).touch()
    with pytest.warns(IntervoxWarning, match=r"skipped 2 entries that are not clips in .*Thumbs\.db"):
        assert match(f"{tmp_path}/*") == [f"{tmp_path}/1.wav"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-16"])
def test_text_is_decoded_by_its_mark(encoding: str, tmp_path: Path) -> None:
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    (tmp_path / "list").write_bytes(f"{mark}é\u2028\r\n\u0085b\n".encode(encoding))
    assert read_lines(tmp_path / "list") == ["é\u2028", "\u0085b"]
    (tmp_path / "list.gz").write_bytes(gzip.compress((tmp_path / "list").read_bytes()))
    assert read_lines(tmp_path / "list.gz") == ["é\u2028", "\u0085b"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"\xe4\n", "is not UTF-8 text"),
        ("a.gz", b"no gzip", "is not a whole gzip file"),
        ("a.gz", gzip.compress(b"cut short" * 99, mtime=0)[:-9], "is not a whole gzip file"),
        ("a.txt", None, "is missing: give the path of a list"),
        ("", None, "can't be read .is a directory.: give the path of a list"),
    ],
)
def test_what_is_no_text_is_one_sentence(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(IntervoxError, match=message), open_text(tmp_path / name, "a list") as file:
        list(file)
