import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from intervox.corpus.design import plan_cells
from intervox.corpus.store import CorpusSplit, Recordings
from intervox.corpus.synthesis import synthesise
from intervox.corpus.texts import builtin_texts, read_texts
from intervox.engines import base
from intervox.engines.base import Voice, load_engine
from intervox.engines.espeak import EspeakEngine
from intervox.errors import IntervoxError
from intervox.recipe import (
    BlockSettings,
    ConditionSettings,
    CorpusRecipe,
    EngineSettings,
    TextSettings,
    load_recipe,
)

TINY = CorpusRecipe(
    engines=(EngineSettings(voices=30),),
    texts=TextSettings(count=60),
    train=BlockSettings(blocks=3, speakers=3, contents=3),
    test=BlockSettings(blocks=1, speakers=2, contents=2),
    conditions=ConditionSettings(rooms=2, room=0.5, band=0.5, tilt=0.5, clipping=0.5, codec=0.5),
    held_out=0.2,
    shard_size=16,
)
KEYWORDS = {
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "bed", "cat"),
    *("down", "go", "happy", "left", "right", "up", "yes", "no"),
}


def test_the_inventory_is_large_mixed_and_free_of_keywords() -> None:
    texts = builtin_texts(1600, 0)
    assert len(set(texts)) == len(texts) >= 1000
    lengths = Counter(len(text.split()) for text in texts)
    assert min(lengths) == 1
    assert max(lengths) == 20
    assert sum(count for length, count in lengths.items() if length >= 5) > 200
    assert not {text.lower() for text in texts} & KEYWORDS
    assert texts == builtin_texts(1600, 0)
    assert texts != builtin_texts(1600, 1)


def test_own_texts_are_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("one line\n\nanother\none line\n")
    assert read_texts(tmp_path / "t.txt") == ["one line", "another"]
    (tmp_path / "t.txt").write_text("\n")
    with pytest.raises(IntervoxError, match="holds no text"):
        read_texts(tmp_path / "t.txt")
    with pytest.raises(IntervoxError, match=r"absent\.txt can't be read"):
        read_texts(tmp_path / "absent.txt")


def test_espeak_has_300_human_voices_that_render_speech() -> None:
    engine = load_engine("espeak")
    voices = engine.voices(320)
    assert len({voice.name for voice in voices}) == 320
    assert len({voice.family for voice in voices}) > 70
    assert not any(word in voice.name.lower() for voice in voices for word in ("whisper", "robo", "demonic"))
    for voice in voices[::40]:
        wave = engine.render("a gentle evening by the sea", voice.name, 1)
        assert 0.7 < len(wave) / 16_000 < 5
        assert 0.02 < np.abs(wave).max() <= 1.0


def test_a_rendition_does_not_depend_on_what_was_rendered_before() -> None:
    engine = load_engine("espeak")
    voices = [voice.name for voice in engine.voices(200)[::17]]
    first = [engine.render("walnut", voice, 3) for voice in voices]
    again = [engine.render("walnut", voice, 3) for voice in reversed(voices)][::-1]
    for before, after in zip(first, again, strict=True):
        np.testing.assert_array_equal(before, after)
    assert not np.array_equal(first[0], engine.render("walnut", voices[0], 4))


def test_too_many_voices_and_unknown_ones_say_so() -> None:
    engine = load_engine("espeak")
    with pytest.raises(IntervoxError, match="lower `voices`"):
        engine.voices(10**6)
    with pytest.raises(IntervoxError, match="no voice 'xx-nowhere'"):
        engine.render("a", "xx-nowhere/p50/r160/v100/t0", 0)


def test_a_missing_engine_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(IntervoxError, match=r"pip install intervox\[espeak\]"):
        EspeakEngine()


def test_blocks_are_crossed_balanced_and_held_out() -> None:
    recipe = load_recipe("quickstart").corpus
    cells = plan_cells(recipe, 0).to_pylist()
    assert [cell["cell_id"] for cell in cells] == list(range(len(cells)))
    by_block: dict[int, list[dict[str, object]]] = {}
    for cell in cells:
        by_block.setdefault(cell["block"], []).append(cell)
    for block in by_block.values():
        speakers, contents = {c["speaker"] for c in block}, {c["content"] for c in block}
        copies = {c["copy"] for c in block}
        assert len(block) == len(speakers) * len(contents) * len(copies)
        assert len({(c["speaker"], c["content"], c["copy"]) for c in block}) == len(block)
        assert len({c["split"] for c in block}) == 1
    for column in ("speaker", "content", "text"):
        train, test = ({c[column] for c in cells if c["split"] == s} for s in ("train", "test"))
        assert train
        assert test
        assert not train & test
    families = {voice.name: voice.family for voice in load_engine("espeak").voices(320)}
    held, kept = ({families[c["voice"]] for c in cells if c["split"] == s} for s in ("test", "train"))
    assert not held & kept
    uses = Counter(cell["speaker"] for cell in cells if cell["split"] == "train" and cell["copy"] == 0)
    assert max(uses.values()) <= 2 * min(uses.values())
    assert {cell["condition"] for cell in cells if cell["split"] == "test"} == {"clean"}


def test_copies_share_the_rendition_and_differ_in_condition() -> None:
    cells = [c for c in plan_cells(TINY, 0).to_pylist() if c["split"] == "train"]
    pairs = [cells[i : i + 2] for i in range(0, len(cells), 2)]
    assert all(a["seed"] == b["seed"] and a["copy"] == 0 and b["copy"] == 1 for a, b in pairs)
    assert sum(a["condition"] != b["condition"] for a, b in pairs) > 0.7 * len(pairs)


def test_a_block_larger_than_its_split_is_refused() -> None:
    recipe = TINY.model_copy(update={"test": BlockSettings(blocks=1, speakers=20, contents=2)})
    with pytest.raises(IntervoxError, match=r"corpus\.test\.speakers asks for 20"):
        plan_cells(recipe, 0)


def test_synthesis_is_the_same_in_any_number_of_processes(tmp_path: Path) -> None:
    one = synthesise(TINY, 0, tmp_path / "one", workers=1)
    two = synthesise(TINY, 0, tmp_path / "two", workers=2)
    assert one.clip_count == 3 * 9 * 2 + 4
    for name in ("cells.parquet", "corpus.json", *(f"audio/shard-{i:05d}.parquet" for i in range(4))):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes(), name
    other = synthesise(TINY, 1, tmp_path / "other", workers=1)
    first, others = (corpus.load_shard(0)[0].wave for corpus in (one, other))
    assert first is not None
    assert others is not None
    assert not np.array_equal(first, others)


def test_synthesis_goes_on_where_it_stopped(tmp_path: Path) -> None:
    corpus = synthesise(TINY, 0, tmp_path / "c", workers=1)
    shards = sorted((corpus.folder / "audio").iterdir())
    before = [shard.read_bytes() for shard in shards]
    shards[1].unlink()
    (corpus.folder / "corpus.json").unlink()
    (corpus.folder / "step.json").write_text(
        (corpus.folder / "step.json").read_text().replace("true", "false")
    )
    kept = shards[0].stat().st_mtime_ns
    synthesise(TINY, 0, tmp_path / "c", workers=1)
    assert [shard.read_bytes() for shard in shards] == before
    assert shards[0].stat().st_mtime_ns == kept


def test_a_corpus_reads_back_as_planned(tmp_path: Path) -> None:
    corpus = synthesise(TINY, 0, tmp_path / "c", workers=1)
    clips = [clip for i in range(corpus.shard_count) for clip in corpus.load_shard(i)]
    assert [clip.cell_id for clip in clips] == corpus.cells["cell_id"].to_pylist()
    held_out = CorpusSplit(corpus, "test")
    found = [clip for i in range(held_out.shard_count) for clip in held_out.load_shard(i)]
    assert [clip.cell_id for clip in found] == [0, 1, 2, 3] == list(range(held_out.clip_count))
    np.testing.assert_array_equal(found[-1].wave, clips[-1].wave)
    table = pq.read_table(corpus.folder / "audio" / "shard-00000.parquet")
    assert table.column_names == ["cell_id", "audio", "duration", "peak_dbfs", "rms_dbfs", "error"]


class Broken:
    version = "1"
    licence = "none"

    def __init__(self, failing: str) -> None:
        self.failing = failing

    def voices(self, count: int) -> list[Voice]:
        return EspeakEngine().voices(count)

    def render(self, text: str, voice: str, seed: int) -> np.ndarray:
        bad = {"empty": np.zeros(0), "silent": np.zeros(8000), "nan": np.full(8000, np.nan)}
        wave = bad[self.failing] if seed % 3 == 0 else 0.1 * np.sin(np.arange(8000))
        return wave.astype(np.float32)


@pytest.mark.parametrize("failing", ["empty", "silent", "nan"])
def test_cells_that_fail_are_recorded_and_too_many_stop_the_run(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(base._loaded, "espeak", Broken(failing))  # type: ignore[arg-type]
    with pytest.raises(IntervoxError, match="cells failed, more than the 1% of max_failures"):
        synthesise(TINY, 0, tmp_path / "strict", workers=1)
    lenient = TINY.model_copy(update={"max_failures": 0.9})
    corpus = synthesise(lenient, 0, tmp_path / "lenient", workers=1)
    assert 0 < corpus.about["failed"] < corpus.clip_count
    clips = [clip for i in range(corpus.shard_count) for clip in corpus.load_shard(i)]
    assert sum(clip.wave is None for clip in clips) == corpus.about["failed"]
    assert all("espeak voice" in (clip.error or "") for clip in clips if clip.wave is None)


def test_recordings_keep_the_reason_of_a_bad_file(tmp_path: Path, wav: Path) -> None:
    (tmp_path / "bad.wav").write_text("no audio")
    source = Recordings([wav, tmp_path / "bad.wav", tmp_path / "absent.wav"], max_clips=2)
    assert source.shard_count == 2
    clips = source.load_shard(0) + source.load_shard(1)
    assert [clip.cell_id for clip in clips] == [0, 1, 2]
    assert clips[0].wave is not None
    assert "bad.wav can't be read" in (clips[1].error or "")
    assert "absent.wav is not a file" in (clips[2].error or "")
