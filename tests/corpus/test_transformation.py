"""Voice transformation: it moves what it says it moves, for any clip, the same way every time."""

import hashlib
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from scipy import signal

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.corpus.acoustics.voices import (
    FORMANTS,
    PITCH,
    Transformation,
    draw_transformations,
    transform_voice,
)
from intervox.errors import IntervoxError

parselmouth = pytest.importorskip("parselmouth", reason="Praat is not here: pip install intervox[dev]")


def vowel(pitch: float, seconds: float = 0.8) -> Waveform:
    """Pulses with a voice's small wavering through four resonances: 500, 1500, 2500 and 3500 Hz."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    cycles = pitch * time + 0.02 * np.sin(2 * np.pi * 5 * time)
    wave = np.diff(np.floor(cycles), prepend=0.0)
    for hertz in (500, 1500, 2500, 3500):
        radius, angle = np.exp(-np.pi * 80 / SAMPLE_RATE), 2 * np.pi * hertz / SAMPLE_RATE
        wave = signal.lfilter([1.0], [1.0, -2 * radius * np.cos(angle), radius**2], wave)
    return np.asarray(0.5 * wave / np.abs(wave).max(), np.float32)


def praat_pitch(wave: Waveform) -> float:
    track = parselmouth.Sound(wave.astype(float), SAMPLE_RATE).to_pitch(pitch_floor=60, pitch_ceiling=500)
    hertz = track.selected_array["frequency"]
    return float(np.median(hertz[hertz > 0]))


def praat_formant(wave: Waveform, number: int) -> float:
    formants = parselmouth.Sound(wave.astype(float), SAMPLE_RATE).to_formant_burg(maximum_formant=5000)
    times = np.linspace(0.2, 0.6, 20) * len(wave) / SAMPLE_RATE
    return float(np.nanmedian([formants.get_value_at_time(number, time) for time in times]))


@pytest.mark.parametrize("ratio", [0.75, 1.0, 1.3])
@pytest.mark.parametrize("pitch", [110.0, 210.0])
def test_the_pitch_moves_by_the_ratio(pitch: float, ratio: float) -> None:
    changed = transform_voice(vowel(pitch), Transformation(pitch=ratio), 0)
    assert praat_pitch(changed) / pitch == pytest.approx(ratio, rel=0.05)


def test_the_pitch_stays_human() -> None:
    assert praat_pitch(transform_voice(vowel(90), Transformation(pitch=0.5), 0)) == pytest.approx(
        65, rel=0.05
    )
    assert praat_pitch(transform_voice(vowel(300), Transformation(pitch=2), 0)) == pytest.approx(
        400, rel=0.05
    )


@pytest.mark.parametrize("scale", [0.87, 1.15])
def test_the_formants_move_and_the_pitch_stays(scale: float) -> None:
    before = vowel(110)
    after = transform_voice(before, Transformation(formants=scale), 0)
    for number in (1, 2):
        moved = praat_formant(after, number) / praat_formant(before, number)
        assert moved == pytest.approx(scale, rel=0.06)
    assert praat_pitch(after) == pytest.approx(110, rel=0.03)


def test_breath_turns_harmonics_into_noise() -> None:
    def harmonicity(wave: Waveform) -> float:
        values = parselmouth.Sound(wave.astype(float), SAMPLE_RATE).to_harmonicity().values
        return float(np.median(values[values > -200]))

    plain, breathy = (transform_voice(vowel(150), Transformation(breath=b), 0) for b in (0.0, 1.0))
    assert harmonicity(breathy) < harmonicity(plain) - 1


def test_the_rate_shortens_the_clip_and_keeps_the_pitch() -> None:
    before = vowel(150)
    after = transform_voice(before, Transformation(rate=1.25), 0)
    assert len(after) == round(len(before) / 1.25)
    assert praat_pitch(after) == pytest.approx(150, rel=0.03)


def test_the_identity_is_close_to_the_input() -> None:
    before = vowel(150)
    after = transform_voice(before, Transformation(), 0)
    assert len(after) == len(before)
    assert np.sqrt(np.mean(after**2)) == pytest.approx(np.sqrt(np.mean(before**2)), rel=0.02)
    spectra = [np.abs(np.fft.rfft(wave * np.hanning(len(wave))))[:4000] for wave in (before, after)]
    smooth = [np.convolve(spectrum, np.ones(240) / 240, "valid") for spectrum in spectra]
    assert np.corrcoef(np.log(smooth[0]), np.log(smooth[1]))[0, 1] > 0.95


@pytest.mark.parametrize(
    "wave",
    [
        np.zeros(0, np.float32),
        np.zeros(8000, np.float32),
        np.full(3, 0.1, np.float32),
        np.full(400, 0.1, np.float32),
        np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32),
    ],
    ids=["empty", "silence", "3 samples", "25 ms", "unvoiced"],
)
def test_no_clip_fails(wave: Waveform) -> None:
    changed = transform_voice(wave, Transformation(1.2, 0.9, 0.3, 1.1), 0)
    assert changed.dtype == np.float32
    assert len(changed) == round(len(wave) / 1.1)
    assert np.isfinite(changed).all()
    assert np.abs(changed).max(initial=0) <= 1


CHANGES = [Transformation(1.2, 0.9, 0.3, 1.1), Transformation(0.8, 1.1), Transformation(breath=0.5)]


def digests(order: list[int]) -> list[str]:
    waves = {i: transform_voice(vowel(100 + 30 * i, 0.3), CHANGES[i], i) for i in order}
    return [hashlib.sha256(waves[i].tobytes()).hexdigest() for i in sorted(order)]


def test_the_samples_are_the_same_in_any_order_and_process() -> None:
    code = "from tests.corpus.test_transformation import digests; print(*digests([2, 1, 0]))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert digests([0, 1, 2]) == other.stdout.split()


def test_the_seed_changes_the_noise_alone() -> None:
    first, second = (transform_voice(vowel(150), Transformation(breath=0.5), seed) for seed in (1, 2))
    assert not np.array_equal(first, second)
    assert praat_pitch(first) == pytest.approx(praat_pitch(second), rel=0.01)


def test_labels_are_read_back() -> None:
    for change in draw_transformations(50, 3):
        assert Transformation.parse(str(change)) == change
    assert Transformation.parse("pitch1.18/formants0.93/breath0.20") == Transformation(1.18, 0.93, 0.2)


@pytest.mark.parametrize(
    "label", ["", "pitch", "pitch0", "breath1.5", "pitch1.1/gender2", "pitch1.1,breath0"]
)
def test_a_wrong_label_is_refused(label: str) -> None:
    with pytest.raises(IntervoxError, match="is no voice transformation"):
        Transformation.parse(label)


def test_draws_are_distinct_spread_and_prolonged() -> None:
    drawn = draw_transformations(200, 0)
    assert len({str(change) for change in drawn}) == 200
    assert drawn[:40] == draw_transformations(40, 0)
    assert drawn != draw_transformations(200, 1)
    assert draw_transformations(0, 0) == []
    for values, (lowest, highest) in (
        ([d.pitch for d in drawn], PITCH),
        ([d.formants for d in drawn], FORMANTS),
    ):
        assert lowest - 0.005 <= min(values) < lowest * 1.1
        assert highest / 1.1 < max(values) <= highest + 0.005
    points = np.array([[np.log(d.pitch), np.log(d.formants), d.breath, np.log(d.rate)] for d in drawn])
    assert max(later - former for former, later in pairwise(sorted(points[:, 1]))) < 0.06
    assert (np.abs(points[:, :2]).max(axis=1) >= 0.055).all()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyworld", None)
    with pytest.raises(IntervoxError, match=r"pip install .*\[voices\]"):
        transform_voice(vowel(150, 0.1), Transformation(), 0)
