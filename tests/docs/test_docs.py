"""Every code block of the README and the docs is executed."""

import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
import transformers

import intervox
from intervox.engines.base import load_engine
from intervox.recipe import dump_recipe, load_recipe
from intervox.recipe.engines import EspeakSettings
from tests.backbones.test_backbones import SMALL
from tests.conftest import ROOT
from tests.support import documents
from tests.support.documents import BUILT_IN, HUB, Reader, blocks, pages, small_recipes

pytestmark = pytest.mark.slow

LONG = (
    *("own-factor.md", "own-data.md", "own-tts.md", "tutorial.md", "wavlm.md", "depth.md", "style.md"),
    *("export.md", "neural.md", "paper.md"),
)
"""Pages that train or export for minutes."""

WORDS = {"yes": "yes", "no": "no", "stop": "stop"}
DIGITS = {"0": "zero", "1": "one", "2": "two"}
PEOPLE = ("alice", "bob", "carol")
MOODS = {"calm": 16_000, "excited": 19_200}
"""Mood to the rate that a clip is said to have: higher and faster."""
SENTENCES = ("The boat is late again.", "Please open the second window.", "Rain fell on the quiet town.")

MY_TTS = """
import math, sys, wave
options = dict(word[2:].split("=", 1) for word in sys.argv[1:])
pitch = 90 + 40 * len(options["voice"]) + int(options["seed"]) % 7
with wave.open(options["out"], "wb") as file:
    file.setparams((1, 2, 16000, 0, "NONE", ""))
    for letter in options["text"].encode():
        tone = (math.sin(math.tau * pitch * (1 + letter % 9 / 9) * i / 16000) for i in range(1600))
        file.writeframes(b"".join(int(9000 * value).to_bytes(2, "little", signed=True) for value in tone))
"""
"""Somebody's synthesiser: a tone a letter."""


@pytest.fixture(scope="session")
def speech_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthesise what a page's reader has at hand: clips of a few voices, and small evaluation sets."""
    folder = tmp_path_factory.mktemp("desk")
    engine = load_engine(EspeakSettings(voices=24))
    voices = [voice.name for voice in engine.voices()[::6]]

    def say(text: str, voice: str, seed: int, path: str, rate: int = 16_000) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        sf.write(folder / path, engine.render(text, voice, seed), rate)

    for name, text in zip(
        ("a.wav", "b.wav", "b.flac"), (SENTENCES[0], SENTENCES[1], SENTENCES[1]), strict=True
    ):
        say(text, voices[0], 0, name)
    for number, (name, voice) in enumerate(zip(PEOPLE, voices, strict=False), start=1):
        for seed, text in enumerate(SENTENCES):
            say(text, voice, seed + 1, f"clips/{name}-{seed}.wav")
        for word in WORDS:
            say(word, voice, 0, f"{word}/{number}.wav")
            for mood, rate in MOODS.items():
                say(word, voice, 0, f"recordings/{name}/{word}_{mood}.wav", rate)
    pause = np.zeros(16_000, np.float32)
    said = [engine.render(word, voices[0], 0) for word in ("stop", "yes", "no", "yes")]
    sf.write(
        folder / "recording.wav", np.concatenate([sound for word in said for sound in (pause, word)]), 16_000
    )
    for number, voice in enumerate(voices):
        for seed in range(3):
            for digit, word in DIGITS.items():
                say(word, voice, seed, f"data/fsdd/recordings/{digit}_voice{number}_{seed}.wav")
            for word in WORDS:
                say(word, voice, seed, f"data/speech_commands/{word}/{number:08x}_nohash_{seed}.wav")
            say(SENTENCES[seed], voice, seed, f"data/librispeech/test-other/{number}/{number}-1-{seed}.flac")
    return folder


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return a random checkpoint of twelve small layers for every hub id that the pages name."""
    torch.manual_seed(0)
    home = tmp_path_factory.mktemp("hub")
    for family in set(HUB.values()):
        settings = SMALL | {"num_hidden_layers": 12, "num_conv_pos_embeddings": 16}
        config = transformers.AutoConfig.for_model(family, **settings)
        transformers.AutoModel.from_config(config).save_pretrained(home / family)
        transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(home / family)
    return {hub_id: str(home / family) for hub_id, family in HUB.items()}


@pytest.fixture(scope="session")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what stands for the recipes of the package."""
    return small_recipes(tmp_path_factory.mktemp("package") / "recipes")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, speech_folder: Path, recipes: Path) -> Path:
    """Return the folder of a finished run, which stands for all that the pages speak of."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        _small_world(patch, folder, speech_folder, recipes)
        intervox.run(intervox.open_run("quickstart", folder / "quickstart"))
    return folder / "quickstart"


def _small_world(patch: pytest.MonkeyPatch, folder: Path, speech: Path, recipes: Path) -> None:
    patch.chdir(folder)
    patch.setenv("INTERVOX_DATA", str(speech / "data"))
    patch.setattr("intervox.recipe.BUILT_IN", recipes)
    # One process: starting others costs more than these corpora.
    patch.setattr(os, "sched_getaffinity", lambda _pid: {0})


@pytest.fixture
def desk(
    page: Path,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    speech_folder: Path,
    recipes: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Fill a folder with clips, evaluation sets and, where the page speaks of them, finished runs."""
    folder = shutil.copytree(speech_folder, tmp_path / "desk", ignore=shutil.ignore_patterns("data"))
    _small_world(monkeypatch, folder, speech_folder, recipes)
    text = "\n".join(block.text for block in blocks(page) if block.language in ("sh", "python"))
    for name in BUILT_IN:
        if re.search(rf"intervox.* {name}\b|runs/{name}\b", text):
            run = shutil.copytree(request.getfixturevalue("finished"), folder / "runs" / name)
            (run / "recipe.yaml").write_text(dump_recipe(load_recipe(name)))
    if "mine.npz" in text:
        clips = sorted((speech_folder / "data" / "fsdd" / "recordings").iterdir())
        vectors = np.random.default_rng(0).normal(size=(len(clips), 8))
        np.savez(folder / "mine.npz", embedding=vectors, path=np.array([str(clip) for clip in clips]))
    if "mine.csv" in text:
        clips = sorted((speech_folder / "data" / "fsdd" / "recordings").iterdir())
        rows = (f"{clip},{clip.stem.split('_')[1]},{clip.stem.split('_')[0]}" for clip in clips)
        (folder / "mine.csv").write_text("\n".join(["path,speaker,content", *rows]) + "\n")
    programs = folder / ".bin"
    programs.mkdir()
    (programs / "my-tts").write_text(f"#!{sys.executable} -S\n{MY_TTS}")
    (programs / "my-tts").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    shutil.copy(ROOT / "README.md", folder)
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("*.ipynb", "*.py"))
    return folder


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.long] * (page.name in LONG)) for page in pages()],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_a_pages_blocks_do_what_they_say(page: Path, desk: Path, stand_ins: dict[str, str]) -> None:
    reader = Reader(desk, stand_ins)
    reader.copy_recipes(page)
    for block in blocks(page):
        try:
            reader.follow(block)
        except Exception as error:
            raise AssertionError(f"{block}: {error}") from error


def test_documents_tables_have_no_dead_entries() -> None:
    assert not list(documents.unknown_entries())
