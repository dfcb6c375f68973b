"""The examples run, have the interfaces that they stand in for, and hear only what they are to hear."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile as sf
import torch

from intervox import Embedder, load_model
from tests.conftest import ROOT
from tests.support.spoken import SENTENCES, spoken

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "examples"


def load(name: str) -> ModuleType:
    """Import an example by its path, and nothing of the toolkit that it is for."""
    specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model() -> Embedder:
    return load_model()


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Return a folder where a and b have a speaker and c another."""
    for name, speaker, sentence in (("a", 0, 0), ("b", 0, 1), ("c", 7, 2)):
        sf.write(tmp_path / f"{name}.wav", spoken(speaker, SENTENCES[sentence]), 16_000)
    return tmp_path


def run(folder: Path, name: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *words], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("toolkit", ["pyannote", "speechbrain"])
def test_examples_do_without_the_toolkit(toolkit: str) -> None:
    for path in EXAMPLES.glob(f"{toolkit}*.py"):
        load(path.stem)
        assert not [name for name in sys.modules if name.split(".")[0] == toolkit]


def test_the_embedding_has_pyannotes_interface(model: Embedder) -> None:
    embed = load("pyannote_embedding").IntervoxSpeakerEmbedding()
    dim = model.dims["speaker"]
    assert (embed.sample_rate, embed.metric, embed.dimension) == (16_000, "cosine", dim)
    assert embed.to(torch.device("cpu")) is embed
    waves = torch.from_numpy(np.stack([spoken(0)[:24_000], spoken(7)[:24_000]]))
    found = embed(waves[:, None])
    assert found.shape == (2, dim)
    np.testing.assert_allclose(found, model.encode(list(waves))["speaker"], atol=1e-5)
    stereo = torch.stack([waves, waves], dim=1)
    np.testing.assert_allclose(embed(stereo), found, atol=1e-5)
    least = embed(waves[:, None, 8_000 : 8_000 + embed.min_num_samples])
    assert np.isfinite(least).all()
    assert np.isnan(embed(waves[:, None, 8_000 : 8_000 + embed.min_num_samples - 1])).all()


def test_a_masked_speaker_is_not_heard(model: Embedder) -> None:
    """One second each of two speakers, under masks of a hundred frames as a segmentation gives them."""
    embed = load("pyannote_embedding").IntervoxSpeakerEmbedding()
    first, second = spoken(0)[4_000:20_000], spoken(7)[4_000:20_000]
    turns = torch.from_numpy(np.concatenate([first, second]))[None, None]
    masks = torch.zeros(4, 100)
    masks[0, :50], masks[1, 50:], masks[2, :50], masks[2, 50:] = 1, 1, 0.9, 0.3
    found = embed(turns.expand(4, 1, -1), masks)
    expected = model.encode([first, second])["speaker"]
    np.testing.assert_allclose(found[:2], expected, atol=1e-5)
    np.testing.assert_allclose(found[2], expected[0], atol=1e-5)
    assert np.isnan(found[3]).all(), "nobody is left, and somebody was embedded"
    alone = embed(turns, masks[:1])
    turns[..., 16_000:] = torch.from_numpy(spoken(3)[4_000:20_000])
    np.testing.assert_array_equal(embed(turns, masks[:1]), alone)


def test_masks_may_be_boolean_and_silence_is_nobody() -> None:
    embed = load("pyannote_embedding").IntervoxSpeakerEmbedding()
    wave = torch.from_numpy(np.concatenate([spoken(0)[:16_000], np.zeros(16_000, np.float32)]))[None, None]
    speech, silence = torch.arange(32_000)[None] < 16_000, torch.arange(32_000)[None] >= 16_000
    assert np.isfinite(embed(wave, speech)).all()
    assert np.isnan(embed(wave, silence)).all()


def test_the_recognition_has_speechbrains_interface(model: Embedder, clips: Path) -> None:
    recognition = load("speechbrain_verification").IntervoxSpeakerRecognition()
    waves = [
        torch.from_numpy(spoken(*who)) for who in ((0, SENTENCES[0]), (0, SENTENCES[1]), (7, SENTENCES[2]))
    ]
    assert recognition.encode_batch(waves[0]).shape == (1, 1, model.dims["speaker"])
    one, same, other = (wave[None] for wave in waves)
    score, prediction = recognition.verify_batch(one, same)
    assert score.shape == prediction.shape == (1, 1)
    a, b = model.encode(waves[:2])["speaker"]
    assert score.item() == pytest.approx(float(a @ b), abs=1e-5)
    assert prediction.item() is True
    assert recognition.verify_batch(one, other)[1].item() is False
    assert recognition.verify_batch(one, same, threshold=score.item() + 0.01)[1].item() is False
    score, prediction = recognition.verify_files(clips / "a.wav", str(clips / "b.wav"))
    assert score.shape == prediction.shape == (1,)
    assert prediction.item() is True


def test_another_speaker_in_the_padding_is_not_heard(model: Embedder) -> None:
    recognition = load("speechbrain_verification").IntervoxSpeakerRecognition()
    short, long = torch.from_numpy(spoken(0)[:16_000]), torch.from_numpy(spoken(7)[:32_000])
    silent = torch.stack([torch.cat([short, torch.zeros(16_000)]), long])
    loud = torch.stack([torch.cat([short, long[16_000:]]), long])
    lengths = torch.tensor([0.5, 1.0])
    expected = recognition.encode_batch(silent, lengths)
    torch.testing.assert_close(recognition.encode_batch(loud, lengths), expected, rtol=0, atol=0)
    alone = model.encode([short, long], output="torch")["speaker"]
    torch.testing.assert_close(expected[:, 0], alone, rtol=0, atol=1e-5)
    assert not torch.allclose(recognition.encode_batch(loud), expected, atol=0.01)


def test_datasets_are_mapped(model: Embedder, clips: Path) -> None:
    pytest.importorskip("datasets")
    example = load("datasets_map")
    paths = [str(clips / f"{name}.wav") for name in "abc"]
    embedded = example.embed_files(paths).with_format("numpy")
    np.testing.assert_allclose(
        np.stack(embedded["embedding.speaker"][:]), model.encode(paths)["speaker"], atol=1e-5
    )
    assert set(embedded.column_names) == {"audio", "embedding.speaker", "embedding.content"}


def test_rows_of_bytes_are_mapped_as_files_are(clips: Path) -> None:
    """As the hub's datasets hold their clips."""
    datasets = pytest.importorskip("datasets")
    example = load("datasets_map")
    path = clips / "a.wav"
    rows = datasets.Dataset.from_list([{"audio": {"bytes": path.read_bytes(), "path": None}}])
    rows = rows.cast_column("audio", datasets.Audio(decode=False)).map(example.embed, batched=True)
    from_files = example.embed_files([str(path)])
    np.testing.assert_array_equal(rows["embedding.content"][0], from_files["embedding.content"][0])


@pytest.mark.end_to_end
def test_examples_are_programs(clips: Path) -> None:
    assert run(clips, "pyannote_embedding", "a.wav", "b.wav").startswith("cosine 0.")
    assert run(clips, "speechbrain_verification", "a.wav", "b.wav").endswith("same speaker\n")
    pytest.importorskip("datasets")
    run(clips, "datasets_map", "v.parquet", "a.wav", "c.wav")
    from intervox.interop import read_vectors

    vectors = read_vectors(clips / "v.parquet")[1]
    assert {space: len(rows) for space, rows in vectors.items()} == {"speaker": 2, "content": 2}
