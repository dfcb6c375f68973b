"""Keywords in clips, recordings and live sound."""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from intervox.applications.detections import Detection
from intervox.applications.enrolled import UNKNOWN
from intervox.applications.live import microphone_chunks
from intervox.applications.spotter import KeywordSpotter
from intervox.audio import SAMPLE_RATE, Waveform, load_audio
from intervox.errors import IntervoxError
from intervox.evaluation.streams import Stream, StreamWindows
from intervox.metrics.events import pick_peaks
from intervox.model.model import SubspaceModel
from tests.support.spoken import spoken

PITCHES = {"do": 500, "re": 1_000, "mi": 2_000}
OTHER = 3_000


class Listener(SubspaceModel):
    """A model that hears pitches: a direction each, and one for all else."""

    def __init__(self) -> None:
        settings = {"factor": "content", "layers": [0], "dim": 4}
        super().__init__("none", 1, 1, {"content": settings}, calibration={"content": [20.0, -10.0]})
        self.heard = 0
        for weights in self.parameters():
            weights.data.zero_()  # every listener is the same model

    def ready(self) -> None:
        pass

    def encode(self, sources: Iterable[Any], *_: Any, **__: Any) -> dict[str, Any]:
        waves = [load_audio(source) for source in sources]
        self.heard += len(waves)
        rows = [self._direction(wave) for wave in waves]
        return {"content": np.array(rows, np.float32).reshape(-1, len(PITCHES) + 1)}

    def _direction(self, wave: Waveform) -> NDArray[np.float64]:
        time = np.arange(len(wave)) / SAMPLE_RATE
        parts = [abs(wave @ np.exp(2j * np.pi * pitch * time)) for pitch in PITCHES.values()]
        rest = np.sqrt(max(0.0, len(wave) * float(wave @ wave) / 2 - sum(part**2 for part in parts)))
        row = np.array([*parts, rest])
        return np.asarray(row / np.linalg.norm(row))


def tone(pitch: int, seconds: float = 1.0, level: float = 0.3) -> Waveform:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (level * np.sin(2 * np.pi * pitch * time)).astype(np.float32)


def noise(seconds: float, seed: int = 0) -> Waveform:
    size = round(seconds * SAMPLE_RATE)
    return np.random.default_rng(seed).normal(0, 0.01, size).astype(np.float32)


@pytest.fixture
def spotter() -> KeywordSpotter:
    """Know three pitches; cosine 0.9 or more is a detection."""
    examples = [tone(pitch) for pitch in PITCHES.values()]
    return KeywordSpotter(Listener(), threshold=0.9, window_seconds=1.0).fit(examples, list(PITCHES))


def melody() -> Waveform:
    parts = [noise(1.5), tone(500), noise(0.8, 1), tone(OTHER), noise(0.8, 2), tone(2_000), noise(0.6, 3)]
    return np.concatenate([*parts, tone(1_000), noise(2.1, 4)])


SAID = [("do", 1.5), ("mi", 5.1), ("re", 6.7)]


def heard(detections: Iterable[Detection]) -> list[tuple[str, float, float]]:
    return [(found.keyword, found.start, found.end) for found in detections]


def chunked(wave: Waveform, size: int) -> Iterator[Waveform]:
    return (wave[start : start + size] for start in range(0, len(wave), size))


def test_a_scan_says_what_and_where(spotter: KeywordSpotter) -> None:
    found = list(spotter.scan(melody()))
    assert [detection.keyword for detection in found] == [keyword for keyword, _ in SAID]
    for detection, (_, start) in zip(found, SAID, strict=True):
        assert detection.start == pytest.approx(start, abs=0.126)
        assert detection.end - detection.start == pytest.approx(1)
        assert detection.score >= 0.9
        expected = spotter.model_.probability(np.array(detection.score), "content", prior=0.01)
        assert detection.probability == pytest.approx(float(expected))
    spotter.threshold = 1.01
    assert list(spotter.scan(melody())) == []


def test_the_same_sound_is_the_same_however_it_comes(spotter: KeywordSpotter, tmp_path: Path) -> None:
    expected = heard(spotter.scan(melody()))
    assert len(expected) == len(SAID)
    for size in (77, 1_600, 16_000, 1_000_000):
        assert heard(spotter.stream(chunked(melody(), size))) == expected
    # In stereo, as 16-bit integers, at another rate, and from a file of it.
    stereo = np.round(32_767 * np.stack([melody(), melody()], axis=1)).astype(np.int16)
    assert heard(spotter.stream(iter(np.array_split(stereo, 91)))) == expected
    sf.write(tmp_path / "melody.wav", stereo, SAMPLE_RATE)
    assert heard(spotter.scan(tmp_path / "melody.wav")) == expected


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_other_rates_are_resampled_alike(spotter: KeywordSpotter, tmp_path: Path, rate: int) -> None:
    time = np.arange(4 * rate) / rate
    wave = np.where((time >= 1.5) & (time < 2.5), 0.3 * np.sin(2 * np.pi * 500 * time), 0)
    wave = (wave + np.random.default_rng(0).normal(0, 0.01, len(time))).astype(np.float32)
    sf.write(tmp_path / "tone.wav", wave, rate, subtype="FLOAT")
    expected = heard(spotter.scan(tmp_path / "tone.wav"))
    assert expected == [("do", 1.5, 2.5)]
    assert heard(spotter.stream(np.array_split(wave, 57), rate)) == expected
    assert heard(spotter.scan((wave, rate))) == expected


def test_the_scan_is_what_the_evaluation_measures(spotter: KeywordSpotter) -> None:
    wave = melody()
    windows = StreamWindows([Stream(wave, [], 0)])
    measured = [clip.wave for clip in windows.load_shard(0) if clip.wave is not None]
    cosines = spotter.decision_function(measured)
    best, names = cosines.max(axis=1), spotter.classes_[cosines.argmax(axis=1)]
    peaks = [peak for peak in pick_peaks(best, 3) if best[peak] >= 0.9]
    found = list(spotter.scan(wave))
    assert [detection.keyword for detection in found] == names[peaks].tolist()
    middles = [(detection.start + detection.end) / 2 for detection in found]
    np.testing.assert_allclose(middles, windows.centres(0)[peaks])
    np.testing.assert_allclose([detection.score for detection in found], best[peaks], atol=1e-6)


def test_a_detection_is_no_later_than_promised(spotter: KeywordSpotter) -> None:
    assert spotter.latency_seconds == pytest.approx(1.25)
    given = 0

    def live() -> Iterator[Waveform]:
        nonlocal given
        for chunk in chunked(np.concatenate([melody(), noise(3)]), 800):
            given += len(chunk)
            yield chunk

    for found in spotter.stream(live()):
        assert given / SAMPLE_RATE <= (found.start + found.end) / 2 + spotter.latency_seconds + 0.05
    assert given / SAMPLE_RATE > 9


def test_digital_silence_is_passed_over(spotter: KeywordSpotter) -> None:
    model = spotter.model_
    assert isinstance(model, Listener)
    model.heard = 0
    silence = np.zeros(30 * SAMPLE_RATE, np.float32)
    assert list(spotter.scan(silence)) == []
    assert list(spotter.stream([])) == list(spotter.stream([silence[:10]])) == []
    assert model.heard == 0
    found = list(spotter.scan(np.concatenate([silence, tone(500), silence])))
    assert heard(found) == [("do", 30, 31)]
    assert model.heard < 10


def test_the_better_of_two_keywords_wins(spotter: KeywordSpotter) -> None:
    spotter.threshold = 0.5
    both = tone(500, level=0.3) + tone(1_000, level=0.2)
    found = list(spotter.scan(np.concatenate([noise(1), both, noise(1)])))
    assert heard(found) == [("do", 1, 2)]


def test_edges_and_sound_shorter_than_a_window(spotter: KeywordSpotter) -> None:
    assert heard(spotter.scan(tone(500, 0.4))) == [("do", 0, 0.4)]
    assert heard(spotter.scan(np.concatenate([tone(500, 0.5), noise(2)]))) == [("do", 0, 0.5)]
    at_the_end = heard(spotter.scan(np.concatenate([noise(2), tone(500, 0.5)])))
    assert at_the_end == [("do", 2, 2.5)]


def test_the_window_is_as_long_as_the_examples(spotter: KeywordSpotter, tmp_path: Path) -> None:
    grown = KeywordSpotter(Listener())
    assert grown.window_seconds_ == 1
    grown.enrol("do", [tone(500, 0.6), tone(500, 0.8)]).enrol("re", [tone(1_000, 1.3)])
    assert grown.window_seconds_ == pytest.approx(0.9 + 0.25)
    grown.save(tmp_path / "words.safetensors")
    again = KeywordSpotter.load(tmp_path / "words.safetensors", Listener())
    assert again.window_seconds_ == grown.window_seconds_
    assert again.get_params()["window_seconds"] is None
    np.testing.assert_array_equal(again.prototypes_, grown.prototypes_)
    assert again.enrol("re", [tone(1_000, 1.7)]).window_seconds_ == pytest.approx(1.1 + 0.25)
    assert again.forget("re").window_seconds_ == pytest.approx(0.7 + 0.25)
    assert again.fit([tone(500, 9.0)], ["do"]).window_seconds_ == 2
    assert again.fit([tone(500, 0.1)], ["do"]).window_seconds_ == 0.5
    spotter.window_seconds = 0.5
    first, *_ = spotter.scan(melody())
    assert first.end - first.start == pytest.approx(0.5)


def test_unknown_words_are_rejected_the_more_the_more_keywords(spotter: KeywordSpotter) -> None:
    spotter.threshold = None
    assert spotter.predict([tone(500), tone(OTHER)]).tolist() == ["do", UNKNOWN]
    clip_threshold, scan_threshold = spotter.threshold_, spotter.scan_threshold_
    for threshold, prior in ((clip_threshold, 1 / 6), (scan_threshold, 0.01)):
        probability = spotter.model_.probability(np.array(threshold), "content", prior)
        assert probability == pytest.approx(0.5)
    assert clip_threshold < scan_threshold
    by_hand = 1 / (1 + np.exp(-(20 * spotter.decision_function([tone(500)]) - 10 + np.log(1 / 5))))
    np.testing.assert_allclose(spotter.predict_proba([tone(500)]), by_hand, rtol=1e-5)
    assert spotter.forget("mi").threshold_ < clip_threshold


def test_false_alarms_an_hour_hold_on_the_background(spotter: KeywordSpotter, tmp_path: Path) -> None:
    # Ten minutes with a sound every 60 s that is the less like "do" the later it comes.
    silence = np.zeros(59 * SAMPLE_RATE, np.float32)
    sounds = [tone(500, level=0.3) + tone(OTHER, level=0.04 * number) for number in range(10)]
    background = np.concatenate([part for sound in sounds for part in (sound, silence)])
    half = len(background) // 2
    sf.write(tmp_path / "second.flac", background[half:], SAMPLE_RATE)
    for rate in (6, 12, 30):
        spotter.set_false_alarms_per_hour(rate, [background[:half], tmp_path / "second.flac"])
        alarms = [*spotter.scan(background[:half]), *spotter.scan(tmp_path / "second.flac")]
        assert len(alarms) == rate * len(background) / SAMPLE_RATE / 3600
    with pytest.raises(IntervoxError, match="give at least 120.0 minutes, or allow more"):
        spotter.set_false_alarms_per_hour(0.5, [background])
    with pytest.raises(IntervoxError, match="a number above 0"):
        spotter.set_false_alarms_per_hour(float("nan"), [background])
    with pytest.raises(IntervoxError, match=r"write \[recording\]"):
        spotter.set_false_alarms_per_hour(1, background)
    with pytest.raises(IntervoxError, match="almost silent"):
        spotter.set_false_alarms_per_hour(60, [silence, silence])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hop_seconds": 0.0}, "give a hop of 0.025 s"),
        ({"window_seconds": 0.2}, "a window that is at least as long"),
        ({"window_seconds": float("nan")}, "a window that is at least as long"),
        ({"prior": 1.0}, "the prior is 1.0"),
        ({"space": "melody"}, "there is no subspace 'melody'"),
    ],
)
def test_parameters_are_refused_before_anything_is_read(
    spotter: KeywordSpotter, change: dict[str, Any], message: str
) -> None:
    spotter.set_params(**change)
    for begin in (spotter.scan, spotter.stream):
        with pytest.raises(IntervoxError, match=message):
            begin(Path("there is no such file"))  # type: ignore[arg-type]


def test_what_can_not_be_heard_is_one_sentence(spotter: KeywordSpotter, tmp_path: Path) -> None:
    with pytest.raises(IntervoxError, match="nobody is enrolled"):
        KeywordSpotter(Listener()).scan(melody())
    with pytest.raises(IntervoxError, match=r"write \[clip\]"):
        spotter.enrol("fa", "fa.wav")
    with pytest.raises(IntervoxError, match="is not a file"):
        list(spotter.scan(tmp_path / "none.wav"))
    broken = melody()
    broken[-100] = np.nan
    found: list[Detection] = []
    with pytest.raises(IntervoxError, match="NaN"):
        found.extend(spotter.stream(chunked(broken, 1_600)))
    with pytest.raises(IntervoxError, match="1-D|shape"):
        list(spotter.stream([np.zeros((2, 2, 2))]))
    with pytest.raises(IntervoxError, match="sample rate"):
        list(spotter.stream([melody()], 0))


def test_a_scan_prints_nothing(
    spotter: KeywordSpotter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sf.write(tmp_path / "melody.wav", melody(), SAMPLE_RATE)
    assert len(list(spotter.scan(tmp_path / "melody.wav"))) == len(SAID)
    assert capsys.readouterr().out == ""


def test_words_of_voices_that_enrolled_nothing() -> None:
    """The packaged model, on synthetic voices: two keywords among other words, in noise."""
    words = ["elephant", "seventy", "umbrella", "carpet", "yesterday"]
    examples = {word: [spoken(voice, word) for voice in (2, 5, 8)] for word in ("umbrella", "elephant")}
    spotter = KeywordSpotter()
    for word, clips in examples.items():
        spotter.enrol(word, clips)
    parts, expected, length = [noise(0.7)], [], 0.7
    for word in words:
        parts += [spoken(11, word), noise(0.7)]
        if word in examples:
            expected.append((word, length + len(parts[-2]) / SAMPLE_RATE / 2))
        length += (len(parts[-2]) + len(parts[-1])) / SAMPLE_RATE
    found = list(spotter.scan(np.concatenate(parts)))
    assert [detection.keyword for detection in found] == [word for word, _ in expected]
    for detection, (_, middle) in zip(found, expected, strict=True):
        assert (detection.start + detection.end) / 2 == pytest.approx(middle, abs=0.25)
    assert spotter.predict([spoken(11, "elephant"), spoken(11, "carpet")]).tolist() == ["elephant", UNKNOWN]


class PortAudioError(Exception):
    """What sounddevice raises."""


def sounddevice(chunks: int = 3, error: Exception | None = None) -> SimpleNamespace:
    """Stand for the module: a microphone that gives some chunks and stops."""

    class InputStream:
        def __init__(self, **given: Any) -> None:
            if error:
                raise error
            self.given = given

        def __enter__(self) -> None:
            # PortAudio uses its buffer again.
            buffer = np.zeros((self.given["blocksize"], self.given["channels"]), self.given["dtype"])
            for number in range(chunks):
                buffer[:] = number
                self.given["callback"](buffer, len(buffer), None, None)
            self.given["finished_callback"]()

        def __exit__(self, *_: object) -> None:
            pass

    return SimpleNamespace(InputStream=InputStream, PortAudioError=PortAudioError)


def test_a_microphone_gives_chunks_until_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", sounddevice())
    heard: list[NDArray[np.float32]] = []
    with pytest.raises(IntervoxError, match="the microphone has stopped"):
        heard.extend(iter(microphone_chunks(8_000, 0.25)))
    assert [chunk.shape for chunk in heard] == [(2_000, 1)] * 3
    assert [float(chunk[0, 0]) for chunk in heard] == [0, 1, 2]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda: sounddevice(error=PortAudioError("Invalid sample rate")), "Invalid sample rate"),
        (lambda: sounddevice(error=ValueError("No input device matching 'x'")), "choose another device"),
        (lambda: None, r"pip install .*\[microphone\]"),
    ],
)
def test_without_a_microphone_the_mend_is_named(
    monkeypatch: pytest.MonkeyPatch, module: Callable[[], Any], message: str
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", module())
    with pytest.raises(IntervoxError, match=message):
        microphone_chunks()
