"""embed as scripts use it: patterns, lists, pipes, files, exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from intervox.interop import read_vectors
from tests.cli.test_bad_input import is_one_sentence
from tests.conftest import ROOT
from tests.support.commands import Run, default, expected, lines, start


def test_a_line_a_clip_and_space(run: Run) -> None:
    code, output, error = run("embed", "b.wav", "a.wav", "b.wav", "--space", "content", "--space", "speaker")
    assert (code, error) == (0, "")
    found = lines(output)
    assert [(line["clip"], line["space"]) for line in found] == [
        (clip, space) for clip in ("b.wav", "a.wav", "b.wav") for space in ("content", "speaker")
    ]
    speaker = [line["vector"] for line in found if line["space"] == "speaker"]
    # 16-bit files.
    np.testing.assert_allclose(speaker, expected("b", "a", "b"), atol=5e-3)


def test_printed_and_written_vectors_are_the_same(run: Run) -> None:
    printed = run("embed", "a.wav", "c.wav")[1]
    assert run("embed", "a.wav", "c.wav", "--out", "v.jsonl")[1] == "2 clips in v.jsonl\n"
    assert Path("v.jsonl").read_text() == printed
    for name in ("v.npz", "v.npy", "v.parquet"):
        assert run("embed", "a.wav", "c.wav", "--out", name)[0] == 0
        vectors = np.stack([line["vector"] for line in lines(printed)])
        (found,) = read_vectors(Path(name))[1].values()
        np.testing.assert_array_equal(found, vectors)


def test_what_is_embedded_can_be_evaluated(run: Run) -> None:
    """Vectors of two speakers with their labels beside them, as docs/interop.md has it."""
    code, output, _ = run(
        "embed", "?.wav", "--space", "speaker", "--space", "content", "--out", "v.npz", "--json"
    )
    assert (code, json.loads(output)) == (0, {"out": "v.npz", "clips": 3, "failed": 0})
    with np.load("v.npz") as file:
        arrays = dict(file)
    arrays |= {"speaker": np.array(["x", "x", "y"]), "content": np.array(["1", "2", "3"])}
    np.savez("labelled.npz", **arrays)
    code, output, error = run("evaluate", "--embeddings", "labelled.npz", "--json")
    assert code == 0, error
    assert json.loads(output)["protocols"]["labelled"]["clips"] == 3


def test_patterns_are_expanded_and_sorted(run: Run, clips: Path) -> None:
    (clips / "deep" / "er").mkdir(parents=True)
    (clips / "a.wav").rename(clips / "deep" / "er" / "a.wav")
    (clips / "b.wav").rename(clips / "[b].wav")
    found = lines(run("embed", "c.wav", "[b].wav", "**/*.wav")[1])
    assert [line["clip"] for line in found] == ["c.wav", "[b].wav", "[b].wav", "c.wav", "deep/er/a.wav"]
    code, output, error = run("embed", "c.wav", "*.flac")
    assert (code, output) == (2, "")
    assert is_one_sentence(error)
    assert "no file matches '*.flac'" in error
    code, output, error = run("embed", "deep/")
    assert (code, output) == (2, "")
    assert "'deep/*.wav'" in error


def test_what_systems_leave_beside_clips_is_one_warning(run: Run, clips: Path) -> None:
    for name in ("Thumbs.db", "desktop.ini"):
        (clips / name).touch()
    code, output, error = run("embed", "[aTd]*")
    assert (code, [line["clip"] for line in lines(output)]) == (0, ["a.wav"])
    assert error == "warning: skipped 2 entries that are not clips in '[aTd]*', such as Thumbs.db\n"


def test_manifests_are_lists(run: Run, clips: Path) -> None:
    (clips / "m.csv").write_text("path,speaker\nb.wav,x\na.wav,\n")
    assert [line["clip"] for line in lines(run("embed", "--list", "m.csv")[1])] == ["b.wav", "a.wav"]
    (clips / "m.csv").write_text("clip\na.wav\n")
    code, output, error = run("embed", "--list", "m.csv")
    assert (code, output, error) == (2, "", "error: m.csv lacks the column path: add it\n")


def test_the_others_are_embedded_where_one_is_bad(run: Run, clips: Path) -> None:
    (clips / "bad.wav").write_bytes(b"no audio")
    words = ("embed", "a.wav", "bad.wav", "b.wav", "gone.wav")
    code, output, error = run(*words)
    assert code == 2
    assert [line["clip"] for line in lines(output)] == ["a.wav", "b.wav"]
    complaints = error.splitlines()
    assert [complaint.split()[:2] for complaint in complaints] == [
        ["error:", "bad.wav"],
        ["error:", "gone.wav"],
    ]
    told = lines(run(*words, "--json")[1])
    assert [line["clip"] for line in told] == ["a.wav", "bad.wav", "b.wav", "gone.wav"]
    assert f"error: {told[1]['error']}" == complaints[0]


def test_a_file_holds_the_good_clips_under_their_names(run: Run, clips: Path) -> None:
    (clips / "bad.wav").write_bytes(b"no audio")
    for name in ("v.npz", "v.jsonl", "v.parquet"):
        code, output, _ = run("embed", "a.wav", "bad.wav", "b.wav", "--out", name)
        assert (code, output) == (2, f"2 clips in {name}, 1 failed\n")
        assert read_vectors(Path(name))[0] == ["a.wav", "b.wav"]


def test_names_that_a_format_cannot_hold_are_errors_of_their_clips(run: Run, clips: Path) -> None:
    pytest.importorskip("kaldiio")
    (clips / "b.wav").rename(clips / "my clip.wav")
    (clips / "c.wav").rename(clips / "c\udce4.wav")
    code, _, error = run("embed", "*.wav", "--out", "v.txt")
    assert code == 2
    assert ["not UTF-8" in line for line in error.splitlines()] == [True, False]
    assert "'my clip.wav', for its spaces" in error.splitlines()[1]
    assert read_vectors(Path("v.txt"))[0] == ["a.wav"]
    for words in (("verify", "a.wav"), ("enrol", "carol", "--into", "v.safetensors"), ("embed",)):
        code, _, error = run(*words, "c\udce4.wav")
        assert (code, is_one_sentence(error)) == (2, True)
        assert r"'c\udce4.wav' is not UTF-8: rename the file" in error


def test_rows_without_names_stay_where_they_belong(run: Run, clips: Path) -> None:
    (clips / "bad.wav").write_bytes(b"no audio")
    assert run("embed", "a.wav", "bad.wav", "b.wav", "--out", "v.npy")[0] == 2
    vectors = np.load("v.npy")
    assert np.isnan(vectors).all(axis=1).tolist() == [False, True, False]
    np.testing.assert_allclose(vectors[[0, 2]], expected("a", "b"), atol=5e-3)


def test_where_nothing_is_embedded_the_old_file_stays(run: Run, clips: Path) -> None:
    (clips / "bad.wav").write_bytes(b"no audio")
    for name in ("v.npy", "v.npz"):
        (clips / name).write_bytes(b"old")
        code, _, error = run("embed", "bad.wav", "--out", name)
        assert code == 2
        assert is_one_sentence(error)
        assert (clips / name).read_bytes() == b"old"
    assert not list(clips.glob(".*"))


def test_frames(run: Run) -> None:
    frames = [line["frames"] for line in lines(run("embed", "a.wav", "--frames")[1])]
    np.testing.assert_allclose(frames[0], default().encode(["a.wav"], frames=True)["speaker"][0], atol=1e-6)
    code, _, error = run("embed", "a.wav", "--frames", "--out", "v.npy")
    assert code == 2
    assert "holds no frames: write .jsonl" in error


def test_a_list_may_be_kaldis(run: Run, clips: Path) -> None:
    pytest.importorskip("kaldiio")
    (clips / "wav.scp").write_text("utt1 a.wav\nutt2 b.wav\n")
    assert run("embed", "--list", "wav.scp", "--space", "speaker", "--out", "x.scp")[0] == 0
    names, spaces = read_vectors(Path("x.scp"))
    assert names == ["utt1", "utt2"]
    np.testing.assert_allclose(spaces["embedding"], expected("a", "b"), atol=5e-3)
    (clips / "files.txt").write_text("a.wav\n\nutt2 b.wav\n")
    assert [line["clip"] for line in lines(run("embed", "--list", "files.txt")[1])] == ["a.wav", "utt2"]


def test_commands_in_a_list_are_not_run(run: Run, clips: Path) -> None:
    (clips / "wav.scp").write_text("utt1 a.wav\nutt2 touch ran |\n")
    code, _, error = run("embed", "--list", "wav.scp", "--out", "v.npz")
    assert code == 2
    assert is_one_sentence(error)
    assert "line 2 is a shell command, which is never run" in error
    assert not (clips / "ran").exists()
    assert not (clips / "v.npz").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("embed",), "no clips are given: name some"),
        (("embed", "a.wav", "--list", "l.txt"), "both clips and --list"),
        (("embed", "--list", "none.txt"), "none.txt is missing"),
        (("embed", "--list", "empty.txt"), "lists no clips"),
        (("embed", "a.wav", "--space", "mood"), "there is no subspace 'mood'"),
        (("embed", "a.wav", "--space", "speaker", "--space", "content", "--out", "v.npy"), "holds one space"),
        (("embed", "a.wav", "--out", "v.csv"), "no known format: give another path, ending in .npy"),
        (("verify", "a.wav", "b.wav", "--speaker", "alice"), "--speaker goes with a file"),
        (("verify", "gone.wav", "b.wav"), "gone.wav is not a file"),
        (("verify", "gone.safetensors", "b.wav"), "gone.safetensors is not a file"),
        (("verify", "a.wav", "b.wav", "--false-accept-rate", "2"), "is '2': it must be at most 1"),
    ],
)
def test_mistakes_get_a_sentence(words: tuple[str, ...], complaint: str, run: Run, clips: Path) -> None:
    (clips / "empty.txt").write_text("\n")
    code, output, error = run(*words)
    assert (code, output) == (2, "")
    assert is_one_sentence(error)
    assert complaint in error


def test_a_clip_may_come_from_a_pipe(run: Run, clips: Path) -> None:
    for command in (("embed", "-"), ("verify", "a.wav", "-", "--json")):
        code, output, _ = run(*command, stdin=(clips / "b.wav").read_bytes())
        assert code == 0
        assert lines(output)[0]["clip"] == "-"
    code, _, error = run("embed", "-", stdin=b"")
    assert code == 2
    assert "standard input can't be read as audio" in error


@pytest.mark.parametrize("command", ["embed", "verify", "match", "enrol", "spot"])
def test_help_teaches_by_example(command: str, run: Run) -> None:
    code, output, _ = run(command, "--help")
    assert code == 0
    shown = [line.strip() for line in output.splitlines() if line.startswith(f"  intervox {command} ")]
    assert len(shown) >= 2


def test_two_clips_are_verified_without_scikit_learn(clips: Path) -> None:
    script = (
        "import sys; from intervox.cli.app import main; sys.argv = ['intervox', 'verify', 'a.wav', 'b.wav']\n"
        "try: main()\n"
        "except SystemExit as leaving: assert not leaving.code, leaving.code\n"
        "print([name for name in ('sklearn', 'matplotlib', 'pyroomacoustics', 'datasets', 'kaldiio')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=clips,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_list_from_a_pipe_is_answered_as_it_comes(clips: Path) -> None:
    process = start("embed", "--list", "-", "--json", cwd=clips)
    assert process.stdin is not None
    assert process.stdout is not None
    for name in ("a.wav", "gone.wav", "c.wav"):
        process.stdin.write(f"{name}\n".encode())
        process.stdin.flush()
        # Without the next line: the answer would never come if the command waited for more.
        answer = json.loads(process.stdout.readline())
        assert answer["clip"] == name
    process.stdin.close()
    assert process.wait(timeout=60) == 2


def test_a_list_may_be_a_shells_substitution(clips: Path) -> None:
    command = f"{sys.executable} -m intervox embed --list <(printf 'a.wav\\nu2 b.wav\\n') --out v.npz"
    done = subprocess.run(["bash", "-c", command], env=os.environ | {"PYTHONPATH": str(ROOT / "src")})
    assert done.returncode == 0
    assert read_vectors(Path("v.npz"))[0] == ["a.wav", "u2"]


def test_a_reader_that_has_had_enough_ends_it_quietly(clips: Path) -> None:
    process = start("embed", *["a.wav"] * 2, "--list", "-", cwd=clips)
    _, error = process.communicate(timeout=60)
    assert b"choose one" in error
    process = start("embed", "--list", "-", cwd=clips)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"a.wav\n")
    process.stdin.flush()
    assert process.stdout.readline()
    process.stdout.close()
    # Standard input stays open: a thread is waiting for it while the process ends.
    process.stdin.write(b"b.wav\n")
    process.stdin.flush()
    assert process.wait(timeout=60) == 141
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_strict_refuses_what_is_warned_of(run: Run, clips: Path) -> None:
    whole = (clips / "a.wav").read_bytes()
    (clips / "cut.wav").write_bytes(whole[: len(whole) // 2])
    code, output, error = run("embed", "cut.wav", "b.wav")
    assert (code, len(lines(output))) == (0, 2)
    assert error.startswith("warning: cut.wav ends after ")
    code, output, error = run("embed", "cut.wav", "b.wav", "--strict")
    assert (code, [line["clip"] for line in lines(output)]) == (2, ["b.wav"])
    assert error.startswith("error: cut.wav ends after ")
    # Of one command, not of those that follow.
    assert run("verify", "cut.wav", "b.wav")[0] in (0, 1)
    for words in (("verify", "cut.wav", "b.wav"), ("spot", "cut.wav", "--examples", "w=b.wav")):
        assert run(*words, "--strict")[0] == 2
