"""Voices cloned by a stand-in that echoes its reference's timbre."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from pydantic import ValidationError

from intervox.clips.corpus import Corpus
from intervox.corpus.plan.design import plan_cells
from intervox.corpus.render.synthesis import synthesise
from intervox.engines.base import RenderError, load_engine
from intervox.engines.clone import CloneEngine
from intervox.engines.command import CommandLine
from intervox.errors import IntervoxError
from intervox.parallel import Pool
from intervox.recipe.corpus import BlockSettings, ConditionSettings, CorpusRecipe, TextSettings
from intervox.recipe.engines import F5_TTS, CloneSettings

PITCHES = {"17": 110.0, "61": 170.0, "908": 240.0, "1089": 300.0}

CLONER = """
import math, sys, wave
options = dict(word[2:].split("=", 1) for word in sys.argv[1:])
with wave.open(options["ref_audio"]) as file:
    raw = file.readframes(file.getnframes())
    rate = file.getframerate()
samples = [int.from_bytes(raw[i : i + 2], "little", signed=True) for i in range(0, len(raw), 2)]
crossings = sum(a < 0 <= b for a, b in zip(samples, samples[1:]))
pitch = crossings * rate / len(samples)
assert options["ref_text"].startswith("I am"), options
with wave.open(options["output_dir"] + "/" + options["output_file"]
               if not options["output_file"].startswith("/") else options["output_file"], "wb") as file:
    file.setparams((1, 2, 24000, 0, "NONE", ""))
    length = 1440 * max(1, len(options["gen_text"]))
    tone = (int(9000 * math.sin(math.tau * pitch * i / 24000)) for i in range(length))
    file.writeframes(b"".join(value.to_bytes(2, "little", signed=True) for value in tone))
"""


@pytest.fixture
def libritts(tmp_path: Path) -> Path:
    """Write a few speakers' clips as LibriTTS lays them out."""
    folder = tmp_path / "test-clean"
    for speaker, pitch in PITCHES.items():
        for number, seconds in enumerate((1.0, 4.0, 6.0, 12.0)):
            path = folder / speaker / "1" / f"{speaker}_1_{number:06d}_000000.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            time = np.arange(round(16_000 * seconds)) / 16_000
            sf.write(path, 0.3 * np.sin(2 * np.pi * pitch * time), 16_000)
            path.with_name(f"{path.stem}.normalized.txt").write_text(f"I am {speaker}, {seconds:g} s.\n")
    return folder


def settings(tmp_path: Path, references: Path, **changes: object) -> CloneSettings:
    script = tmp_path / "cloner.py"
    script.write_text(CLONER)
    command = (sys.executable, "-S", str(script), *F5_TTS[1:])
    return CloneSettings.model_validate(
        {"name": "clone", "references": references, "command": command} | changes
    )


def pitch_of(wave: np.ndarray) -> float:
    return float(np.sum((wave[:-1] < 0) & (wave[1:] >= 0)) * 16_000 / len(wave))


def test_a_clone_has_its_references_timbre(tmp_path: Path, libritts: Path) -> None:
    engine = load_engine(settings(tmp_path, libritts))
    assert [(voice.name, voice.language) for voice in engine.voices()] == [(s, "en") for s in sorted(PITCHES)]
    for speaker, pitch in PITCHES.items():
        short, long = (engine.render(text, speaker, 0) for text in ("--one", "five words are said here"))
        assert pitch_of(long) == pytest.approx(pitch, rel=0.05)
        assert len(long) > 3 * len(short)
    with pytest.raises(RenderError, match="no reference of 'nobody'"):
        engine.render("hello", "nobody", 0)


def test_the_longest_clip_within_the_bounds_is_the_reference(tmp_path: Path, libritts: Path) -> None:
    engine = CloneEngine(settings(tmp_path, libritts))
    assert {one.seconds for one in engine._references.values()} == {6.0}
    assert engine._references["61"].text == "I am 61, 6 s."
    shorter = CloneEngine(settings(tmp_path, libritts, max_seconds=5))
    assert {one.seconds for one in shorter._references.values()} == {4.0}
    assert shorter.version != engine.version
    # Another text of the reference makes other clones.
    (libritts / "61" / "1" / "61_1_000002_000000.normalized.txt").write_text("I am another.")
    assert CloneEngine(settings(tmp_path, libritts)).version != engine.version
    with pytest.raises(IntervoxError, match="has 4 speakers with a usable reference, 5 were asked for"):
        CloneEngine(settings(tmp_path, libritts, voices=5)).voices()
    with pytest.raises(IntervoxError, match="has no clip of 20 to 30 seconds with its text"):
        CloneEngine(settings(tmp_path, libritts, min_seconds=20, max_seconds=30))


def test_references_may_come_from_a_manifest(tmp_path: Path, libritts: Path) -> None:
    clip = next((libritts / "61").rglob("*_000002_*.wav"))
    manifest = tmp_path / "references.csv"
    manifest.write_text(f'path,speaker,text\n{clip},ann,"I am ann."\n')
    engine = CloneEngine(settings(tmp_path, manifest))
    assert pitch_of(engine.render("one two three", "ann", 0)) == pytest.approx(170, rel=0.05)
    manifest.write_text(f"path,speaker,content,text\n{clip},ann,c,\n")
    with pytest.raises(IntervoxError, match="gives no text for"):
        CloneEngine(settings(tmp_path, manifest))
    manifest.write_text(f"path,speaker,text\n{clip}.gone,ann,I am ann.\n")
    with pytest.raises(IntervoxError, match="which is not a file"):
        CloneEngine(settings(tmp_path, manifest))


def test_f5_tts_is_the_default_and_says_how_to_get_it(libritts: Path) -> None:
    engine = CloneEngine(CloneSettings(name="clone", references=libritts))
    with pytest.raises(IntervoxError, match=r"'f5-tts_infer-cli' is not installed.*pip install f5-tts"):
        engine.check()
    assert "CC BY-NC" in engine.licence
    assert CommandLine("f5-tts", F5_TTS, 1).name == "f5-tts_infer-cli"
    # A corpus can be planned where nothing clones.
    assert len(engine.voices()) == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"command": ("clone", "{text}", "{output}")}, "use {text} and {output} and {reference}"),
        ({"command": ("clone", "{text}", "{output}", "{reference}", "{x}")}, "no other placeholders"),
        ({"min_seconds": 9, "max_seconds": 3}, "at least min_seconds"),
    ],
)
def test_settings_that_can_not_work_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CloneSettings.model_validate({"name": "clone", "references": "here", **changes})


def test_a_crossed_corpus_is_cloned(tmp_path: Path, libritts: Path) -> None:
    recipe = CorpusRecipe(
        engines=(settings(tmp_path, libritts),),
        texts=TextSettings(count=60),
        train=BlockSettings(blocks=1, speakers=2, contents=2),
        test=BlockSettings(blocks=1, speakers=2, contents=2),
        held_out=0.5,
        conditions=ConditionSettings(clean=1, rooms=2),
        copies=1,
    )
    planned = plan_cells(recipe, 0)
    assert {row["engine"] for row in planned.to_pylist()} == {"f5-tts"}
    corpus: Corpus = synthesise(recipe, 0, tmp_path / "corpus", Pool(1))
    assert corpus.about.failed == 0
    speakers = {(row["split"], row["speaker"]) for row in corpus.cells.to_pylist()}
    assert len(speakers) == 4
