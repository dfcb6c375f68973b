"""The checks on a rendition: known measures, good clips that pass, bad ones refused for the right reason."""

import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.backbones.bundled import WheelFile
from intervox.clips.schema import QUALITY_FIELDS
from intervox.corpus.render.quality import judge, measure_signal, reading_errors
from intervox.corpus.render.recogniser import Recogniser, log_mel
from intervox.engines.espeak import EspeakEngine
from intervox.errors import IntervoxError
from intervox.recipe.corpus import QualitySettings
from intervox.recipe.engines import EspeakSettings

SENTENCE = "The captain carried seventeen boxes to the harbour."
TEXTS = [SENTENCE, "yellow garden", "the old teacher", "Peter laughed quietly", "remember"]
LISTENING = QualitySettings(recognise=True)


@pytest.fixture(scope="module")
def renditions() -> list[Waveform]:
    engine = EspeakEngine(EspeakSettings(voices=1))
    return [engine.render(text, "en-us+m3/p45/r140/v100/t0", 1) for text in TEXTS]


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser()


def tone(seconds: float = 1.0, level: float = 0.5) -> Waveform:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return np.asarray(level * np.sin(2 * np.pi * 100 * time), np.float32)


def test_the_measures_of_a_tone_are_known() -> None:
    signal = measure_signal(tone())
    assert signal.clipped_share == 0
    assert signal.silent_share == 0
    assert (signal.leading_silence, signal.trailing_silence) == (0, 0)
    assert signal.crest_db == pytest.approx(3.01, abs=0.01)
    assert signal.dc_offset == pytest.approx(0, abs=1e-6)


def test_the_clipped_share_counts_runs_at_either_peak() -> None:
    wave = np.clip(tone(level=1.0), -0.8, 0.8)
    expected = 1 - 2 * np.arcsin(0.8) / np.pi
    assert measure_signal(wave).clipped_share == pytest.approx(expected, abs=0.01)
    wave = tone(level=0.5)
    wave[[100, 200, 201]] = 1.0
    assert measure_signal(wave).clipped_share == 0
    wave[[300, 301, 302]] = 1.0
    assert measure_signal(wave).clipped_share == pytest.approx(3 / len(wave))


def test_silence_is_measured_against_the_loudest_frame() -> None:
    wave = np.concatenate(
        [tone(0.2, 1e-4), tone(0.5), tone(0.1, 1e-4), tone(0.5), np.zeros(1600, np.float32)]
    )
    for level in (1.0, 0.01):
        signal = measure_signal(np.asarray(level * wave, np.float32))
        assert signal.leading_silence == pytest.approx(0.2)
        assert signal.trailing_silence == pytest.approx(0.1)
        assert signal.silent_share == pytest.approx(0.4 / 1.4)


def test_the_offset_is_relative_to_the_peak() -> None:
    assert measure_signal(tone() + np.float32(0.25)).dc_offset == pytest.approx(1 / 3, rel=0.01)


def test_odd_clips_have_measures() -> None:
    assert measure_signal(np.zeros(100, np.float32)).silent_share == 1
    assert measure_signal(np.ones(1, np.float32)).silent_share == 0


def test_measuring_is_quick() -> None:
    wave = tone(2.0)
    spent = []
    for _ in range(20):
        started = time.perf_counter()
        measure_signal(wave)
        spent.append(time.perf_counter() - started)
    assert min(spent) < 1e-3


def test_the_length_is_that_of_the_speech() -> None:
    wave = np.concatenate([np.zeros(8000, np.float32), tone(1.0), np.zeros(8000, np.float32)])
    verdict = judge(wave, "ten letter.", "word", "en", QualitySettings(), None, None)
    assert verdict.seconds_per_character == pytest.approx(1 / 9)


def test_a_transcript_is_compared_as_it_sounds() -> None:
    assert reading_errors("Seventeen boxes!", "17 boxes", "en") == {"cer": 0, "wer": 0, "per": 0}
    assert reading_errors("sea", "see", "en") == {"cer": pytest.approx(1 / 3), "wer": 1, "per": 0}
    assert reading_errors("nob", "knob", "en", spelt=False) == {"cer": None, "wer": None, "per": 0}
    assert reading_errors("cats sat", "", "en") == {"cer": 1, "wer": 1, "per": 1}
    assert reading_errors("...", "hello", "en") == {"cer": None, "wer": None, "per": None}


def test_the_features_are_those_of_transformers() -> None:
    from transformers import WhisperFeatureExtractor

    wave = np.random.default_rng(0).normal(0, 0.1, 20_000).astype(np.float32)
    reference = WhisperFeatureExtractor()(wave, sampling_rate=SAMPLE_RATE, return_tensors="np")
    assert np.abs(reference.input_features[0] - log_mel(wave, 30 * SAMPLE_RATE)).max() < 1e-3


def test_a_batch_is_heard_like_single_clips(recogniser: Recogniser, renditions: list[Waveform]) -> None:
    together = recogniser.listen(renditions, TEXTS)
    for wave, text, expected in zip(renditions, TEXTS, together, strict=True):
        alone = recogniser.listen([wave], [text])[0]
        assert alone.transcript == expected.transcript
        assert alone.evidence == pytest.approx(expected.evidence, abs=1e-3)
    reversed_order = recogniser.listen(renditions[::-1], TEXTS[::-1])
    assert [one.transcript for one in reversed_order] == [one.transcript for one in together[::-1]]
    assert recogniser.listen([], []) == []


def test_the_longest_and_shortest_clips_are_heard(recogniser: Recogniser) -> None:
    waves = [tone(35.0), np.full(400, 0.1, np.float32)]
    assert all(np.isfinite(one.evidence) for one in recogniser.listen(waves, [SENTENCE * 20, ""]))


def test_good_renditions_pass(recogniser: Recogniser, renditions: list[Waveform]) -> None:
    for wave, text, heard in zip(renditions, TEXTS, recogniser.listen(renditions, TEXTS), strict=True):
        verdict = judge(wave, text, "word", "en", LISTENING, heard.transcript, None, heard.evidence)
        assert verdict.reason is None
        assert verdict.transcript == heard.transcript
        assert verdict.cer is not None


@pytest.mark.parametrize("wrong", ["yellow garden", "Every doctor forgot our wooden ladder in the evening."])
def test_a_wrong_text_is_refused(wrong: str, recogniser: Recogniser, renditions: list[Waveform]) -> None:
    heard = recogniser.listen(renditions[:1], [wrong])[0]
    verdict = judge(
        renditions[0], SENTENCE, "sentence", "en", LISTENING, heard.transcript, None, heard.evidence
    )
    assert verdict.reason is not None
    assert verdict.reason.startswith("evidence ")
    assert f'< 1.5 (heard "{heard.transcript}")' in verdict.reason


def test_the_evidence_asked_for_grows_with_the_words() -> None:
    for text, limit in (("yes", "0.5"), ("yes sir", "1"), ("yes sir of course", "1.5")):
        verdict = judge(tone(), text, "word", "en", LISTENING, "eh", None, 0.3)
        assert verdict.reason == f'evidence 0.3 < {limit} (heard "eh")'
    assert (
        judge(tone(), "yes", "word", "en", QualitySettings(min_evidence=None), "eh", None, -9.0).reason
        is None
    )


def test_noise_is_refused(recogniser: Recogniser) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * SAMPLE_RATE).astype(np.float32)
    heard = recogniser.listen([noise], [SENTENCE])[0]
    verdict = judge(noise, SENTENCE, "sentence", "en", LISTENING, heard.transcript, None, heard.evidence)
    assert str(verdict.reason).startswith("evidence ")


def test_an_error_rate_can_be_the_limit() -> None:
    settings = QualitySettings(max_cer=0.4)
    verdict = judge(tone(), "yellow", "word", "en", settings, "blow", None)
    assert verdict.reason == 'cer 0.5 > 0.4 (heard "blow")'
    assert judge(tone(), "yellow", "pseudo-word", "en", settings, "blow", None).reason is None
    per = judge(tone(), "yellow", "pseudo-word", "en", QualitySettings(max_per=0.2), "blow", None)
    assert str(per.reason).startswith("per ")


@pytest.mark.parametrize(
    ("wave", "text", "reason"),
    [
        (np.pad(tone(0.1), (0, 16_000)), "yes", "silent_share 0.909 > 0.8"),
        (np.zeros(16_000, np.float32), "yes", "silent_share 1 > 0.8"),
        (np.clip(tone(level=2.0), -0.9, 0.9), "yes sir", "clipped_share 0.7"),
        (tone(0.3), "a sentence that nobody can say so quickly", "seconds_per_character 0.00882 < 0.02"),
        (tone(3.0), "yes", "seconds_per_character 1 > 0.6"),
    ],
    ids=["mostly silent", "silence", "clipped", "too fast", "too slow"],
)
def test_a_bad_signal_is_refused(wave: Waveform, text: str, reason: str) -> None:
    verdict = judge(wave, text, "word", "en", QualitySettings(), None, None)
    assert str(verdict.reason).startswith(reason)


def test_another_voice_is_refused() -> None:
    settings = QualitySettings(max_voice_distance=0.5)
    assert judge(tone(), "yes", "word", "de", settings, None, 0.4).reason is None
    assert judge(tone(), "yes", "word", "de", settings, None, 0.7).reason == "voice_distance 0.7 > 0.5"


def test_the_columns_fit_the_fields() -> None:
    columns = judge(tone(), "yes", "word", "de", QualitySettings(), None, 0.4).columns()
    row = pa.Table.from_pylist([columns], schema=pa.schema(QUALITY_FIELDS)).to_pylist()[0]
    assert row["voice_distance"] == pytest.approx(0.4)
    assert row["transcript"] is None
    assert row["cer"] is None


@pytest.mark.parametrize("module", ["ctranslate2", "tokenizers"])
def test_a_missing_recogniser_is_named(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(IntervoxError, match=rf"'{module}'.*pip install .*\[quality\]"):
        Recogniser()


def test_a_missing_wheel_or_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intervox.backbones.bundled.find_spec", lambda name: None)
    with pytest.raises(IntervoxError, match=r"pip install .*\[quality\]"):
        Recogniser()
    monkeypatch.setitem(sys.modules, "rapidfuzz.distance", None)
    with pytest.raises(IntervoxError, match=r"'rapidfuzz'.*pip install .*\[quality\]"):
        reading_errors("yes", "yes", "en")


@pytest.mark.parametrize("content", [None, b"{}"], ids=["missing", "changed"])
def test_a_damaged_file_is_noticed(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wheel_of_tests").mkdir()
    (tmp_path / "wheel_of_tests" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    if content is not None:
        (tmp_path / "wheel_of_tests" / "tokenizer.json").write_bytes(content)
    file = WheelFile("wheel-of-tests==1.0", "wheel_of_tests", "tokenizer.json", "0" * 64)
    with pytest.raises(IntervoxError, match=r"sha256 differs.*force-reinstall wheel-of-tests==1\.0"):
        file.find("offline", "a test")
