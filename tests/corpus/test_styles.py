"""do(style): its parts move what they say they move, are labelled, and change nothing else."""

import numpy as np
import pytest
from scipy import signal

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.corpus.acoustics.styles import CLASSES, NEUTRAL, Style, draw_style
from intervox.corpus.acoustics.voices import Transformation, transform_voice
from intervox.corpus.inspect.card import corpus_card
from intervox.corpus.inspect.check import check_corpus
from intervox.corpus.inspect.show import write_corpus_page
from intervox.corpus.plan.design import plan_audition, plan_cells
from intervox.corpus.render.synthesis import corpus_key, synthesise
from intervox.errors import IntervoxError
from intervox.recipe import Recipe, load_recipe
from intervox.recipe.corpus import (
    BlockSettings,
    CastingSettings,
    ConditionSettings,
    CorpusRecipe,
    EspeakSettings,
    RecordingsSettings,
    TextSettings,
)
from intervox.recipe.style import STYLE_BOUNDS, StyleSettings

pyworld = pytest.importorskip("pyworld", reason="WORLD is not here: pip install intervox[voices]")

STYLE_NAMES = {NEUTRAL, *(name for names in CLASSES for name in names)}


def sentence(seconds: float = 1.6) -> Waveform:
    """A voice that glides from 110 to 190 Hz and back, through the four resonances of a vowel."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = 145 * 2 ** (0.4 * np.sin(2 * np.pi * 1.25 * time))
    wave = np.diff(np.floor(np.cumsum(pitch) / SAMPLE_RATE), prepend=0.0)
    for hertz in (500, 1500, 2500, 3500):
        radius, angle = np.exp(-np.pi * 80 / SAMPLE_RATE), 2 * np.pi * hertz / SAMPLE_RATE
        wave = signal.lfilter([1.0], [1.0, -2 * radius * np.cos(angle), radius**2], wave)
    return np.asarray(0.5 * wave / np.abs(wave).max(), np.float32)


def octaves(wave: Waveform) -> np.ndarray:
    """The voiced pitch in octaves, by another tracker than the vocoder's."""
    track, _ = pyworld.harvest(wave.astype(float), SAMPLE_RATE, 50.0, 600.0)
    return np.log2(track[track > 0])


def slope(wave: Waveform) -> float:
    """Spectral tilt in dB per octave, 200 Hz to 5 kHz."""
    hertz, power = signal.welch(wave, SAMPLE_RATE, nperseg=2048)
    kept = (hertz > 200) & (hertz < 5000)
    # Every octave weighs the same, as in the definition.
    return float(np.polyfit(np.log2(hertz[kept]), 10 * np.log10(power[kept]), 1, w=hertz[kept] ** -0.5)[0])


def spoken(style: Style) -> Waveform:
    change = style.of(Transformation())
    assert change is not None
    return transform_voice(sentence(), Transformation.parse(str(change)), 0)


PLAIN = Transformation()


@pytest.mark.parametrize("semitones", [-4.0, 4.0])
def test_the_pitch_moves_by_the_semitones(semitones: float) -> None:
    before, after = (octaves(wave) for wave in (sentence(), spoken(Style(semitones=semitones))))
    assert 12 * (np.median(after) - np.median(before)) == pytest.approx(semitones, abs=0.5)
    assert np.std(after) == pytest.approx(np.std(before), rel=0.1)


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_the_range_scales_around_the_median(ratio: float) -> None:
    before, after = (octaves(wave) for wave in (sentence(), spoken(Style(pitch_range=ratio))))
    assert np.std(after) / np.std(before) == pytest.approx(ratio, rel=0.15)
    assert 12 * abs(np.median(after) - np.median(before)) < 0.7


@pytest.mark.parametrize("rate", [0.7, 1.4])
def test_the_rate_scales_the_length_and_keeps_the_pitch(rate: float) -> None:
    after = spoken(Style(rate=rate))
    assert len(after) == round(len(sentence()) / rate)
    assert 12 * abs(np.median(octaves(after)) - np.median(octaves(sentence()))) < 0.5


@pytest.mark.parametrize("tilt", [-2.0, 2.0])
def test_effort_tilts_the_spectrum_and_keeps_the_level(tilt: float) -> None:
    plain = transform_voice(sentence(), PLAIN, 0)
    after = spoken(Style(tilt=tilt))
    assert slope(after) - slope(plain) == pytest.approx(tilt, abs=0.4)
    assert np.mean(after**2) == pytest.approx(np.mean(plain**2), rel=0.05)


def test_effort_leaves_unvoiced_sounds_alone() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, SAMPLE_RATE).astype(np.float32)
    loud = transform_voice(noise, Transformation(tilt=2.0), 0)
    assert slope(loud) == pytest.approx(slope(transform_voice(noise, PLAIN, 0)), abs=0.3)
