"""verify, match and enrol as scripts use them."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf

from intervox.applications.verifier import SpeakerVerifier
from intervox.cli.common import watched
from tests.cli.test_bad_input import is_one_sentence
from tests.support.commands import Run, default, expected, lines, start
from tests.support.spoken import SENTENCES, spoken


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


def test_the_prior_and_what_the_default_does_on_people_are_said(run: Run) -> None:
    code, output, error = run("verify", "a.wav", "b.wav")
    assert code == 0
    assert "at a prior of 50 %" in output
    assert error.startswith("default threshold: on people, strangers accepted and speakers refused: ")
    rare = lines(run("verify", "a.wav", "b.wav", "--prior", "0.001", "--json")[1])[0]
    even = lines(run("verify", "a.wav", "b.wav", "--json")[1])[0]
    assert (rare["same"], rare["threshold"], rare["prior"]) == (even["same"], even["threshold"], 0.001)
    assert rare["probability"] < even["probability"]
    assert run("verify", "a.wav", "b.wav", "--false-accept-rate", "0.5")[2] == ""


def test_sentences_are_matched_whoever_speaks(run: Run, clips: Path) -> None:
    sf.write(clips / "same.wav", spoken(9, SENTENCES[0]), 16_000)
    code, output, error = run("match", "a.wav", "same.wav")
    assert (code, error) == (0, "")
    assert output.startswith("same.wav: the same words  (probability ")
    code, output, _ = run("match", "a.wav", "b.wav", "same.wav", "--json")
    assert code == 1
    other, same = lines(output)
    assert (other["answer"], same["answer"]) == ("different", "same")
    assert (other["share"], same["share"]) == (0, 1)


def test_a_shared_beginning_is_partly_the_same(run: Run, clips: Path) -> None:
    shared, rest = SENTENCES[0].split(" before ")[0], SENTENCES[1].split(" over ")[0]
    sf.write(clips / "mixed.wav", spoken(9, f"{shared} {rest}"), 16_000)
    code, output, _ = run("match", "a.wav", "mixed.wav", "--json")
    assert code == 1
    (said,) = lines(output)
    assert said["answer"] == "partly"
    assert 0.2 < said["share"] < 0.8
    seconds = sf.info(clips / "mixed.wav").duration
    assert said["differences"][-1]["second"][1] > 0.8 * seconds
    assert "mixed.wav: partly the same words, " in run("match", "a.wav", "mixed.wav")[1]


def test_what_cannot_be_matched_is_said(run: Run, clips: Path) -> None:
    sf.write(clips / "word.wav", spoken(0, "boats"), 16_000)
    code, output, _ = run("match", "a.wav", "word.wav")
    assert code == 1
    assert output.startswith("word.wav: can't be compared: one clip has ")
    code, output, error = run("match", "a.wav", "gone.wav", "a.wav", "--json")
    assert code == 2
    assert [line.get("answer") for line in lines(output)] == [None, "same"]
    assert is_one_sentence(error)


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
    assert "warning: skipped 2 entries that are not clips in people" in error
    assert run("enrol", "people", "--into", "p.safetensors")[0] == 0
    assert SpeakerVerifier.load("p.safetensors").counts_ == {"ann": 4, "cat": 2}
    before = (folders / "p.safetensors").read_bytes()
    (folders / "people" / "cat" / "d.wav").write_text("no audio")
    code, _, error = run("enrol", "people", "--into", "p.safetensors")
    assert code == 2
    assert "people/cat/d.wav" in error
    code, _, error = run("enrol", "people", "--into", "p.safetensors", "--strict")
    assert code == 2
    assert error.startswith("error: skipped 2 entries")
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
    monkeypatch.setattr("intervox.applications.stability.WEAK_STABILITY", 1.1)
    _, output, error = run("spot", "people/ann/a.wav", "--examples", "cat=people/cat/c.wav", "--json")
    assert "and a weak one" in lines(output)[0]["warning"]
    assert "and a weak one" in error
    assert "warning" not in run("spot", "people/cat/c.wav", "--examples", "people/ann")[2]
