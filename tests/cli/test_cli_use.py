"""embed, verify, enrol and spot as scripts use them: pipes, patterns, lists, exit codes."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from intervox.applications.verifier import SpeakerVerifier
from intervox.cli.common import watched
from intervox.interop import read_vectors
from intervox.interop.clips import examples
from intervox.model.model import SubspaceModel
from tests.cli.test_bad_input import is_one_sentence, run_main
from tests.conftest import ROOT
from tests.support.spoken import SENTENCES, spoken

Result = tuple[int, str, str]
Run = Callable[..., Result]

CLIPS = {"a": (0, 0), "b": (0, 1), "c": (7, 2)}
"""Of whom, and what: a and b have a speaker, c another."""


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, with a.wav, b.wav and c.wav."""
    for name, (speaker, sentence) in CLIPS.items():
        sf.write(tmp_path / f"{name}.wav", spoken(speaker, SENTENCES[sentence]), 16_000)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@cache
def default() -> SubspaceModel:
    return SubspaceModel.from_pretrained("default")


@pytest.fixture
def run(clips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: exit code, standard output, standard error."""
    kept = default()
    load = SubspaceModel.from_pretrained
    monkeypatch.setattr(
        SubspaceModel, "from_pretrained", lambda name: kept if name == "default" else load(name)
    )

    def call(*words: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        return run_main(monkeypatch, capsys, *words)

    return call


def lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def expected(*names: str, space: str = "speaker") -> NDArray[np.float32]:
    sources = [spoken(CLIPS[name][0], SENTENCES[CLIPS[name][1]]) for name in names]
    return default().encode(sources)[space]


def start(*words: str, **options: Any) -> "subprocess.Popen[bytes]":
    """Start the real command line with pipes on all sides."""
    return subprocess.Popen(
        [sys.executable, "-m", "intervox", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        **options,
    )


# embed


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
    assert ["no UTF-8" in line for line in error.splitlines()] == [True, False]
    assert "'my clip.wav', for its spaces" in error.splitlines()[1]
    assert read_vectors(Path("v.txt"))[0] == ["a.wav"]
    for words in (("verify", "a.wav"), ("enrol", "carol", "--into", "v.safetensors"), ("embed",)):
        code, _, error = run(*words, "c\udce4.wav")
        assert (code, is_one_sentence(error)) == (2, True)
        assert r"'c\udce4.wav' is no UTF-8: rename the file" in error


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


# verify


def test_exit_codes_say_whether_it_is_the_speaker(run: Run) -> None:
    code, output, _ = run("verify", "a.wav", "b.wav", "--json")
    said = json.loads(output)
    assert (code, said["same"], said["reference"]) == (0, True, "a.wav")
    reference, same = expected("a", "b")
    assert said["score"] == pytest.approx(float(reference @ same), abs=5e-3)
    (probability,) = default().probability(np.array([said["score"]]), "speaker")
    assert said["probability"] == pytest.approx(probability, abs=1e-4)
    code, output, _ = run("verify", "a.wav", "b.wav", "c.wav", "a.wav")
    assert code == 1
    assert [line.split("  ")[0] for line in output.splitlines()] == [
        "b.wav: same speaker", "c.wav: different speaker", "a.wav: same speaker"
    ]  # fmt: skip


def test_an_error_outweighs_a_stranger(run: Run) -> None:
    code, output, error = run("verify", "a.wav", "gone.wav", "c.wav", "b.wav", "--json")
    assert code == 2
    assert [line.get("same") for line in lines(output)] == [None, False, True]
    assert is_one_sentence(error)


def test_a_stricter_rate_refuses_more(run: Run) -> None:
    score = lines(run("verify", "a.wav", "b.wav", "--json")[1])[0]["score"]
    from intervox import SpeakerVerifier

    for rate in ("0.5", "0.001"):
        threshold = SpeakerVerifier(default()).set_false_accept_rate(float(rate)).threshold_
        said = lines(run("verify", "a.wav", "b.wav", "--false-accept-rate", rate, "--json")[1])[0]
        assert said["same"] is (score >= threshold)


# enrol


@pytest.mark.slow
def test_two_that_enrol_at_a_time_lose_nobody(clips: Path) -> None:
    both = [start("enrol", name, "a.wav", "--into", "two.safetensors", cwd=clips) for name in ("ada", "ben")]
    for process in both:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    assert SpeakerVerifier.load(clips / "two.safetensors").classes_.tolist() == ["ada", "ben"]


def test_people_are_enrolled_added_to_and_verified(run: Run) -> None:
    code, output, _ = run("enrol", "alice", "a.wav", "--into", "people.safetensors", "--json")
    assert code == 0
    assert json.loads(output) == {
        "name": "alice", "examples": 1, "names": ["alice"], "into": "people.safetensors"
    }  # fmt: skip
    assert lines(run("verify", "people.safetensors", "b.wav", "--json")[1])[0]["reference"] == "alice"
    assert run("enrol", "alice", "b.wav", "--into", "people.safetensors")[0] == 0
    output = run("enrol", "carol", "[c].wav", "--into", "people.safetensors")[1]
    assert output == "carol: 1 example; people.safetensors knows alice, carol\n"
    code, output, _ = run("verify", "people.safetensors", "a.wav", "--speaker", "alice", "--json")
    prototype = expected("a", "b").sum(axis=0)
    score = float(expected("a")[0] @ prototype / np.linalg.norm(prototype))
    assert code == 0
    assert json.loads(output)["score"] == pytest.approx(score, abs=5e-3)
    assert run("verify", "people.safetensors", "a.wav", "--speaker", "carol")[0] == 1
    code, _, error = run("verify", "people.safetensors", "a.wav")
    assert code == 2
    assert "knows alice, carol: say whom to verify with --speaker" in error
    code, _, error = run("verify", "people.safetensors", "a.wav", "--speaker", "dora")
    assert (code, "'dora' is not enrolled" in error) == (2, True)


def test_a_bad_clip_changes_nothing(run: Run, clips: Path) -> None:
    run("enrol", "alice", "a.wav", "--into", "people.safetensors")
    before = (clips / "people.safetensors").read_bytes()
    code, _, error = run("enrol", "alice", "b.wav", "gone.wav", "--into", "people.safetensors")
    assert code == 2
    assert is_one_sentence(error)
    assert (clips / "people.safetensors").read_bytes() == before
    code, _, error = run("enrol", "alice", "a.wav", "--into", "people.bin")
    assert (code, "let it end in .safetensors" in error) == (2, True)


def test_a_bar_is_for_terminals_that_show_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import intervox.progress

    def shown(count: int, error: bool, output: bool, prints: bool) -> bool:
        bars = []

        @contextmanager
        def bar(_description: str, total: int, _unit: str) -> Iterator[SimpleNamespace]:
            bars.append(total)
            yield SimpleNamespace(advance=lambda _count: None)

        monkeypatch.setattr(intervox.progress, "progress_bar", bar)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: error)
        monkeypatch.setattr(sys.stdout, "isatty", lambda: output)
        assert list(watched(iter(range(count)), count, "embedding", prints)) == list(range(count))
        return bars == [count]

    assert shown(50, error=True, output=False, prints=True)
    assert shown(50, error=True, output=True, prints=False)
    assert not shown(50, error=True, output=True, prints=True)
    assert not shown(50, error=False, output=False, prints=True)
    assert not shown(3, error=True, output=False, prints=False)


# the process


@pytest.mark.parametrize("command", ["embed", "verify", "enrol", "spot"])
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


# spot

KEYWORDS = ("marmalade", "telephone")


@pytest.fixture
def words(clips: Path) -> Path:
    """Return the working folder with examples of two keywords, and a talk with one at 1.5 s."""
    for keyword in KEYWORDS:
        for seed in (1, 2, 3):
            path = clips / "words" / keyword / f"{seed}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, spoken(0, keyword, seed), 16_000)
    sf.write(clips / "talk.wav", talk(), 16_000)
    return clips


def talk() -> NDArray[np.float32]:
    """Room noise with a keyword in it, from 1.5 s on."""
    sound = np.random.default_rng(0).normal(0, 1e-3, 16_000 * 5).astype(np.float32)
    keyword = spoken(0, "marmalade", 4)
    sound[24_000 : 24_000 + len(keyword)] += keyword
    return sound


def assert_heard(found: list[dict[str, Any]], clip: str) -> None:
    """The keyword is found, where it is, and no other is."""
    assert {(detection["clip"], detection["keyword"]) for detection in found} == {(clip, "marmalade")}
    detection = max(found, key=lambda one: float(one["score"]))
    assert detection["start"] < 1.5 + len(spoken(0, "marmalade", 4)) / 32_000 < detection["end"]
    assert 0.5 <= detection["probability"] <= 1


def test_a_keyword_is_found_by_its_examples(run: Run, words: Path) -> None:
    code, output, error = run("spot", "talk.wav", "--examples", "words", "--json")
    assert (code, error) == (0, "")
    assert_heard(lines(output), "talk.wav")
    told = [
        f"talk.wav: {one['start']:.2f}-{one['end']:.2f} s  marmalade  (cosine {one['score']:.3f}, "
        f"probability {one['probability']:.3f})"
        for one in lines(output)
    ]
    assert run("spot", "talk.wav", "--examples", "words")[1].splitlines() == told


@pytest.mark.parametrize(
    "given",
    [
        ("words",),
        ("words/",),
        ("words/marmalade", "words/telephone"),
        ("marmalade=words/marmalade/*.wav", "telephone=words/telephone/[0-9].wav"),
        ("words/telephone", "marmalade=words/marmalade/1.wav", "marmalade=words/marmalade/[23].wav"),
    ],
)
def test_examples_are_folders_or_patterns(given: tuple[str, ...], words: Path) -> None:
    (words / "words" / "README.md").write_text("no keyword")
    (words / "words" / "marmalade" / "notes.txt").write_text("no example")
    assert examples(given) == {
        keyword: [f"words/{keyword}/{seed}.wav" for seed in (1, 2, 3)] for keyword in KEYWORDS
    }


def test_examples_in_the_folder_itself_are_named_after_it(
    words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(words / "words" / "telephone")
    assert list(examples(["."])) == ["telephone"]


def test_nothing_found_is_a_no(run: Run, words: Path) -> None:
    nothing = ("spot", "talk.wav", "--examples", "words", "--threshold", "1")
    code, output, error = run(*nothing)
    assert (code, output) == (1, "")
    assert error.startswith("talk.wav: nothing found; the best is marmalade at 1.")
    assert error.endswith("threshold 1.000)\n")
    code, output, error = run(*nothing, "--json")
    assert (code, error) == (1, "")
    (told,) = lines(output)
    assert (told["clip"], told["found"], told["threshold"]) == ("talk.wav", False, 1)
    assert told["closest"]["keyword"] == "marmalade"
    assert told["closest"]["score"] < 1


def test_other_recordings_are_heard_where_one_is_bad(run: Run, words: Path) -> None:
    code, output, error = run("spot", "gone.wav", "talk.wav", "--examples", "words", "--json")
    assert code == 2
    assert is_one_sentence(error)
    assert "gone.wav" in error
    broken, *found = lines(output)
    assert broken["clip"] == "gone.wav"
    assert_heard(found, "talk.wav")


def test_enrolled_keywords_are_spotted(run: Run, words: Path) -> None:
    for keyword in KEYWORDS:
        into = ("--into", "words.safetensors")
        assert run("enrol", "--keyword", keyword, f"words/{keyword}/?.wav", *into)[0] == 0
    code, output, _ = run("spot", "talk.wav", "--keywords", "words.safetensors", "--json")
    assert code == 0
    assert_heard(lines(output), "talk.wav")
    code, _, error = run("verify", "words.safetensors", "a.wav", "--speaker", "marmalade")
    assert code == 2
    assert "KeywordSpotter" in error


@pytest.mark.slow
@pytest.mark.parametrize("form", ["wav", "raw"])
def test_a_pipe_is_heard_while_it_is_open(form: str, words: Path) -> None:
    pcm = (talk() * 32_767).astype("<i2").tobytes()
    header = io.BytesIO()
    sf.write(header, np.zeros(0, np.int16), 16_000, format="WAV", subtype="PCM_16")
    # As ffmpeg writes to a pipe, whose length it can't know.
    endless = header.getvalue()[:40] + b"\xff\xff\xff\xff"
    process = start("spot", "-", "--examples", "words", "--json", *(["--raw"] if form == "raw" else []))
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(pcm if form == "raw" else endless + pcm)
    process.stdin.flush()
    found = [json.loads(process.stdout.readline())]
    process.stdin.close()
    found += lines(process.stdout.read().decode())
    assert process.wait(timeout=60) == 0
    assert_heard(found, "-")


def test_what_is_no_sound_is_no_pipe(words: Path) -> None:
    process = start("spot", "-", "--examples", "words")
    _, error = process.communicate(b"no sound at all, but text", timeout=60)
    assert process.returncode == 2
    assert is_one_sentence(error.decode())
    assert "with --raw" in error.decode()


def test_a_microphone_is_heard_until_ctrl_c(run: Run, words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chunks() -> Iterator[NDArray[np.float32]]:
        yield from np.array_split(talk()[:, None], 50)
        raise KeyboardInterrupt

    monkeypatch.setattr("intervox.applications.live.microphone_chunks", chunks)
    code, output, _ = run("spot", "--microphone", "--examples", "words", "--json")
    assert code == 0
    assert_heard(lines(output), "microphone")


def test_without_a_microphone_the_mend_is_named(
    run: Run, words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    code, output, error = run("spot", "--microphone", "--examples", "words")
    assert (code, output) == (2, "")
    assert is_one_sentence(error)
    assert "pip install intervox[microphone]" in error


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ((), "say where to listen"),
        (("talk.wav", "--microphone"), "say where to listen"),
        (("talk.wav", "--examples", "words/marmalade/1.wav"), "is no folder of examples"),
        (("talk.wav", "--examples", "empty"), "holds no audio files"),
        (("talk.wav", "--examples", "yes=none/*.wav"), "no file matches"),
        (("talk.wav", "--keywords", "gone.safetensors"), "gone.safetensors is not a file"),
        (("talk.wav",), "say what to listen for"),
    ],
)
def test_what_is_not_said_is_asked_for(given: tuple[str, ...], complaint: str, run: Run, words: Path) -> None:
    (words / "empty").mkdir()
    listening = () if "what to" in complaint or len(given) > 2 else ("--examples", "words")
    code, output, error = run("spot", *given, *listening)
    assert (code, output) == (2, "")
    assert is_one_sentence(error)
    assert complaint in error


@pytest.fixture
def folders(clips: Path) -> Path:
    """Return a folder with the names ann (a, b) and cat (c), and what is no audio."""
    for name, files in {"ann": "ab", "cat": "c"}.items():
        (clips / "people" / name).mkdir(parents=True)
        for file in files:
            (clips / f"{file}.wav").rename(clips / "people" / name / f"{file}.wav")
    (clips / "people" / "cat" / "notes.txt").write_text("no audio")
    (clips / "people" / "nobody").mkdir()
    return clips


def test_a_folder_of_folders_is_enrolled_at_once_and_again(run: Run, folders: Path) -> None:
    code, output, error = run("enrol", "people", "--into", "p.safetensors", "--json")
    assert code == 0, error
    found = lines(output)
    assert {r["skipped"] for r in found if "skipped" in r} == {"people/cat/notes.txt", "people/nobody"}
    assert {r["name"]: r["examples"] for r in found if "name" in r} == {"ann": 2, "cat": 1}
    assert error.count("skipped: ") == 2
    assert run("enrol", "people", "--into", "p.safetensors")[0] == 0
    assert SpeakerVerifier.load("p.safetensors").counts_ == {"ann": 4, "cat": 2}
    before = (folders / "p.safetensors").read_bytes()
    (folders / "people" / "cat" / "d.wav").write_text("no audio")
    code, _, error = run("enrol", "people", "--into", "p.safetensors")
    assert code == 2
    assert "people/cat/d.wav" in error
    assert (folders / "p.safetensors").read_bytes() == before
    for missing in ("people/ann", "absent"):
        code, _, error = run("enrol", missing, "--into", "p.safetensors")
        assert code == 2
        assert is_one_sentence(error)


def test_a_keyword_with_one_example_is_warned_of(
    run: Run, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, output, error = run("enrol", "--keyword", "people", "--into", "w.safetensors", "--json")
    assert code == 0, error
    warned = {r["name"]: r.get("warning", "") for r in lines(output) if "name" in r}
    assert warned["ann"] == ""
    assert "only one example of 'cat'" in warned["cat"]
    assert f"warning: {warned['cat']}" in error
    monkeypatch.setattr("intervox.applications.spotter.WEAK_STABILITY", 1.1)
    _, output, error = run("spot", "people/ann/a.wav", "--examples", "cat=people/cat/c.wav", "--json")
    assert "and a weak one" in lines(output)[0]["warning"]
    assert "and a weak one" in error
    assert "warning" not in run("spot", "people/cat/c.wav", "--examples", "people/ann")[2]
