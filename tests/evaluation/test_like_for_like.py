"""Systems on one corpus: what they are made of, what chooses their layers, and what is compared."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from intervox.errors import IntervoxError
from intervox.evaluation.results import ComparedSystem, LikeForLike
from intervox.evaluation.studies.like_for_like import (
    MAP,
    PACKAGED,
    PAPER_LAST,
    compare_systems,
    deep_recipe,
    intervox_recipe,
    lda_recipe,
    paper_recipe,
)
from intervox.evaluation.studies.sweep import HELD_OUT
from intervox.evaluation.test_sets import TestSet as Prepared
from intervox.recipe import load_recipe
from intervox.reporting.like_for_like_tables import like_for_like_tables
from intervox.training.refine import refine
from tests.support.variants import Setting, World, small_recipe


@pytest.fixture
def sets(world: World) -> list[Prepared]:
    return [world.test_set(HELD_OUT, range(8, 13), 0.6), world.test_set("people", range(13, 18), 0.9)]


def compared(corpus: Setting, sets: list[Prepared], folder: Path) -> dict[str, ComparedSystem]:
    recipe = small_recipe(training={"steps": 20, "blocks_per_step": 2, "initialisation": "lda"})
    found = compare_systems(*corpus, None, lambda *_: sets, recipe, 1, folder)
    assert LikeForLike.model_validate(json.loads(json.dumps(found.dump()))) == found
    return {system.name: system for system in found.systems}


def test_systems_are_compared_with_depth_map(corpus: Setting, sets: list[Prepared], tmp_path: Path) -> None:
    found = compared(corpus, sets, tmp_path)
    # Voices are in the first layer and texts in the second, which the held-out cells show.
    best = next(name for name in found if name.startswith("the paper's network, layer"))
    assert list(found) == ["raw, last layer", "raw, layers 0 / 1", "LDA", PAPER_LAST, best, MAP]
    assert found["raw, layers 0 / 1"].layers == {"speaker": [0], "content": [1]}
    assert found[PAPER_LAST].layers == {"speaker": [1], "content": [1]}
    assert found[MAP].layers == {"speaker": [0, 1], "content": [0, 1]}
    column = "people clean different_text"
    for system in found.values():
        figure = system.figures[column]
        gap = figure.value - found[MAP].figures[column].value
        assert figure.difference.value == pytest.approx(gap, abs=2e-5)
    assert found["LDA"].figures[column].value < found[PAPER_LAST].figures[column].value
    measures = {name.rsplit(" ", 1)[-1] for name in found[MAP].figures}
    assert {"one_shot", "speaker_probe", "content_probe"} <= measures
    assert "people cross_condition one_shot" in found[MAP].figures
    # A linear probe reads voices from a raw layer that holds them, and next to none from LDA's content.
    probe = "people clean speaker_probe"
    assert found["LDA"].figures[probe].value < 0.3


def test_layers_are_chosen_by_the_held_out_cells(
    corpus: Setting, sets: list[Prepared], tmp_path: Path
) -> None:
    held, human = sets
    names = list(compared(corpus, sets, tmp_path / "one"))
    shuffled = np.random.default_rng(0).permutation(len(human.clips))
    labels = {name: values[shuffled] for name, values in human.clips.labels.items()}
    other = replace(human, clips=replace(human.clips, labels=labels))
    assert list(compared(corpus, [held, other], tmp_path / "other")) == names
    with pytest.raises(IntervoxError, match="no human corpora"):
        compared(corpus, [held], tmp_path / "none")


def test_recipes_differ_in_what_they_are_to_differ(corpus: Setting) -> None:
    cells, features = corpus
    recipe = small_recipe(loss={"within": "engine"})
    intervox = intervox_recipe(recipe, cells, features)
    assert (intervox.subspaces, intervox.loss) == (recipe.subspaces, recipe.loss)
    assert intervox.training.batches == "crossed"
    # More blocks a step than there are: shuffled cells.
    wide = small_recipe(training={"blocks_per_step": 8})
    assert intervox_recipe(wide, cells, features).training.batches == "shuffled"
    # The paper's recipe in its place has quickstart's training, on halves of the layers.
    of_paper = intervox_recipe(load_recipe("paper"), cells, features)
    assert of_paper.subspaces["speaker"].layers == (0,)
    assert of_paper.subspaces["content"].layers == (1,)
    assert of_paper.loss == load_recipe("quickstart").loss
    paper = paper_recipe(recipe, features, 0)
    assert (paper.shared.width, paper.subspaces["content"].dim) == (features.dim, features.dim // 2)
    assert paper.training == load_recipe("paper").training
    assert paper.corpus == recipe.corpus
    assert lda_recipe(intervox).training.steps == 0
    assert {one.reliability for one in lda_recipe(intervox).subspaces.values()} == {0.0}
    deep = deep_recipe(intervox, cells)
    assert (deep.training.depth, deep.encoder.warp) == ("blocks", 0.5)


def test_a_recipe_that_trains_its_encoder_is_compared_as_it_is(corpus: Setting) -> None:
    deep = small_recipe(training={"depth": "blocks", "steps": 7}, encoder={"map_steps": 11})
    maps = intervox_recipe(deep, *corpus).training
    assert (maps.depth, maps.steps) == ("map", 11)


def test_the_runs_own_model_is_not_trained_again(
    corpus: Setting, sets: list[Prepared], tmp_path: Path
) -> None:
    recipe = intervox_recipe(small_recipe(training={"steps": 20, "blocks_per_step": 2}), *corpus)
    model = refine(*corpus, recipe, tmp_path / "model")
    finished = [tmp_path / "none", tmp_path / "model"]
    found = compare_systems(
        *corpus, None, lambda *_: sets, recipe, 1, tmp_path / "sweep", finished=finished, packaged=model
    )
    taken = [
        path for path in (tmp_path / "sweep").glob("*/model/model.safetensors") if path.stat().st_nlink == 2
    ]
    by_name = {system.name: system.figures for system in found.systems}
    assert by_name[PACKAGED] == by_name[MAP]
    assert len(taken) == 1
    assert taken[0].samefile(tmp_path / "model" / "model.safetensors")


def test_tables_mark_what_differs(corpus: Setting, sets: list[Prepared], tmp_path: Path) -> None:
    recipe = small_recipe()
    found = compare_systems(*corpus, None, lambda *_: sets, recipe, 2, tmp_path)
    tables = like_for_like_tables(found)
    titles = [table.title for table in tables]
    summary, *others = tables
    assert titles[:3] == [
        "Like for like",
        *(f"Speaker EER{part}: like for like" for part in ("", ", differences")),
    ]
    assert summary.header == ["system", "people, speaker EER", "people, one-shot keywords"]
    assert all(" / " in cell for row in summary.rows for cell in row[1:])
    assert all(table.header == ["system", "people"] for table in others)
    rows = dict(others[0].rows)
    assert "*" not in rows[MAP]
    assert "[" in rows["LDA"]
    assert len(like_for_like_tables(found, differences=False)) == 1 + len(others) / 2
