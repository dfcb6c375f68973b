"""Keywords that are typed, said by a synthesiser, and told from what sounds like them."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from intervox import typed
from intervox.applications.enrolled import UNKNOWN
from intervox.applications.spotter import KeywordSpotter
from intervox.audio import Waveform
from intervox.cli import spot
from intervox.engines.base import load_engine
from intervox.errors import IntervoxError, install_command
from intervox.recipe.engines import EspeakSettings
from intervox.typed import NEAR_MISSES, VOICES, enrol_typed, near_misses, phonemes
from tests.support.commands import Run, lines


def said(text: str, number: int) -> Waveform:
    """What one of the engine's voices says that no typed keyword is said in."""
    engine = load_engine(EspeakSettings(voices=VOICES + 12))
    return engine.render(text, engine.voices()[VOICES + number].name, 99)


@pytest.fixture(scope="module")
def known() -> KeywordSpotter:
    spotter = KeywordSpotter()
    enrol_typed(spotter, "captain")
    return spotter


def test_near_misses_sound_alike_and_are_other_words() -> None:
    found = near_misses("letter", "en")
    assert len(found) == NEAR_MISSES
    assert "left" in found or "leather" in found
    own = phonemes("letter", "en")
    assert own
    for word in found:
        sound = phonemes(word, "en")
        assert sound not in own
        assert own not in sound
    assert near_misses("letter", "en", 3) == found[:3]


def test_phonemes_are_without_stress_and_length() -> None:
    assert phonemes("go", "en") == phonemes("go!", "en")
    assert not set("ˈˌː ") & set(phonemes("banana car", "en"))


def test_a_typed_keyword_is_known_in_other_voices(known: KeywordSpotter) -> None:
    clips = [said("captain", number) for number in range(6)]
    assert (known.predict(clips) == "captain").mean() >= 5 / 6
    others = [said(text, number) for number, text in enumerate(("telephone", "orange", "morning"))]
    assert known.predict(others).tolist() == [UNKNOWN] * 3


def test_near_misses_are_no_detections(known: KeywordSpotter) -> None:
    misses = near_misses("captain", "en")
    clips = [said(miss, number) for number, miss in enumerate(misses)]
    assert (known.predict(clips) == UNKNOWN).all()
    rivals, known.rivals = known.rivals, None
    try:
        # It is the rivals that tell some of them: without, they are near enough.
        closest = known.decision_function(clips)[:, 0]
    finally:
        known.rivals = rivals
    assert np.isneginf(known.decision_function(clips)[:, 0]).sum() > len(clips) / 2
    assert closest.max() > 0.3


def test_many_renditions_count_as_one_example(known: KeywordSpotter) -> None:
    assert known.counts_ == {"captain": 1}
    assert 0.3 < known.seconds_["captain"] < 1.5
    before = known.prototypes_[0]
    assert np.linalg.norm(before) == pytest.approx(1, abs=1e-5)
    clip = said("captain", 0)
    (vector,) = known.model_.encode([clip])["content"]
    known.enrol("captain", [clip])
    try:
        both = before + vector
        np.testing.assert_allclose(known.prototypes_[0], both / np.linalg.norm(both), atol=1e-5)
    finally:
        known.forget("captain")
        enrol_typed(known, "captain")


def test_rivals_are_kept_in_the_file(known: KeywordSpotter, tmp_path: Path) -> None:
    known.save(tmp_path / "words.safetensors")
    again = KeywordSpotter.load(tmp_path / "words.safetensors")
    assert known.rivals is not None
    assert again.rivals is not None
    np.testing.assert_array_equal(again.rivals, known.rivals)
    clips = [said("captain", 1), said("kept", 2)]
    np.testing.assert_array_equal(again.decision_function(clips), known.decision_function(clips))
    assert again.predict_proba(clips).min() >= 0


def test_keywords_share_their_rivals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typed, "VOICES", 2)
    monkeypatch.setattr(typed, "RIVAL_VOICES", 1)
    spotter = KeywordSpotter()
    first, second = enrol_typed(spotter, "zero"), enrol_typed(spotter, "hey jarvis")
    assert (first.renditions, second.text) == (4, "hey jarvis")
    assert spotter.rivals is not None
    assert spotter.rivals.shape == (2 * NEAR_MISSES, spotter.model_.dims["content"])
    np.testing.assert_allclose(np.linalg.norm(spotter.rivals, axis=1), 1, atol=1e-5)
    again = KeywordSpotter()
    enrol_typed(again, "zero")
    np.testing.assert_array_equal(again.rivals, spotter.rivals[:NEAR_MISSES])


@pytest.mark.parametrize(
    ("text", "engine", "language", "message"),
    [
        ("...", "espeak", "en", r"nothing can be said of '\.\.\.': type a word"),
        ("zero", "flite", "en", "said by espeak or kokoro, not by 'flite'"),
        ("zero", "espeak", "xx", "'xx'"),
        ("", "espeak", "en", "nothing can be said of ''"),
    ],
)
def test_what_can_not_be_said_is_one_sentence(text: str, engine: str, language: str, message: str) -> None:
    spotter = KeywordSpotter()
    with pytest.raises(IntervoxError, match=message):
        enrol_typed(spotter, text, engine, language)
    assert not spotter.counts_


def test_the_command_finds_what_is_typed(run: Run, clips: Path) -> None:
    talk = np.random.default_rng(0).normal(0, 1e-3, 16_000 * 4).astype(np.float32)
    word = said("captain", 3)
    talk[24_000 : 24_000 + len(word)] += word
    sf.write(clips / "talk.wav", talk, 16_000)
    code, output, _ = run("spot", "talk.wav", "--text", "captain", "--json")
    (found,) = lines(output)
    assert (code, found["keyword"]) == (0, "captain")
    assert found["start"] < 1.5 + len(word) / 32_000 < found["end"]
    code, output, error = run("spot", "talk.wav", "--text", "telephone")
    assert (code, output) == (1, "")
    assert "nothing found" in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "say what to listen for"),
        (("--text", "zero", "--false-alarms-per-hour", "1"), "go together"),
        (("--text", "zero", "--background", "talk.wav"), "go together"),
        (("--text", "zero", "--engine", "festival"), "said by espeak or kokoro"),
    ],
)
def test_wrong_options_are_one_sentence(run: Run, clips: Path, words: tuple[str, ...], message: str) -> None:
    sf.write(clips / "talk.wav", np.zeros(16_000, np.float32), 16_000)
    code, output, error = run("spot", "talk.wav", *words)
    assert (code, output) == (2, "")
    assert error.startswith("error: ")
    assert message in error
    assert len(error.splitlines()) == 1


def test_without_the_synthesiser_the_extra_is_named(
    run: Run, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spot, "find_spec", lambda _: None)
    code, output, error = run("spot", "a.wav", "--text", "zero")
    assert (code, output) == (2, "")
    assert error == (
        "error: a typed keyword needs the package 'espeakng-loader', which is not installed: "
        f"{install_command('espeak')}\n"
    )


def test_the_threshold_follows_the_background(run: Run, clips: Path) -> None:
    random = np.random.default_rng(0)
    talk = [
        said(text, number % 12) for number, text in enumerate(("orange", "morning", "kept", "telephone") * 12)
    ]
    pause = random.normal(0, 1e-3, 8_000).astype(np.float32)
    background = np.concatenate([part for wave in talk for part in (wave, pause)])
    sf.write(clips / "background.wav", background, 16_000)
    sf.write(clips / "talk.wav", np.concatenate([pause, said("captain", 3), pause]), 16_000)
    hours = len(background) / 16_000 / 3600
    rate = str(1.5 / hours)
    given = ("spot", "talk.wav", "--text", "captain", "--json")
    code, output, error = run(*given, "--false-alarms-per-hour", rate, "--background", "background.wav")
    assert "error" not in error
    (found,) = lines(output)
    assert (code, found["keyword"]) == (0, "captain")
    sf.write(clips / "silence.wav", np.zeros(16_000 * 60, np.float32), 16_000)
    code, _, error = run(*given, "--false-alarms-per-hour", "120", "--background", "silence.wav")
    assert code == 2
    assert "almost silent" in error
    code, _, error = run(*given, "--false-alarms-per-hour", "0.5", "--background", "background.wav")
    assert code == 2
    assert "too few for 0.5 false alarms an hour" in error
    json.loads(output)
