"""Every code block of the README and the docs is executed; the site builds and asks nobody else for anything."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
import transformers

import intervox
from intervox.engines.base import load_engine
from intervox.recipe_corpus import EspeakSettings

from . import documents
from .conftest import ROOT
from .documents import BUILT_IN, HUB, Block, Reader, blocks, pages, parse, small_recipes
from .test_backbones import SMALL

WORDS = {"yes": "yes", "no": "no", "stop": "stop"}
DIGITS = {"0": "zero", "1": "one", "2": "two"}
SENTENCES = ("The boat is late again.", "Please open the second window.", "Rain fell on the quiet town.")


@pytest.fixture(scope="session")
def speech_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthesise what a page's reader has at hand: two clips of one voice, and small evaluation sets."""
    folder = tmp_path_factory.mktemp("desk")
    engine = load_engine(EspeakSettings(voices=24))
    voices = [voice.name for voice in engine.voices()[::6]]

    def say(text: str, voice: str, seed: int, path: str) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        sf.write(folder / path, engine.render(text, voice, seed), 16_000)

    for name, text in zip(("a.wav", "b.wav", "b.flac"), (SENTENCES[0], SENTENCES[1], SENTENCES[1]), strict=True):
        say(text, voices[0], 0, name)
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


@pytest.fixture
def desk(
    request: pytest.FixtureRequest, tmp_path: Path, speech_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Fill a folder with clips, evaluation sets and, where the page asks for them, finished runs."""
    folder = shutil.copytree(speech_folder, tmp_path / "desk")
    recipes = small_recipes(tmp_path / "recipes")
    page: Path = request.getfixturevalue("page")
    text = page.read_text(encoding="utf-8")
    if any(re.search(rf"intervox.* {name}\b|runs/{name}\b", text) for name in BUILT_IN):
        finished: Path = request.getfixturevalue("mini_run")
        for name in BUILT_IN:
            if re.search(rf"intervox.* {name}\b|runs/{name}\b", text):
                shutil.copytree(finished, folder / "runs" / name)
    if "mine.npz" in text:
        clips = sorted((folder / "data" / "fsdd" / "recordings").iterdir())
        vectors = np.random.default_rng(0).normal(size=(len(clips), 8))
        np.savez(folder / "mine.npz", embedding=vectors, path=np.array([str(clip) for clip in clips]))
    shutil.copy(ROOT / "README.md", folder)
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("*.ipynb", "*.py"))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("INTERVOX_DATA", str(folder / "data"))
    monkeypatch.setattr("intervox.recipe.files", lambda _package: recipes)
    # One process: starting others costs more than these corpora.
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0})
    return folder


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_pages_blocks_do_what_they_say(page: Path, desk: Path, stand_ins: dict[str, str]) -> None:
    reader = Reader(desk, stand_ins)
    for block in blocks(page):
        try:
            reader.follow(block)
        except Exception as error:
            raise AssertionError(f"{block}: {error}") from error


def test_documents_tables_have_no_dead_entries() -> None:
    assert not list(documents.unknown_entries())
