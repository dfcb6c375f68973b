"""The design and its synthesis."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from intervox.audio import Waveform
from intervox.clips.corpus import CorpusSplit
from intervox.clips.labels import normalise_text
from intervox.clips.schema import CELL_SCHEMA, SHARD_SCHEMA, CastingFacts
from intervox.corpus.casting import SpeakerSpace
from intervox.corpus.plan.blocks import Deck, Turns
from intervox.corpus.plan.design import plan_audition, plan_cells
from intervox.corpus.plan.people import Cast, split_speakers
from intervox.corpus.plan.texts import texts
from intervox.corpus.render.synthesis import synthesise
from intervox.engines import base
from intervox.engines.base import Engine, Voice, load_engine
from intervox.engines.espeak import EspeakEngine
from intervox.errors import IntervoxError
from intervox.evaluation.protocols import check_protocols_are_kept
from intervox.model.closed_form import LinearMap
from intervox.parallel import Pool
from intervox.recipe import Recipe, load_recipe
from intervox.recipe.corpus import (
    BlockSettings,
    CastingSettings,
    ConditionSettings,
    CorpusRecipe,
    TextSettings,
)
from intervox.recipe.engines import CommandSettings, EspeakSettings

ESPEAK = EspeakSettings(voices=30)
TINY = CorpusRecipe(
    engines=(ESPEAK,),
    texts=TextSettings(count=60),
    train=BlockSettings(blocks=3, speakers=3, contents=3),
    test=BlockSettings(blocks=1, speakers=2, contents=2),
    conditions=ConditionSettings(rooms=2, room=0.5, band=0.5, tilt=0.5, clipping=0.5, codec=0.5),
    held_out=0.2,
    shard_size=16,
)


def by_block(cells: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    blocks: dict[int, list[dict[str, Any]]] = {}
    for cell in cells:
        blocks.setdefault(cell["block"], []).append(cell)
    return blocks


def assert_crossed(block: list[dict[str, Any]]) -> None:
    grid = {(c["speaker"], c["content"], c["copy"]) for c in block}
    sizes = [len({c[name] for c in block}) for name in ("speaker", "content", "copy")]
    assert len(block) == len(grid) == np.prod(sizes)
    assert len({c["split"] for c in block}) == 1


def test_a_deck_gives_everyone_a_turn_before_anyone_has_a_second() -> None:
    deck = Deck(list("abcdefg"), np.random.default_rng(0))
    drawn = [deck.draw(3) for _ in range(28)]
    assert all(len(set(hand)) == 3 for hand in drawn)
    assert set(Counter(card for hand in drawn for card in hand).values()) == {12}


def test_turns_follow_the_weights_and_skip_who_is_out() -> None:
    turns = Turns({"a": 3, "b": 1})
    assert Counter(turns.next() for _ in range(40)) == {"a": 30, "b": 10}
    assert {turns.next({"a"}) for _ in range(5)} == {"b"}


def test_blocks_are_crossed_balanced_and_held_out() -> None:
    recipe = load_recipe("quickstart").corpus
    cells = plan_cells(recipe, 0).to_pylist()
    assert [cell["cell_id"] for cell in cells] == list(range(len(cells)))
    for block in by_block(cells).values():
        assert_crossed(block)
    for column in ("speaker", "content", "text"):
        train, test = ({c[column] for c in cells if c["split"] == s} for s in ("train", "test"))
        assert train
        assert test
        assert not train & test
    families = {voice.name: voice.family for voice in load_engine(recipe.engines[0]).voices()}
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


def test_conditions_are_dealt_evenly_and_the_first_copy_stays_dry() -> None:
    recipe = TINY.model_copy(
        update={
            "copies": 3,
            "dry_copy": True,
            "train": BlockSettings(blocks=40, speakers=4, contents=4),
            "conditions": ConditionSettings(count=32, clean=0),
        }
    )
    cells = [cell for cell in plan_cells(recipe, 0).to_pylist() if cell["split"] == "train"]
    assert {cell["condition"] for cell in cells if cell["copy"] == 0} == {"clean"}
    uses = Counter(cell["condition"] for cell in cells if cell["copy"])
    assert len(uses) == 31
    assert max(uses.values()) - min(uses.values()) <= 2
    assert all((cell["severity"] > 0) == (cell["condition"] != "clean") for cell in cells if not cell["copy"])


def other_engine(**changes: Any) -> CommandSettings:
    values: dict[str, Any] = {
        "name": "command",
        "command": ("true", "{text}", "{output}"),
        "speakers": tuple(f"s{index}" for index in range(12)),
        "voices": 12,
    }
    return CommandSettings(**values | changes)


def test_engines_share_every_block_and_can_be_held_out() -> None:
    train = BlockSettings(blocks=6, speakers=4, contents=3)
    shared = TINY.model_copy(update={"engines": (ESPEAK, other_engine()), "train": train})
    cells = plan_cells(shared, 0).to_pylist()
    for block in by_block([cell for cell in cells if cell["split"] == "train"]).values():
        assert Counter(c["engine"] for c in block) == {"espeak": 12, "command": 12}
        assert_crossed(block)
    quarter = (ESPEAK, other_engine(share=1 / 3))
    cells = plan_cells(shared.model_copy(update={"engines": quarter}), 0).to_pylist()
    engines = Counter(cell["engine"] for cell in cells if cell["split"] == "train")
    assert engines["espeak"] == 3 * engines["command"]
    apart = (EspeakSettings(voices=30, splits=("train",)), other_engine(splits=("validation", "test")))
    held = shared.model_copy(
        update={"engines": apart, "validation": BlockSettings(blocks=1, speakers=3, contents=2)}
    )
    cells = plan_cells(held, 0).to_pylist()
    assert {(c["split"], c["engine"]) for c in cells} == {
        ("train", "espeak"), ("validation", "command"), ("test", "command"),
    }  # fmt: skip
    for column in ("speaker", "voice", "content", "text"):
        splits = [{c[column] for c in cells if c["split"] == s} for s in ("train", "validation", "test")]
        assert sum(map(len, splits)) == len(set.union(*splits))
    nobody = shared.model_copy(update={"engines": (EspeakSettings(voices=30, splits=("train",)),)})
    with pytest.raises(IntervoxError, match=r"corpus\.test has blocks but no speakers"):
        plan_cells(nobody, 0)


def test_blocks_are_of_one_language_with_texts_in_it() -> None:
    recipe = TINY.model_copy(update={"engines": (EspeakSettings(voices=45, languages=("en", "de", "es")),)})
    blocks = by_block(plan_cells(recipe, 0).to_pylist())
    assert all(len({cell["language"] for cell in block}) == 1 for block in blocks.values())
    assert {block[0]["language"] for block in blocks.values()} == {"en", "de", "es"}


def test_regions_of_a_language_share_labels_and_splits(tmp_path: Path) -> None:
    regions = EspeakSettings(voices=40, languages=("pt", "pt-br"))
    recipe = TINY.model_copy(
        update={"engines": (regions,), "train": BlockSettings(blocks=20, speakers=3, contents=4)}
    )
    cells = plan_cells(recipe, 0).to_pylist()
    assert {cell["language"] for cell in cells} == {"pt", "pt-br"}
    spoken = {normalise_text(cell["text"]) for cell in cells}
    assert len(spoken) == len({cell["content"] for cell in cells})
    train, test = (
        {normalise_text(cell["text"]) for cell in cells if cell["split"] == split}
        for split in ("train", "test")
    )
    assert test
    assert not train & test


def test_no_rendition_has_the_same_condition_twice() -> None:
    recipe = TINY.model_copy(
        update={
            "copies": 3,
            "train": BlockSettings(blocks=40, speakers=4, contents=4),
            "conditions": ConditionSettings(count=6, clean=0.5),
        }
    )
    cells = [cell for cell in plan_cells(recipe, 0).to_pylist() if cell["split"] == "train"]
    assert len({(cell["seed"], cell["condition"]) for cell in cells}) == len(cells)


def test_transformed_voices_are_further_speakers_of_the_same_family() -> None:
    recipe = TINY.model_copy(update={"engines": (EspeakSettings(voices=10, transformed=25),)})
    splits = split_speakers(recipe, np.random.default_rng(0))
    everyone = [speaker for speakers in splits.values() for speaker in speakers]
    assert len({speaker.label for speaker in everyone}) == 35
    assert sum(speaker.transformation is not None for speaker in everyone) == 25
    train, test = ({speaker.voice.family for speaker in splits[s]} for s in ("train", "test"))
    assert test
    assert not train & test


def test_an_audition_crosses_all_voices_with_a_few_texts() -> None:
    recipe = TINY.model_copy(update={"casting": CastingSettings(texts=5)})
    cells = plan_audition(recipe, 0).to_pylist()
    assert len(cells) == 30 * 5
    assert_crossed(cells)
    assert {cell["condition"] for cell in cells} == {"clean"}


def test_merged_voices_share_a_label_and_dropped_ones_are_gone() -> None:
    names = [f"espeak:{voice.name}" for voice in load_engine(ESPEAK).voices()]
    space = SpeakerSpace("", (0,), np.zeros(1), np.ones(1), LinearMap(*3 * [np.ones(1)]), {})  # type: ignore[arg-type]
    labels = {names[1]: names[0], names[2]: None}
    figures = CastingFacts(
        voices=3, distinct=1, effective=1, min_distance=0.1, near_duplicates=[], merged={}, dropped=[]
    )
    casting = Cast(labels, space, figures)
    everyone = BlockSettings(blocks=90, speakers=4, contents=3)
    recipe = TINY.model_copy(update={"train": everyone, "test": BlockSettings(blocks=0)})
    cells = plan_cells(recipe, 0, casting).to_pylist()
    voices = {cell["voice"] for cell in cells if cell["speaker"] == names[0]}
    assert voices == {name.removeprefix("espeak:") for name in names[:2]}
    assert not {names[1], names[2]} & {cell["speaker"] for cell in cells}
    for block in by_block(cells).values():
        assert_crossed(block)


@pytest.mark.slow
def test_synthesis_is_the_same_in_any_number_of_processes(tmp_path: Path) -> None:
    one = synthesise(TINY, 0, tmp_path / "one", Pool(1))
    two = synthesise(TINY, 0, tmp_path / "two", Pool(2))
    assert one.clip_count == 3 * 9 * 2 + 4
    for name in ("cells.parquet", "corpus.json", *(f"audio/shard-{i:05d}.parquet" for i in range(4))):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes(), name
    other = synthesise(TINY, 1, tmp_path / "other", Pool(1))
    first, others = (corpus.load_shard(0)[0].wave for corpus in (one, other))
    assert first is not None
    assert others is not None
    assert not np.array_equal(first, others)


def test_synthesis_goes_on_where_it_stopped(tmp_path: Path) -> None:
    corpus = synthesise(TINY, 0, tmp_path / "c", Pool(1))
    shards = sorted((corpus.folder / "audio").iterdir())
    before = [shard.read_bytes() for shard in shards]
    shards[1].unlink()
    (corpus.folder / "corpus.json").unlink()
    (corpus.folder / "step.json").write_text(
        (corpus.folder / "step.json").read_text().replace("true", "false")
    )
    kept = shards[0].stat().st_mtime_ns
    synthesise(TINY, 0, tmp_path / "c", Pool(1))
    assert [shard.read_bytes() for shard in shards] == before
    assert shards[0].stat().st_mtime_ns == kept


def test_a_corpus_reads_back_as_planned(tmp_path: Path) -> None:
    corpus = synthesise(TINY, 0, tmp_path / "c", Pool(1))
    clips = [clip for i in range(corpus.shard_count) for clip in corpus.load_shard(i)]
    assert [clip.cell_id for clip in clips] == corpus.cells["cell_id"].to_pylist()
    held_out = CorpusSplit(corpus, "test")
    found = [clip for i in range(held_out.shard_count) for clip in held_out.load_shard(i)]
    assert [clip.cell_id for clip in found] == [0, 1, 2, 3] == list(range(held_out.clip_count))
    np.testing.assert_array_equal(found[-1].wave, clips[-1].wave)
    table = pq.read_table(corpus.folder / "audio" / "shard-00000.parquet")
    assert table.select(CELL_SCHEMA.names).equals(corpus.cells.slice(0, 16))
    assert table.column_names == SHARD_SCHEMA.names


class Broken(Engine):
    name = "broken"
    version = "1"
    licence = "none"

    def __init__(self, failing: str) -> None:
        self.failing = failing

    def voices(self) -> list[Voice]:
        return EspeakEngine(ESPEAK).voices()

    def render(self, text: str, voice: str, seed: int) -> Waveform:
        bad = {"empty": np.zeros(0), "silent": np.zeros(8000), "nan": np.full(8000, np.nan)}
        wave = bad[self.failing] if seed % 3 == 0 else 0.1 * np.sin(np.arange(8000))
        return np.asarray(wave, np.float32)


@pytest.mark.parametrize("failing", ["empty", "silent", "nan"])
def test_cells_that_fail_are_recorded_and_too_many_stop_the_run(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(base._loaded, ESPEAK.model_dump_json(), Broken(failing))
    with pytest.raises(IntervoxError, match=r"cells failed, more than 1% .*max_failures.*espeak voice"):
        synthesise(TINY, 0, tmp_path / "strict", Pool(1))
    lenient = TINY.model_copy(update={"max_failures": 0.9})
    corpus = synthesise(lenient, 0, tmp_path / "lenient", Pool(1))
    assert 0 < corpus.failed < corpus.clip_count
    clips = [clip for i in range(corpus.shard_count) for clip in corpus.load_shard(i)]
    assert sum(clip.wave is None for clip in clips) == corpus.failed
    reasons = {(clip.error or "").split()[0] for clip in clips if clip.wave is None}
    assert "rendered" in reasons <= {"rendered", "seconds_per_character"}


def test_texts_of_a_protocol_are_refused_unless_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    word = next(text.text for text in texts(TINY.texts, ["en"], 0) if text.kind == "word")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.csv").write_text(
        f"path,speaker,content\na.wav,ann,{word.upper()}!\nb.wav,ann,x\nc.wav,bob,y\n"
    )
    monkeypatch.setenv("INTERVOX_DATA", str(tmp_path))
    everything = BlockSettings(blocks=20, speakers=3, contents=3)
    recipe = Recipe(corpus=TINY.model_copy(update={"train": everything}))
    with pytest.raises(IntervoxError, match=rf"such as {word!r}: add them to corpus.texts.reserved"):
        check_protocols_are_kept(recipe)
    for settings in (
        TextSettings(count=60, reserved=(word,)),
        TextSettings(count=60, protocol_texts=True),
    ):
        corpus = recipe.corpus.model_copy(update={"texts": settings})
        check_protocols_are_kept(recipe.model_copy(update={"corpus": corpus}))
