"""Unlabelled recordings in a corpus: their blocks, what is learnt from them, and the same bytes again."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
import torch

from intervox.clips.labels import PIECE
from intervox.corpus.inspect.check import check_corpus
from intervox.corpus.inspect.show import write_corpus_page
from intervox.corpus.plan.design import plan_cells
from intervox.corpus.render.quality import judge
from intervox.corpus.render.synthesis import synthesise
from intervox.errors import IntervoxError
from intervox.evaluation.protocols import READERS, check_protocols_are_kept
from intervox.features.store import Features
from intervox.parallel import Pool
from intervox.recipe import Recipe
from intervox.recipe.corpus import CorpusRecipe, QualitySettings
from intervox.recipe.engines import UnlabelledSettings
from intervox.training.cells import BlockSampler, training_cells
from intervox.training.losses.multi_positive import _pairs
from tests.conftest import Speech
from tests.corpus.test_corpus import ESPEAK, TINY, by_block


@pytest.fixture
def files(tmp_path: Path, speech: Speech) -> Path:
    """Return a folder of seven recordings of seven lengths."""
    folder = tmp_path / "files"
    folder.mkdir()
    for index in range(7):
        sf.write(folder / f"{index}.wav", speech(3.0 + 2 * index, index), 16_000)
    return folder


def recipe_with(files: Path, **settings: Any) -> CorpusRecipe:
    people = UnlabelledSettings.model_validate({"name": "unlabelled", "files": files} | settings)
    return TINY.model_copy(update={"engines": (ESPEAK, people)})


def pieces(cells: pa.Table) -> list[dict[str, Any]]:
    return [cell for cell in cells.to_pylist() if cell["kind"] == PIECE]


def test_the_other_cells_are_those_of_the_recipe_without_them(files: Path) -> None:
    plain, both = plan_cells(TINY, 3), plan_cells(recipe_with(files), 3)
    assert both.slice(0, plain.num_rows).equals(plain)
    assert set(both.slice(plain.num_rows)["engine"].to_pylist()) == {"unlabelled"}


def test_every_file_is_in_a_block_with_pieces_of_its_own(files: Path) -> None:
    found = pieces(plan_cells(recipe_with(files), 0))
    assert {cell["voice"] for cell in found} == {f"{index}.wav" for index in range(7)}
    assert {cell["split"] for cell in found} == {"train"}
    blocks = by_block(found)
    assert len(blocks) == 3  # three voices each, as the synthetic ones: seven files, two of them twice
    for block in blocks.values():
        assert len({cell["voice"] for cell in block}) == 3
        for voice in {cell["voice"] for cell in block}:
            own = {cell["content"] for cell in block if cell["voice"] == voice}
            assert 2 <= len(own) <= 3
            assert own.isdisjoint(cell["content"] for cell in block if cell["voice"] != voice)
            conditions = [cell["condition"] for cell in block if cell["voice"] == voice]
            assert len(conditions) == 2 * len(own)
    assert len({(c["voice"], c["text"]) for c in found}) == len({c["content"] for c in found})


def test_blocks_may_be_more_and_then_say_other_pieces(files: Path) -> None:
    few, many = (pieces(plan_cells(recipe_with(files, blocks=n, max_seconds=2), 0)) for n in (3, 12))
    assert len(by_block(many)) == 12
    assert len({cell["content"] for cell in many}) > 1.5 * len({cell["content"] for cell in few})


def masks(cells: list[dict[str, Any]], labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positives and negatives of every cell, as the loss takes them."""
    return cast(
        tuple[np.ndarray, np.ndarray],
        tuple(mask.numpy() for mask in _pairs(torch.arange(len(cells)), torch.from_numpy(labels), None)),
    )


@pytest.mark.parametrize("transformed", [0, 7])
def test_a_batch_has_the_positives_and_negatives_that_are_known(files: Path, transformed: int) -> None:
    plan = plan_cells(recipe_with(files, transformed=transformed), 0)
    features = cast(Features, SimpleNamespace(frames=np.ones(plan.num_rows, np.int64)))
    training = training_cells(plan, features, {"speaker", "content"})
    chosen, labels = BlockSampler(training.blocks, training.labels, len(np.unique(training.blocks)), 0).batch(
        0
    )
    rows = [plan.to_pylist()[row] for row in training.rows[chosen]]

    def same(*names: str) -> np.ndarray:
        keys = [tuple(row[name] for name in names) for row in rows]
        return np.array([[one == other for other in keys] for one in keys])

    recorded = np.array([row["kind"] == PIECE for row in rows])
    itself = np.eye(len(rows), dtype=bool)
    positive, negative = masks(rows, labels["speaker"])
    assert (positive | negative | itself).all()
    # One file under one warp is one speaker, whatever is said and wherever it is heard.
    of_one_file = same("engine", "voice", "transformation") & ~itself
    np.testing.assert_array_equal(positive[recorded], of_one_file[recorded])
    positive, _ = masks(rows, labels["content"])
    # A piece is the same content in its copies and its warps alone.
    of_one_piece = same("engine", "voice", "text") & ~itself
    np.testing.assert_array_equal(positive[recorded], of_one_piece[recorded])
    others = (positive & ~same("transformation"))[recorded].any(axis=1)
    assert others.all() if transformed else not others.any()


def test_a_corpus_is_checked_shown_and_the_same_after_a_kill(files: Path, tmp_path: Path) -> None:
    recipe = recipe_with(files, licence="ours", voices=4)
    corpus = synthesise(recipe, 0, tmp_path / "corpus", Pool(1))
    assert corpus.failed == 0
    assert corpus.about.engines["unlabelled"].licence == "ours"
    findings = check_corpus(corpus.folder, 1)
    assert [found for found in findings if found.severity in ("error", "warning")] == []
    assert any(found.what.startswith("6 grids of one unlabelled recording") for found in findings)
    write_corpus_page(corpus.folder, tmp_path / "page.html", [corpus.cells["block"].to_pylist()[-1]])
    assert "recorded from people" in (corpus.folder / "README.md").read_text()
    shards = sorted((corpus.folder / "audio").iterdir())
    before = [shard.read_bytes() for shard in shards]
    shards[-1].unlink()
    (corpus.folder / "corpus.json").unlink()
    synthesise(recipe, 0, corpus.folder, Pool(1))
    assert before == [shard.read_bytes() for shard in shards]


def test_the_check_finds_a_piece_of_two_voices(files: Path, tmp_path: Path) -> None:
    corpus = synthesise(recipe_with(files, voices=4), 0, tmp_path / "corpus", Pool(1))
    path = sorted((corpus.folder / "audio").iterdir())[-1]
    table = pq.read_table(path)
    contents = table["content"].to_pylist()
    contents[-1] = contents[0]
    number = table.column_names.index("content")
    pq.write_table(table.set_column(number, "content", pa.array(contents)), path)
    (corpus.folder / "cells.parquet").unlink()
    whats = [found.what for found in check_corpus(corpus.folder, 1) if found.severity == "error"]
    assert any("a piece is of one recording" in what for what in whats)
    assert any("grids are absent" in what for what in whats)


def test_a_place_is_not_taken_for_words(speech: Speech) -> None:
    settings = QualitySettings(seconds_per_character=(0.02, 0.6))
    verdict = judge(speech(60.0, 0), "0.00-60.00 s of file 0", PIECE, "en", settings, None, None)
    assert verdict.seconds_per_character is None
    assert verdict.reason is None


def test_recordings_that_are_evaluated_are_not_learnt_from(corpora: Path) -> None:
    if not (corpora / "fsdd").is_dir():
        pytest.skip("fsdd is not among the human recordings")
    count = len(READERS["fsdd"].read(corpora / "fsdd"))
    with pytest.raises(IntervoxError, match=f"trains on {count:,} recordings that are also evaluated"):
        check_protocols_are_kept(Recipe(corpus=recipe_with(corpora / "fsdd")))
