"""The scripts of ``hardness`` tell good ends from bad ones; hostile files are refused."""

import io
import json
import random
import zipfile
from pathlib import Path

import pytest
from hardness import __main__, hostile
from hardness.common import DONE, SAID, SAME, Ended, Tally, difference
from hardness.power import HOWS, tear
from numpy.lib import format
from safetensors.numpy import save_file

from intervox.applications import name_files
from intervox.cli import app as cli
from intervox.errors import IntervoxError
from intervox.interop.vectors import read_vectors
from tests.cli.test_bad_input import run_main


@pytest.mark.parametrize(
    ("ended", "outcome"),
    [
        (Ended(0, "", ""), DONE),
        (Ended(1, "no\n", ""), DONE),
        (Ended(2, "", "warning: one\nerror: a.wav is empty: give another\n"), SAID),
        (Ended(2, "", "error: one\nerror: two\n"), "says too much or nothing"),
        (Ended(2, "", "error: one\n  and more of it\n"), "says too much or nothing"),
        (Ended(2, "", ""), "says too much or nothing"),
        (Ended(1, "", "Traceback (most recent call last):\n"), "ends badly"),
        (Ended(-11, "", ""), "ends badly"),
        (Ended(3, "", "error: x\n"), "says too much or nothing"),
        (Ended(2, "", "extracting  ━━━━ 0/7,464  0:00:09 -:--:--\nerror: a.wav is missing\n"), SAID),
    ],
)
def test_an_end_is_judged(ended: Ended, outcome: str) -> None:
    assert ended.outcome.partition(": ")[0] == outcome


def test_a_command_of_many_clips_may_say_one_sentence_for_each() -> None:
    ended = Ended(2, "", "error: a.wav is empty\nerror: b.wav is empty\n")
    assert ended.judged(2) == SAID
    assert ended.judged(1).startswith("says too much or nothing")


def test_failures_are_counted_apart() -> None:
    tally = Tally("x")
    for outcome in (SAME, SAID, "differs: a, b", difference({"a": "1"}, {"a": "1"})):
        tally.add(outcome, "here")
    assert (tally.tried, tally.failed, tally.wrong) == (4, 1, ["here: differs: a, b"])
    assert difference({"a": "1", "b": "1"}, {"a": "2", "c": "1"}) == "differs: a, b, c"


def test_counts_survive_the_file_that_holds_them() -> None:
    tally = Tally("things")
    tally.add(SAID, "here", 3)
    tally.add("torn", "there")
    assert __main__.section(
        "kills", "Kills", json.loads(json.dumps(__main__.record([tally], 0.5, 1.25)))
    ).endswith("| things | 4 | 0 | 3 | 0 | 1 |")


@pytest.mark.parametrize("how", HOWS)
def test_a_torn_file_differs_as_said(how: str, tmp_path: Path) -> None:
    path, content = tmp_path / "file", bytes(range(1, 251)) * 80
    path.write_bytes(content)
    tear(path, how, random.Random(1))
    torn = path.read_bytes()
    kept = len(torn.rstrip(b"\0"))
    assert torn != content
    assert torn[:kept] == content[:kept]
    assert len(torn) == (len(content) if "zero" in how else kept)


def test_metadata_that_nests_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.safetensors"
    save_file({}, path, {"intervox": json.dumps({}) + "[" * 100_000})
    with pytest.raises(IntervoxError, match="is not a file of enrolled names"):
        name_files.read(path, "speaker")
    save_file({}, path, {"intervox": "[" * 100_000})
    with pytest.raises(IntervoxError, match="is not a file of enrolled names"):
        name_files.read(path, "speaker")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_that_claim_terabytes_are_refused(suffix: str, tmp_path: Path) -> None:
    path, header = tmp_path / f"v{suffix}", io.BytesIO()
    about = {"descr": "<f4", "fortran_order": False, "shape": (2**32, 256)}
    format.write_array_header_1_0(header, about)
    if suffix == ".npy":
        path.write_bytes(header.getvalue())
    else:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("embedding.npy", header.getvalue())
    with pytest.raises(IntervoxError, match="is not a readable"):
        read_vectors(path)


def test_a_lack_of_memory_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def grow(**_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(cli, "app", grow)
    code, _, error = run_main(monkeypatch, capsys, "embed", "a.wav")
    assert (code, error) == (
        2,
        "error: there is not enough memory for this: free some, or give less at a time\n",
    )


@pytest.mark.slow
@pytest.mark.end_to_end
@pytest.mark.long
def test_hostile_files_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="some of the graphs are made with it: pip install intervox[export]")
    wrong = [line for tally in hostile.run(1, tmp_path) for line in tally.wrong]
    assert not wrong
