import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import find_peaks
from sklearn.metrics import average_precision_score

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.backbones.base import Backbone, HiddenStates
from intervox.clips.labels import Clips
from intervox.evaluation.findings import Running
from intervox.evaluation.running import running_speech
from intervox.evaluation.streams import GAP_SECONDS, StreamSet, StreamWindows, compose_streams
from intervox.features.extraction import extract
from intervox.metrics.events import average_precision, count_detections, match_events, pick_peaks
from intervox.recipe import FeatureSettings
from tests.support.clips import grid

CLIPS = grid(8, 6, repeats=4)
SECONDS = 0.5


def tone(path: str) -> Waveform:
    """Half a second of a pitch that tells which word it is; a lower one is a long utterance."""
    length, pitch = (SECONDS, 500 + 250 * (int(path) // 4 % 6)) if path.isdigit() else (3.0, 200)
    time = np.arange(round(length * SAMPLE_RATE)) / SAMPLE_RATE
    return np.asarray(0.3 * np.sin(2 * np.pi * pitch * time), np.float32)


def utterances(texts: list[str]) -> Clips:
    count = len(texts)
    labels = {"speaker": np.full(count, "reader"), "content": np.arange(count).astype(str)}
    labels["text"] = np.array(texts)
    return Clips(
        np.array([f"utterance {i}" for i in range(count)]), labels, np.full(count, 3.0), labels["text"]
    )


def pitch(wave: Waveform) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 8 * len(wave)))
    return float(spectrum.argmax() * SAMPLE_RATE / (8 * len(wave)))


@pytest.fixture(scope="module")
def tones() -> StreamSet:
    return compose_streams(CLIPS, 0, utterances(["a", "b", "c", "d"]), 120, load=tone)


def test_streams_say_what_their_events_tell(tones: StreamSet) -> None:
    names = np.unique(CLIPS.contents).tolist()
    assert len(tones.keywords) == 4
    assert len(tones.streams) == 8
    assert tones.checked
    for stream in tones.streams:
        end = 0.0
        for start, stop, keyword in stream.events:
            assert keyword in tones.keywords
            assert stop - start == pytest.approx(SECONDS)
            assert start >= end + GAP_SECONDS[0] - 1e-3
            end = stop
            part = stream.wave[round(start * SAMPLE_RATE) : round(stop * SAMPLE_RATE)]
            assert pitch(part) == pytest.approx(500 + 250 * names.index(keyword), abs=5)
        # What is no event is no keyword: gaps, other words and utterances.
        silent = stream.wave.copy()
        for start, stop, _ in stream.events:
            silent[round(start * SAMPLE_RATE) : round(stop * SAMPLE_RATE)] = 0
        spectrum = np.abs(np.fft.rfft(silent))
        wanted = [round((500 + 250 * names.index(k)) * stream.seconds) for k in tones.keywords]
        others = [round((500 + 250 * i) * stream.seconds) for i in range(6) if names[i] not in tones.keywords]
        assert spectrum[wanted].max() < 0.1 * spectrum[others].max()


def test_a_stream_is_the_same_again_and_enrolled_by_others(tones: StreamSet) -> None:
    again = compose_streams(CLIPS, 0, utterances(["a", "b", "c", "d"]), 120, load=tone)
    other = compose_streams(CLIPS, 1, utterances(["a", "b", "c", "d"]), 120, load=tone)
    assert StreamWindows(tones.streams).key == StreamWindows(again.streams).key
    assert StreamWindows(tones.streams).key != StreamWindows(other.streams).key
    assert StreamWindows(tones.streams).key != StreamWindows(tones.streams, 0.5).key
    first, second = (set(CLIPS.speakers[rows]) for rows in tones.examples)
    assert not first & second
    assert len(first | second) == 8
    assert [stream.half for stream in tones.streams] == [0] * 4 + [1] * 4


def test_utterances_that_hold_a_keyword_are_left_out() -> None:
    said = CLIPS.contents
    texts = [f"She said {word.upper()}, twice" for word in np.unique(said)] + ["word 0", "swordword 001"]
    streams = compose_streams(CLIPS, 0, utterances(texts), 120, load=tone)
    heard: list[str] = []

    def load(path: str) -> Waveform:
        heard.append(path)
        return tone(path)

    assert compose_streams(CLIPS, 0, utterances(texts), 120, load=load).checked
    between = {int(path.split()[1]) for path in heard if path.startswith("utterance")}
    keywords = {int(word.split()[1]) for word in streams.keywords}
    assert between == set(range(8)) - keywords
    assert not compose_streams(CLIPS, 0, utterances(["", "b"]), 120, load=tone).checked


class Loudness(Backbone):
    """A backbone of one layer: the energy of every 10 ms."""

    name, layers, dim, fingerprint, device = "loudness", 1, 1, "0", torch.device("cpu")

    def states(self, waves: Sequence[Waveform], highest: int | None = None) -> HiddenStates:
        frames = torch.tensor([len(wave) // 160 for wave in waves])
        energy = torch.zeros(len(waves), 1, int(frames.max()), 1)
        for index, wave in enumerate(waves):
            cut = torch.from_numpy(wave[: int(frames[index]) * 160].copy()).reshape(-1, 160)
            energy[index, 0, : len(cut), 0] = cut.square().mean(dim=1)
        return HiddenStates(energy, frames)


def test_windows_are_clips_that_extraction_takes(tones: StreamSet, tmp_path: Path) -> None:
    windows = StreamWindows(tones.streams[:2])
    clips = [clip for shard in range(windows.shard_count) for clip in windows.load_shard(shard)]
    assert [clip.cell_id for clip in clips] == list(range(windows.clip_count))
    rows = windows.rows(1)
    assert windows.centres(1)[:2].tolist() == [0.5, 0.75]
    assert len(windows.centres(1)) == rows.stop - rows.start
    second = clips[rows.start + 1].wave
    assert second is not None
    np.testing.assert_array_equal(second, tones.streams[1].wave[4_000:20_000])
    features = extract(windows, Loudness(), FeatureSettings(), tmp_path)
    assert (features.frames == 100).all()
    loudness = [np.square(clip.wave).mean() for clip in clips if clip.wave is not None]
    np.testing.assert_allclose(features.rows()[:, 0, 0], loudness, rtol=1e-2, atol=1e-6)


def test_peaks_by_hand() -> None:
    scores = np.array([5, 1, 2, 4, 3, 3.5, 1, 6])
    assert pick_peaks(scores, 1).tolist() == [0, 3, 5, 7]
    # 3.5 is two windows from 4 and from 6, 5 is three from 4.
    assert pick_peaks(scores, 3).tolist() == [0, 3, 7]
    assert pick_peaks(scores, 4).tolist() == [0, 7]
    assert pick_peaks(np.empty(0), 4).tolist() == []
    assert pick_peaks(np.array([1.0, 3, 2, 3, 1]), 3).tolist() == [1]
    assert pick_peaks(np.array([-np.inf, -np.inf, 0, -np.inf]), 3).tolist() == [2]


@pytest.mark.parametrize("distance", [1, 2, 5])
def test_peaks_are_those_of_scipy(distance: int) -> None:
    for seed in range(50):
        scores = np.random.default_rng(seed).normal(size=seed)
        padded = np.concatenate([[-np.inf], scores, [-np.inf]])
        expected = find_peaks(padded, distance=distance)[0] - 1
        assert pick_peaks(scores, distance).tolist() == expected.tolist()


def test_matching_by_hand() -> None:
    events = [(1.0, 2.0, "yes"), (3.0, 4.0, "no")]
    times = np.array([0.7, 1.5, 1.9, 3.5, 4.2, 6.0, 0.8])
    words = np.array(["yes", "yes", "yes", "yes", "no", "no", "no"])
    scores = np.array([0.9, 0.5, 0.6, 0.9, 0.1, 0.9, 0.9])
    # 0.7 is too early, 1.5 is second to 1.9, 3.5 is the wrong word, 6.0 and 0.8 hit nothing.
    right = match_events(times, words, scores, events, 0.25)
    assert np.flatnonzero(right).tolist() == [2, 4]
    assert not match_events(times, words, scores, [], 0.25).any()


def test_average_precision_counts_what_is_never_found() -> None:
    random = np.random.default_rng(0)
    right, scores = random.random(300) < 0.4, random.random(300)
    stream = np.zeros(300, np.int64)
    hits, alarms = (scores[right], stream[right]), (scores[~right], stream[~right])
    found = count_detections(hits, alarms, np.array([2 * right.sum()]), np.ones(1))
    assert average_precision(found, np.ones((1, 1)))[0] == pytest.approx(
        average_precision_score(right, scores) / 2, abs=1e-6
    )


def directions(tones: StreamSet, windows: StreamWindows) -> tuple[np.ndarray, np.ndarray]:
    """Perfect vectors: a direction a word, and one for what is no word; of windows and of clips."""
    names = np.unique(CLIPS.contents).tolist()
    vectors = np.zeros((windows.clip_count, 7), np.float32)
    vectors[:, 6] = 1
    for index, stream in enumerate(tones.streams):
        for start, stop, keyword in stream.events:
            closest = np.abs(windows.centres(index) - (start + stop) / 2).argmin()
            vectors[windows.rows(index).start + closest] = np.eye(7)[names.index(keyword)]
    return vectors, np.eye(7, dtype=np.float32)[[names.index(word) for word in CLIPS.contents]]


def test_perfect_windows_find_everything(tones: StreamSet) -> None:
    windows = StreamWindows(tones.streams)
    result = running_speech(*_arguments(tones, windows), CLIPS, 50, 0)
    assert result is not None
    events = sum(len(stream.events) for stream in tones.streams)
    assert result.events == events > 20
    assert result.hours == pytest.approx(sum(stream.seconds for stream in tones.streams) / 3600, abs=1e-5)
    assert result.miss_at == {"10": 0, "60": 0}
    assert result.average_precision == 1
    assert result.interval in ("all resamples equal", "too few groups")
    written = json.dumps(result.model_dump(mode="json"), allow_nan=False)
    assert Running.model_validate(json.loads(written)) == result


def _arguments(
    tones: StreamSet, windows: StreamWindows
) -> tuple[np.ndarray, StreamWindows, StreamSet, np.ndarray]:
    vectors, enrolment = directions(tones, windows)
    return vectors, windows, tones, enrolment


def test_noise_finds_next_to_nothing_and_no_events_are_no_measure(tones: StreamSet) -> None:
    windows = StreamWindows(tones.streams)
    random = np.random.default_rng(0)
    vectors = random.normal(size=(windows.clip_count, 50)).astype(np.float32)
    enrolment = random.normal(size=(len(CLIPS), 50)).astype(np.float32)
    result = running_speech(vectors, windows, tones, enrolment, CLIPS, 50, 0)
    assert result is not None
    assert result.miss_at["10"] > 0.9
    assert result.average_precision < 0.2
    misses = [miss for _, miss in result.curve]
    assert misses == sorted(misses)
    quiet = replace(tones, streams=[replace(stream, events=[]) for stream in tones.streams])
    assert running_speech(vectors, windows, quiet, enrolment, CLIPS, 50, 0) is None


def test_streams_of_human_words(corpora: Path) -> None:
    folder = corpora / "fsdd"
    paths = [path for path in sorted(folder.glob("*.wav")) if int(path.stem.split("_")[2]) < 6]
    labels = {
        "speaker": np.array([path.stem.split("_")[1] for path in paths]),
        "content": np.array([path.stem.split("_")[0] for path in paths]),
    }
    count = len(paths)
    clips = Clips(np.array([str(path) for path in paths]), labels, np.zeros(count), np.full(count, ""))
    streams = compose_streams(clips, 1234, seconds=30)
    assert len(streams.streams) == 6
    assert 30 <= sum(stream.seconds for stream in streams.streams) < 45
    assert all(np.isfinite(stream.wave).all() for stream in streams.streams)
