"""A corpus' audio on disk, as training at depth ``blocks`` reads it."""

import json
from pathlib import Path

import numpy as np
import pytest

from intervox.clips.corpus import Corpus
from intervox.errors import IntervoxError
from intervox.features import waves as module
from intervox.features.waves import Waves, decode
from tests.support.corpora import SHARD_SIZE, tone_rows, write_corpus

HALF_A_STEP = 0.5 / 32767
"""Of sixteen bits; the rest is that of fp32."""


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(write_corpus(tmp_path / "corpus", tone_rows()))


def clips(corpus: Corpus) -> dict[int, np.ndarray | None]:
    return {c.cell_id: c.wave for shard in range(corpus.shard_count) for c in corpus.load_shard(shard)}


def test_samples_are_those_of_the_corpus_within_sixteen_bits(corpus: Corpus, tmp_path: Path) -> None:
    decode(corpus, tmp_path / "waves")
    waves = Waves.of(corpus, tmp_path / "waves")
    assert len(waves) == corpus.clip_count == 24
    for cell, wave in clips(corpus).items():
        if wave is None:
            continue
        found = waves.read(cell)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wave, rtol=0, atol=1.01 * HALF_A_STEP)
        np.testing.assert_array_equal(waves.read(cell, 500), found[:500])
        np.testing.assert_array_equal(waves.read(cell, 10**6), found)


def test_a_clip_that_failed_has_no_audio(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(IntervoxError, match="cell 5 has no audio: run `intervox corpus check`"):
        decode(corpus, tmp_path / "waves").read(5)


def test_a_shard_of_failures_alone_is_kept_in_its_place(tmp_path: Path) -> None:
    rows = tone_rows()
    for row in rows[SHARD_SIZE : 2 * SHARD_SIZE]:
        row |= {"audio": None, "duration": 0.0, "error": "nothing was said"}
    corpus = Corpus(write_corpus(tmp_path / "corpus", rows))
    waves = decode(corpus, tmp_path / "waves")
    last = clips(corpus)[2 * SHARD_SIZE]
    assert last is not None
    np.testing.assert_allclose(waves.read(2 * SHARD_SIZE), last, rtol=0, atol=1.01 * HALF_A_STEP)
    with pytest.raises(IntervoxError, match=f"cell {SHARD_SIZE} has no audio"):
        waves.read(SHARD_SIZE)


def test_what_is_louder_than_full_scale_is_clipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Corpus(write_corpus(tmp_path / "corpus", tone_rows()))
    real = Corpus.load_shard

    def loud(self: Corpus, index: int) -> list[object]:
        found = real(self, index)
        for clip in found:
            if clip.wave is not None:
                clip.wave[:3] = (2, -2, 0.5)
        return list(found)

    monkeypatch.setattr(Corpus, "load_shard", loud)
    start = decode(corpus, tmp_path / "waves").read(0, 3)
    np.testing.assert_allclose(start, [1, -1, 0.5], atol=1e-4)


def test_an_interrupted_decoding_resumes(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode(corpus, tmp_path / "whole")
    asked: list[int] = []
    real = Corpus.load_shard

    def interrupted(self: Corpus, index: int) -> object:
        asked.append(index)
        if asked == [0, 1]:
            raise KeyboardInterrupt
        return real(self, index)

    monkeypatch.setattr(Corpus, "load_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        decode(corpus, tmp_path / "cut")
    with pytest.raises(IntervoxError, match="lacks the audio of this corpus: run `intervox extract` first"):
        Waves.of(corpus, tmp_path / "cut")
    decode(corpus, tmp_path / "cut")
    assert asked == [0, 1, 1, 2]
    decode(corpus, tmp_path / "cut")
    assert asked == [0, 1, 1, 2]
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "cut" / path.name).read_bytes() == path.read_bytes()


def test_the_audio_of_another_corpus_is_refused_and_replaced(corpus: Corpus, tmp_path: Path) -> None:
    decode(corpus, tmp_path / "waves")
    rows = tone_rows()[:SHARD_SIZE]
    other = write_corpus(tmp_path / "other", rows)
    about = json.loads((other / "corpus.json").read_text())
    (other / "corpus.json").write_text(json.dumps(about | {"key": "fedcba9876543210"}))
    for folder in ("waves", "nowhere"):
        with pytest.raises(IntervoxError, match="run `intervox extract` first"):
            Waves.of(Corpus(other), tmp_path / folder)
    assert len(decode(Corpus(other), tmp_path / "waves")) == SHARD_SIZE
    assert len(Waves.of(Corpus(other), tmp_path / "waves")) == SHARD_SIZE


def test_a_full_disk_is_said_before_anything_is_written(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise IntervoxError("no space")

    monkeypatch.setattr(module, "check_disk", full)
    with pytest.raises(IntervoxError, match="no space"):
        decode(corpus, tmp_path / "waves")
    assert not list((tmp_path / "waves").glob("*.npy"))
