"""spot as scripts use it: examples, pipes, the microphone."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from intervox.errors import install_command
from intervox.interop.clips import examples
from tests.cli.test_bad_input import is_one_sentence
from tests.support.commands import Run, lines, start
from tests.support.spoken import spoken

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
    assert install_command("microphone") in error


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ((), "there is nothing to listen to"),
        (("talk.wav", "--microphone"), "are both given"),
        (("talk.wav", "--examples", "words/marmalade/1.wav"), "is not a folder of examples"),
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
