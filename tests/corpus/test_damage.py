"""What a corpus survives: missing, cut and edited shards, engines that fail and are fixed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from intervox.audio import Waveform
from intervox.clips.corpus import Corpus, read_audio, read_labels, shard_path
from intervox.corpus.cost import describe_plan, estimate_cost, plan_corpus, plan_table
from intervox.corpus.plan import people
from intervox.corpus.plan.design import plan_cells
from intervox.corpus.plan.people import all_speakers
from intervox.corpus.render import synthesis
from intervox.corpus.render.shard import Shard, ShardJob, render_shard
from intervox.corpus.render.synthesis import synthesise
from intervox.engines.base import RenderError, load_engine
from intervox.engines.espeak import EspeakEngine
from intervox.errors import IntervoxError
from intervox.parallel import Pool
from intervox.recipe.corpus import (
    BlockSettings,
    ConditionSettings,
    CorpusRecipe,
    QualitySettings,
    TextSettings,
)
from intervox.recipe.engines import EspeakSettings

SMALL = CorpusRecipe(
    engines=(EspeakSettings(voices=6),),
    texts=TextSettings(count=60),
    train=BlockSettings(blocks=3, speakers=2, contents=2),
    test=BlockSettings(blocks=0),
    conditions=ConditionSettings(clean=1, room=0),
    copies=1,
    shard_size=4,
)
REFUSING = SMALL.model_copy(update={"quality": QualitySettings(attempts=1, seconds_per_character=(5.0, 6.0))})


def make(folder: Path, recipe: CorpusRecipe = SMALL) -> Corpus:
    return synthesise(recipe, 0, folder, Pool(1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "corpus").folder


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the numbers of the shards that are rendered."""
    numbers: list[int] = []

    def render(job: ShardJob) -> Shard:
        numbers.append(job.index)
        return render_shard(job)

    monkeypatch.setattr(synthesis, "render_shard", render)
    return numbers


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def flip(path: Path) -> None:
    """Damage the pages and leave the footer whole."""
    data = bytearray(path.read_bytes())
    footer = int.from_bytes(data[-8:-4], "little") + 8
    data[4:-footer] = bytes(len(data) - 4 - footer)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [delete, truncate])
@pytest.mark.parametrize("finished", [True, False])
def test_only_a_damaged_shard_is_made_again(
    folder: Path, rendered: list[int], damage: Callable[[Path], None], finished: bool
) -> None:
    before = {path.name: path.read_bytes() for path in (folder / "audio").iterdir()}
    damage(shard_path(folder, 1))
    if not finished:
        (folder / "step.json").write_text((folder / "step.json").read_text().replace("true", "false"))
    assert make(folder).clip_count == 12
    assert rendered == [1]
    assert before == {path.name: path.read_bytes() for path in (folder / "audio").iterdir()}


def test_a_whole_corpus_is_opened_as_it_is(folder: Path, rendered: list[int]) -> None:
    make(folder)
    assert rendered == []
    (folder / "cells.parquet").unlink()
    assert make(folder).clip_count == 12
    assert rendered == []


def test_a_lacking_shard_and_a_flipped_one_name_the_mend(folder: Path) -> None:
    flip(shard_path(folder, 1))
    for read in (
        lambda: Corpus(folder).load_shard(1),
        lambda: read_labels(folder),
        lambda: list(read_audio(folder, [5])),
    ):
        with pytest.raises(IntervoxError, match=r"shard-00001\.parquet is damaged"):
            read()
    shard_path(folder, 1).unlink()
    with pytest.raises(IntervoxError, match="again: it makes only what is missing"):
        Corpus(folder)


def test_files_that_are_not_shards_do_not_matter(folder: Path) -> None:
    (folder / "audio" / "notes.txt").write_text("mine")
    (folder / "audio" / "shard-00001 (copy).parquet").write_bytes(shard_path(folder, 1).read_bytes())
    assert Corpus(folder).shard_count == 3
    (folder / "audio" / "shard-00001 (copy).parquet").unlink()
    shard_path(folder, 2).unlink()
    assert make(folder).shard_count == 3


def test_a_clip_without_audio_and_reason_is_no_traceback(folder: Path) -> None:
    path = shard_path(folder, 0)
    rows = pq.read_table(path).to_pylist()
    rows[1]["audio"] = None
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(path)), path)
    clip = Corpus(folder).load_shard(0)[1]
    assert clip.wave is None
    assert clip.error == "neither audio nor a reason: see `intervox corpus check`"


def test_a_fixed_engine_gets_another_try(
    tmp_path: Path, rendered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = EspeakEngine.render
    calls = 0

    def break_first(self: EspeakEngine, text: str, voice: str, seed: int) -> Waveform:
        nonlocal calls
        calls += 1
        if calls == 1 or 5 < calls <= 7:
            raise RenderError("out of order")
        return whole(self, text, voice, seed)

    monkeypatch.setattr(EspeakEngine, "render", break_first)
    recipe = SMALL.model_copy(update={"quality": QualitySettings(attempts=1), "max_failures": 0.1})
    with pytest.raises(IntervoxError, match="3 of 12 cells failed"):
        make(tmp_path / "corpus", recipe)
    monkeypatch.setattr(EspeakEngine, "render", whole)
    assert make(tmp_path / "corpus", recipe).failed == 0
    assert rendered == [0, 1, 2, 0, 1]


def test_a_rejection_stays(tmp_path: Path, rendered: list[int]) -> None:
    for _ in range(2):
        with pytest.raises(IntervoxError, match="12 of 12 cells failed"):
            make(tmp_path / "corpus", REFUSING)
    assert rendered == [0, 1, 2]


def test_the_plan_says_that_renditions_were_refused() -> None:
    found = plan_corpus(REFUSING, 0, 1)
    assert found.cost.refused == 1
    table = plan_table("refusing", found)
    assert "100% of the tried renditions were refused: " in table.note
    assert [row[0] for row in table.rows[:2]] == ["cells", "renditions"]
    cost = estimate_cost(plan_cells(SMALL, 0), SMALL, 0, 1)
    assert (cost.refused, cost.reason) == (0, None)


def test_renditions_of_equal_seed_are_counted_as_two() -> None:
    plan = plan_cells(SMALL, 0)
    at = plan.column_names.index("seed")
    same = plan.set_column(at, "seed", pa.array(np.zeros(plan.num_rows, np.int64)))
    assert describe_plan(same)["train"].renditions == 12


def test_a_voice_on_record_says_only_what_was_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SMALL.engines[0]
    engine: Any = load_engine(settings)
    said = {engine.voices()[0].name: frozenset({"yes", "no"})}
    monkeypatch.setattr(engine, "takes", lambda: said)
    monkeypatch.setattr(people, "load_engine", lambda _: engine)
    assert [speaker.takes for speaker in all_speakers(settings)] == [{"yes", "no"}] + [frozenset()] * 5
