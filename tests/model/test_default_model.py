"""The model in the package: whole, small, and usable right after installation."""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest

from intervox import SubspaceModel
from intervox.errors import IntervoxError
from intervox.model import files as default_model
from tests.conftest import Speech

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_packaged_model_is_small_whole_and_has_a_card() -> None:
    folder = default_model.default_model_folder()
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) <= 15_000_000
    card = (folder / "README.md").read_text()
    assert "Recipe `default`" in card
    assert "speech_commands" in card
    model = SubspaceModel.from_pretrained("default")
    assert set(model.factors.values()) == {"speaker", "content"}
    assert set(model.calibration) == set(model.subspaces)


def test_another_byte_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(default_model.default_model_folder(), tmp_path / "default")
    weights = tmp_path / "default" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    monkeypatch.setattr(default_model, "files", lambda _package: tmp_path)
    with pytest.raises(IntervoxError, match="is not the packaged file"):
        SubspaceModel.from_pretrained("default")
    weights.unlink()
    with pytest.raises(IntervoxError, match="lacks"):
        SubspaceModel.from_pretrained("default")


def test_embed_and_verify_need_no_training(tmp_path: Path, command: Command, speech: Speech) -> None:
    import soundfile as sf

    for name, seed in (("a", 1), ("b", 2)):
        sf.write(tmp_path / f"{name}.wav", speech(1.0, seed), 16_000)
    done = command("verify", "a.wav", "a.wav", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["same"] is True
    assert said["score"] == pytest.approx(1, abs=1e-4)
    done = command("embed", "a.wav", "b.wav", "--space", "content", "--out", "z.npy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    vectors = np.load(tmp_path / "z.npy")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


def test_sentences_of_people_are_told_apart(corpora: Path) -> None:
    """One clip of each LibriSpeech reader: nobody says what another does."""
    readers = sorted((corpora / "librispeech" / "test-other").iterdir())
    model = SubspaceModel.from_pretrained("default")
    spoken = list(model.spoken(sorted(reader.glob("*.flac"))[0] for reader in readers))
    answers = Counter(model.own_matching().match(*pair).answer for pair in combinations(spoken, 2))
    # A third of the pairs differ too much in length.
    assert set(answers) == {"different", "unclear"}
    assert answers["different"] > answers["unclear"]


def test_one_sentence_is_known_in_any_voice_and_emotion(corpora: Path) -> None:
    """Of RAVDESS' two sentences, which share four words of six: calm, happy and angry actors."""
    clips = [
        sorted((corpora / "ravdess" / f"Actor_{actor:02d}").glob(f"03-01-{emotion}-*-{text}-01-*.flac"))[0]
        for text in ("01", "02")
        for actor, emotion in ((1, "02"), (4, "03"), (7, "05"), (10, "02"), (13, "03"), (16, "05"))
    ]
    model = SubspaceModel.from_pretrained("default")
    matching, spoken = model.own_matching(), list(model.spoken(clips))
    same = [matching.match(*pair) for text in (spoken[:6], spoken[6:]) for pair in combinations(text, 2)]
    partly = [matching.match(*pair) for pair in product(spoken[:6], spoken[6:])]
    assert np.mean([found.answer == "same" for found in same]) >= 0.8
    assert np.mean([found.answer == "partly" for found in partly]) >= 0.6
    assert not any(found.answer == "different" for found in (*same, *partly))
