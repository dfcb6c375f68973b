"""identify, calibrate, and keywords in a voice, as scripts use them."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from intervox.applications.verifier import SpeakerVerifier
from intervox.audio import Waveform
from tests.cli.test_bad_input import is_one_sentence
from tests.support.commands import Run, lines
from tests.support.spoken import SENTENCES, spoken

ENROLLED = {"ann": 0, "bob": 7}
STRANGER = 4


@pytest.fixture
def people(run: Run, clips: Path) -> Path:
    """Return the working folder with people.safetensors: ann speaks a.wav and b.wav, bob c.wav."""
    for name, voice in ENROLLED.items():
        sf.write(clips / f"{name}.wav", spoken(voice, "they were waiting for the evening train"), 16_000)
        assert run("enrol", name, f"{name}.wav", "--into", "people.safetensors")[0] == 0
    sf.write(clips / "stranger.wav", spoken(STRANGER, SENTENCES[1]), 16_000)
    return clips


@pytest.fixture
def others(people: Path, run: Run) -> Path:
    """Return the folder beside with clips of 12 people who are not enrolled: noise of a colour each."""
    random = np.random.default_rng(0)
    for person in range(12):
        folder = people / "others" / f"p{person:02d}"
        folder.mkdir(parents=True)
        for number in range(4):
            sf.write(folder / f"{number}.wav", coloured(random, 0.1 + 0.07 * person), 16_000)
    return people


def coloured(random: np.random.Generator, pole: float) -> Waveform:
    white = random.normal(size=12_000)
    for index in range(1, len(white)):
        white[index] += pole * white[index - 1]
    return np.asarray(0.1 * white / np.abs(white).max(), np.float32)


def test_each_clip_gets_a_name_or_none(run: Run, people: Path) -> None:
    code, output, error = run("identify", "people.safetensors", "a.wav", "c.wav")
    assert (code, error) == (0, "")
    assert [line.split("  ")[0] for line in output.splitlines()] == ["a.wav: ann", "c.wav: bob"]
    code, output, _ = run("identify", "people.safetensors", "a.wav", "stranger.wav", "--json")
    known, stranger = lines(output)
    assert code == 1
    assert (known["name"], known["known"]) == ("ann", True)
    assert (stranger["name"], stranger["known"]) == ("unknown", False)
    verifier = SpeakerVerifier.load("people.safetensors")
    for told in (known, stranger):
        found = verifier.identify(told["clip"])
        assert told["probability"] == pytest.approx(found.probability, abs=1e-4)
        assert told["threshold"] == pytest.approx(found.threshold)
        assert [each["name"] for each in told["candidates"]] == [each.name for each in found.candidates]
    said = run("identify", "people.safetensors", "stranger.wav")[1]
    assert said.startswith("stranger.wav: nobody enrolled  (the closest is ")


def test_a_prior_is_no_decision(run: Run, people: Path) -> None:
    rare, even = (
        json.loads(run("identify", "people.safetensors", "a.wav", "--json", "--prior", prior)[1])
        for prior in ("0.001", "0.5")
    )
    assert (rare["name"], rare["threshold"]) == (even["name"], even["threshold"])
    assert rare["probability"] < even["probability"]


def test_a_bad_clip_is_named_and_the_others_go_on(run: Run, people: Path) -> None:
    code, output, error = run("identify", "people.safetensors", "gone.wav", "a.wav", "--json")
    assert code == 2
    assert is_one_sentence(error)
    broken, known = lines(output)
    assert "gone.wav" in broken["error"]
    assert known["name"] == "ann"
    for given, message in (
        (("none.safetensors", "a.wav"), "is not a file"),
        (("a.wav", "a.wav"), "not a file of"),
    ):
        code, output, error = run("identify", *given)
        assert (code, output) == (2, "")
        assert is_one_sentence(error)
        assert message in error


def test_people_of_ones_own_set_the_threshold(run: Run, others: Path) -> None:
    rate = ("--false-accept-rate", "0.1")
    code, output, error = run("calibrate", "people.safetensors", "--others", "others", *rate, "--json")
    assert (code, error) == (0, "")
    told = json.loads(output)
    verifier = SpeakerVerifier.load("people.safetensors")
    assert told["file"] == "people.safetensors"
    assert told["threshold"] == verifier.threshold
    assert (told["people"], told["cohort_clips"], told["comparisons"]) == (6, 24, 48)
    assert told["rate"] == pytest.approx(4 / 48)
    low, high = told["interval"]
    assert low <= told["rate"] <= high
    # The command compares as the Python API does: with the cohort.
    said = lines(run("verify", "people.safetensors", "a.wav", "c.wav", "--speaker", "ann", "--json")[1])
    for each in said:
        found = verifier.verify(each["clip"], "ann")
        assert each["score"] == pytest.approx(found.score, abs=1e-4)
        assert each["same"] is found.accepted
        assert each["threshold"] == pytest.approx(found.threshold, abs=1e-4)
    assert "(normalised score " in run("verify", "people.safetensors", "a.wav", "--speaker", "ann")[1]
    code, _, error = run(
        "verify", "people.safetensors", "a.wav", "--speaker", "ann", "--false-accept-rate", "0.01"
    )
    assert code == 2
    assert is_one_sentence(error)


def test_the_rate_is_said_in_words(run: Run, others: Path) -> None:
    words = ("calibrate", "people.safetensors", "--others", "others", "--false-accept-rate", "0.1")
    code, output, _ = run(*words)
    assert code == 0
    assert output.count("\n") == 1
    assert "% of comparisons with a stranger are accepted (95 % interval " in output
    assert "in 48 comparisons with 6 people; scores are normalised by 24 other clips" in output
    code, output, _ = run(*words[:-1], "0.2", "--anybody")
    assert "% of strangers are taken for somebody (95 % interval " in output
    assert "in 24 comparisons with 6 people" in output
    code, output, _ = run(*words, "--no-normalise")
    assert "in 96 comparisons with 12 people\n" in output
    assert SpeakerVerifier.load("people.safetensors").cohort is None


def test_a_folder_of_clips_is_a_person_each(run: Run, others: Path) -> None:
    (others / "flat").mkdir()
    for clip in sorted((others / "others").glob("*/*.wav")):
        clip.rename(others / "flat" / f"{clip.parent.name}-{clip.name}")
    words = ("calibrate", "people.safetensors", "--others", "flat", "--false-accept-rate", "0.1", "--json")
    code, output, error = run(*words)
    assert (code, error) == (0, "")
    assert (json.loads(output)["people"], json.loads(output)["cohort_clips"]) == (24, 24)


def test_what_cannot_be_shown_loses_nothing(run: Run, others: Path) -> None:
    before = (others / "people.safetensors").read_bytes()
    (others / "empty").mkdir()
    (others / "few" / "one").mkdir(parents=True)
    sf.write(others / "few" / "one" / "a.wav", spoken(3), 16_000)
    (others / "mixed").mkdir()
    for person in (others / "others").iterdir():
        person.rename(others / "mixed" / person.name)
    (others / "mixed" / "p03" / "2.wav").write_text("no audio")
    for folder, message in (
        ("gone", "gone is not a folder"),
        ("a.wav", "a.wav is not a folder"),
        ("empty", "holds no audio files"),
        ("few", "1 other people are too few"),
        ("mixed", "p03/2.wav"),
    ):
        code, output, error = run("calibrate", "people.safetensors", "--others", folder)
        assert (code, output) == (2, ""), folder
        assert is_one_sentence(error)
        assert message in error
    (others / "mixed" / "p03").rename(others / "mixed" / "ann")
    (others / "mixed" / "ann" / "2.wav").unlink()
    for words, message in (
        (("--others", "mixed"), "'ann' is enrolled"),
        (("--others", "others", "--false-accept-rate", "0"), "give a share above 0"),
    ):
        code, _, error = run("calibrate", "people.safetensors", *words)
        assert code == 2
        assert is_one_sentence(error)
        assert message in error or "holds no audio" in error
    assert (others / "people.safetensors").read_bytes() == before
    assert run("calibrate", "gone.safetensors", "--others", "mixed")[0] == 2


@pytest.fixture
def talk(people: Path, run: Run) -> Path:
    """Return the working folder with talk.wav: a keyword said by ann at 1 s, by bob at 4 s."""
    for name, voice in ENROLLED.items():
        for seed in (5, 6, 7):
            sf.write(people / f"{name}-{seed}.wav", spoken(voice, "marmalade", seed), 16_000)
        assert run("enrol", name, f"{name}-?.wav", "--into", "voices.safetensors")[0] == 0
    for seed in (1, 2, 3):
        (people / "words" / "marmalade").mkdir(parents=True, exist_ok=True)
        sf.write(people / "words" / "marmalade" / f"{seed}.wav", spoken(seed, "marmalade", seed), 16_000)
    sound = np.random.default_rng(0).normal(0, 1e-3, 16_000 * 7).astype(np.float32)
    for voice, start in ((0, 1), (7, 4)):
        word = spoken(voice, "marmalade", 4)
        sound[start * 16_000 : start * 16_000 + len(word)] += word
    sf.write(people / "talk.wav", sound, 16_000)
    return people


def test_a_keyword_is_reported_with_its_speaker(run: Run, talk: Path) -> None:
    spot = ("spot", "talk.wav", "--examples", "words", "--people", "voices.safetensors")
    code, output, error = run(*spot, "--json")
    assert (code, error) == (0, "")
    first, second = lines(output)
    assert (first["start"] < 1.5 < first["end"], second["start"] < 4.5 < second["end"]) == (True, True)
    assert first["speaker"] == "ann"
    assert second["speaker"] in ("bob", "unknown")
    assert "said by ann (probability " in run(*spot)[1]
    code, output, _ = run(*spot, "--speaker", "ann", "--json")
    assert code == 0
    assert [(each["speaker"], each["start"]) for each in lines(output)] == [("ann", first["start"])]
    plain = lines(run(*spot[:4], "--json")[1])
    assert [each["score"] for each in plain] == [first["score"], second["score"]]


def test_another_voice_is_why_nothing_is_found(run: Run, talk: Path) -> None:
    sound, _ = sf.read(talk / "talk.wav", dtype="float32")
    sf.write(talk / "other.wav", sound[48_000:], 16_000)
    words = ("--examples", "words", "--people", "voices.safetensors", "--speaker", "ann")
    code, output, error = run("spot", "other.wav", *words)
    assert (code, output) == (1, "")
    assert "nothing found; the best is marmalade at " in error
    assert "said by unknown" in error


def test_a_speaker_is_one_of_the_people(run: Run, talk: Path) -> None:
    for words, message in (
        (("--speaker", "ann"), "--speaker is one of --people"),
        (("--speaker", "dora", "--people", "voices.safetensors"), "'dora' is not enrolled"),
        (("--people", "gone.safetensors"), "gone.safetensors is not a file"),
    ):
        code, output, error = run("spot", "talk.wav", "--examples", "words", *words)
        assert (code, output) == (2, "")
        assert is_one_sentence(error)
        assert message in error
