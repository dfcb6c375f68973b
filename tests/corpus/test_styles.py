"""do(style): its parts move what they say they move, are labelled, and change nothing else."""

from itertools import product
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf
from pydantic import ValidationError
from scipy import signal

from intervox.audio import SAMPLE_RATE, Waveform
from intervox.clips.manifest import Row as ManifestRow
from intervox.clips.manifest import as_labels, write_manifest
from intervox.corpus.acoustics.styles import CLASSES, NEUTRAL, Style, draw_style
from intervox.corpus.acoustics.voices import Transformation, transform_voice
from intervox.corpus.cost import describe_plan
from intervox.corpus.inspect.card import corpus_card
from intervox.corpus.inspect.check import check_corpus
from intervox.corpus.inspect.show import write_corpus_page
from intervox.corpus.plan.design import plan_audition, plan_cells
from intervox.corpus.render.synthesis import corpus_key, synthesise
from intervox.errors import IntervoxError
from intervox.parallel import Pool
from intervox.recipe import Recipe, load_recipe
from intervox.recipe.corpus import (
    BlockSettings,
    CastingSettings,
    ConditionSettings,
    CorpusRecipe,
    TextSettings,
)
from intervox.recipe.engines import EspeakSettings, RecordingsSettings
from intervox.recipe.style import STYLE_BOUNDS, StyleSettings
from intervox.recipe.training import SubspaceSettings
from intervox.training.refine import check_training
from tests.conftest import Speech

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
    return np.asarray(np.log2(track[track > 0]))


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


def recipe(**changes: object) -> CorpusRecipe:
    corpus = CorpusRecipe(
        engines=(EspeakSettings(voices=24, transformed=6),),
        texts=TextSettings(count=40),
        train=BlockSettings(blocks=3, speakers=4, contents=4),
        test=BlockSettings(blocks=1, speakers=3, contents=3),
        conditions=ConditionSettings(count=8, rooms=1, microphones=1),
        shard_size=50,
    )
    return corpus.model_copy(update=changes)


STYLED = StyleSettings(share=0.5)


def test_a_styled_plan_is_the_plain_one_but_for_style_and_transformation() -> None:
    plain, styled = plan_cells(recipe(), 0), plan_cells(recipe(style=STYLED), 0)
    assert styled.column_names == [*plain.column_names, "style"]
    assert [name for name in plain.column_names if not plain[name].equals(styled[name])] == ["transformation"]
    for before, after in zip(plain.to_pylist(), styled.to_pylist(), strict=True):
        assert after["style"] in STYLE_NAMES
        assert (after["style"] == NEUTRAL) == (after["transformation"] == before["transformation"])
        assert after["split"] == "train" or after["style"] == NEUTRAL
        if before["transformation"]:
            own, changed = (Transformation.parse(row["transformation"]) for row in (before, after))
            assert (own.formants, own.breath) == (changed.formants, changed.breath)
    train = [row for row in styled.to_pylist() if row["split"] == "train"]
    assert 0.3 < np.mean([row["style"] != NEUTRAL for row in train]) < 0.7
    for axis in ("speaker", "content"):
        styles = {(row[axis], row["style"]) for row in train}
        assert len(styles) > 2 * len({row[axis] for row in train})


def test_styles_can_be_held_out() -> None:
    plan = plan_cells(recipe(style=StyleSettings(held_out=1)), 0).to_pylist()
    assert all((row["style"] == NEUTRAL) == (row["split"] == "train") for row in plan)


def test_a_recipe_without_styles_is_what_it_was() -> None:
    ranges_alone = recipe(style=StyleSettings(rate=(0.9, 1.1)))
    assert corpus_key(ranges_alone, 0) == corpus_key(recipe(), 0)
    assert plan_cells(ranges_alone, 0).equals(plan_cells(recipe(), 0))
    assert corpus_key(recipe(style=STYLED), 0) != corpus_key(recipe(), 0)


def test_the_audition_is_neutral() -> None:
    casting = CastingSettings()
    texts = TextSettings(count=100)
    styled = recipe(style=STYLED, casting=casting, texts=texts)
    assert plan_audition(styled, 0).equals(plan_audition(recipe(casting=casting, texts=texts), 0))


def test_classes_are_named_after_what_stands_out() -> None:
    assert Style().name == NEUTRAL
    assert [Style(semitones=-2).name, Style(semitones=2, tilt=0.5).name] == ["low", "high"]
    assert [Style(pitch_range=0.6, rate=1.1).name, Style(pitch_range=1.8).name] == ["flat", "lively"]
    assert [Style(rate=0.8).name, Style(semitones=1, rate=1.3).name] == ["slow", "fast"]
    assert [Style(tilt=-1).name, Style(tilt=1).name] == ["soft", "loud"]


def test_draws_fill_the_ranges_and_every_class() -> None:
    settings = StyleSettings(share=1)
    drawn = [draw_style(settings, 1, np.random.default_rng(seed)) for seed in range(2000)]
    assert {style.name for style in drawn} == STYLE_NAMES - {NEUTRAL}
    for values, (lowest, highest) in (
        ([style.semitones for style in drawn], settings.pitch_semitones),
        ([style.pitch_range for style in drawn], settings.pitch_range),
        ([style.rate for style in drawn], settings.rate),
        ([style.tilt for style in drawn], settings.tilt_db_per_octave),
    ):
        assert lowest <= min(values) < lowest + 0.05 * (highest - lowest)
        assert highest >= max(values) > highest - 0.05 * (highest - lowest)


def test_a_styled_corpus_is_made_resumed_checked_and_shown(tmp_path: Path) -> None:
    styled = recipe(style=StyleSettings(share=0.5, held_out=0.5))
    corpus = synthesise(styled, 0, tmp_path / "corpus", Pool(1))
    assert corpus.factors == ["style"]
    planned = plan_cells(styled, 0)
    assert corpus.cells["style"].equals(planned["style"])
    shard = tmp_path / "corpus" / "audio" / "shard-00001.parquet"
    made = shard.read_bytes()
    assert pq.read_table(shard, columns=["style"])["style"].equals(planned["style"].slice(50, 50))
    shard.unlink()
    synthesise(styled, 0, tmp_path / "corpus", Pool(1))
    assert shard.read_bytes() == made

    findings = check_corpus(corpus.folder, 1)
    assert not [found for found in findings if found.severity == "error"]
    assert any("values of style" in found.what for found in findings)
    assert "- `style`: neutral (" in corpus_card(corpus.folder)
    write_corpus_page(corpus.folder, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "style: neutral" in page
    assert "/range" in page
    counted = describe_plan(planned)
    assert counted["train"].styles[NEUTRAL] + counted["test"].styles[NEUTRAL] < planned.num_rows
    assert set(counted["train"].styles) <= STYLE_NAMES


def test_style_is_a_factor_of_a_subspace_and_one_to_erase() -> None:
    spaces = {
        "speaker": SubspaceSettings(factor="speaker", erase=("style",)),
        "style": SubspaceSettings(factor="style"),
    }
    check_training(Recipe(corpus=recipe(style=STYLED), subspaces=spaces))
    with pytest.raises(IntervoxError, match="no column 'style' in the corpus"):
        check_training(Recipe(corpus=recipe(), subspaces=spaces))


def test_people_on_record_keep_their_style(tmp_path: Path, speech: Speech) -> None:
    rows = []
    for speaker, text in product(("ann", "bob"), ("good morning", "fare well")):
        path = tmp_path / f"{speaker}-{text}.wav"
        sf.write(path, speech(0.9, 1), SAMPLE_RATE)
        labels = as_labels(style="sung") if speaker == "ann" else ()
        rows.append(ManifestRow(path, speaker, text, labels=labels))
    write_manifest(tmp_path / "m.csv", rows)
    people = RecordingsSettings(name="recordings", manifest=tmp_path / "m.csv", splits=("train",), blocks=2)
    mixed = recipe(engines=(EspeakSettings(voices=24), people), style=StyleSettings(share=1))
    for row in plan_cells(mixed, 0).to_pylist():
        if row["engine"] == "recordings":
            assert row["style"] == ("sung" if row["voice"] == "ann" else "")
            assert row["transformation"] == ""
    with pytest.raises(ValidationError, match="people on record keep the style"):
        CorpusRecipe(engines=(people,), style=STYLED)


@pytest.mark.parametrize("field", STYLE_BOUNDS)
@pytest.mark.parametrize("value", [[2, 1], [-20, 1], [1, 20]])
def test_a_range_out_of_bounds_is_refused(tmp_path: Path, field: str, value: list[float]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"corpus: {{style: {{share: 0.5, {field}: {value}}}}}")
    with pytest.raises(IntervoxError, match=rf"corpus\.style\.{field}.*give two numbers from .* first"):
        load_recipe(path)


@pytest.mark.parametrize("words", ["share: 1.1", "share: -1", "held_out: 2", "effort: 1"])
def test_a_wrong_setting_is_refused(tmp_path: Path, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"corpus: {{style: {{{words}}}}}")
    with pytest.raises(IntervoxError, match=rf"corpus\.style\.{words.split(':')[0]}"):
        load_recipe(path)
