"""Variants of a recipe: which are refused, what is trained, and how they are compared."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from intervox.clips.corpus import Corpus
from intervox.clips.labels import Clips
from intervox.errors import IntervoxError
from intervox.evaluation.representations import BACKBONE, Representation
from intervox.evaluation.results import Difference, Sweep
from intervox.evaluation.studies import sweep
from intervox.evaluation.studies.sweep import HELD_OUT, compare_variants, held_out, light
from intervox.evaluation.studies.variants import (
    MEASURES,
    Variant,
    choose_variants,
    measure,
    parse_vary,
    train_on,
    with_content_trials,
)
from intervox.evaluation.test_sets import CLEAN, CROSS_CONDITION, EVALUATION_SEED, View
from intervox.evaluation.test_sets import TestSet as Prepared
from intervox.evaluation.verification import verify
from intervox.features.store import Features, write_features
from intervox.recipe import EvaluationSettings, Recipe, load_recipe
from intervox.storage import write_json
from intervox.training.refine import refine
from tests.support.corpora import tone_rows, write_corpus
from tests.support.intervals import ends
from tests.support.trials import drawn

LAYERS, DIM = 2, 12
PEOPLE, TEXTS = 18, 8
Found = dict[str, Any]


class World:
    """Clips whose first layer is a voice and whose second is a text, and the cells of a plan."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        random = np.random.default_rng(3)
        self.voices, self.texts = random.normal(size=(PEOPLE, DIM)), random.normal(size=(TEXTS, DIM))
        self.random = random

    def features(self, name: str, grid: list[tuple[int, int]], noise: float) -> Features:
        means = np.array([[self.voices[s], self.texts[c]] for s, c in grid])
        means = np.asarray(means + noise * self.random.normal(size=means.shape), np.float32)
        count = len(grid)
        write_features(
            self.folder / name / "shard-00000.arrow",
            list(range(count)),
            means,
            np.full(count, 50),
            [None] * count,
        )
        about = {"key": name, "backbone": "none", "fingerprint": "f", "window_seconds": 4.0}
        shape = {"layers": LAYERS, "dim": DIM, "clips": count, "frames": False}
        write_json(self.folder / name / "features.json", about | shape)
        return Features(self.folder / name)

    def test_set(self, name: str, people: range, noise: float) -> Prepared:
        grid = [(s, c) for s in people for c in range(TEXTS) for _ in range(2)]
        labels = {
            "speaker": np.array([f"s{s:02d}" for s, _ in grid]),
            "content": np.array([f"t{c}" for _, c in grid]),
        }
        count = len(grid)
        clips = Clips(
            np.array([f"{name} {i}" for i in range(count)]), labels, np.ones(count), np.full(count, "")
        )
        rows = np.arange(count)
        views = {
            condition: View(rows, {BACKBONE: self.features(f"{name}-{condition}", grid, more * noise)}, rows)
            for condition, more in ((CLEAN, 1.0), (CROSS_CONDITION, 1.5))
        }
        return Prepared(name, "none", clips, views, drawn(clips, 2000, EVALUATION_SEED))


def small_recipe(**changes: Any) -> Recipe:
    fields = {
        "name": "small",
        "subspaces": {name: {"factor": name, "dim": 6} for name in ("speaker", "content")},
        "training": {"steps": 3, "blocks_per_step": 2, "warmup_steps": 1, "initialisation": "random"},
        "evaluation": {"bootstrap": 40, "episodes": 5, "max_trials": 2000},
    }
    return Recipe.model_validate(fields | changes)


def plan(people: int = 8) -> tuple[pa.Table, list[tuple[int, int]]]:
    """Make two blocks of half of the people each, every text under two copies, and a test block."""
    rows: list[Found] = []
    grid = []
    for person in range(people):
        for text in range(TEXTS):
            for copy in range(2):
                rows.append(
                    {
                        "cell_id": len(rows),
                        "split": "train",
                        "block": person * 2 // people,
                        "speaker": f"s{person:02d}",
                        "content": f"t{text}",
                        "engine": "espeak" if person % 4 else "kokoro",
                        "condition": "noise" if copy else "clean",
                        "copy": copy,
                    }
                )
                grid.append((person, text))
    rows.append(rows[-1] | {"cell_id": len(rows), "split": "test", "block": 2})
    return pa.Table.from_pylist(rows), [*grid, grid[-1]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


Setting = tuple[pa.Table, Features]


@pytest.fixture
def corpus(world: World) -> Setting:
    cells, grid = plan()
    return cells, world.features("corpus", grid, 0.3)


def test_options_are_crossed_and_read_as_yaml() -> None:
    found = parse_vary(["training.steps=0,5", "subspaces.speaker.layers=[0,1],null", "cells=engine=espeak"])
    assert list(found) == [
        "steps=0, layers=[0, 1], cells=engine=espeak",
        "steps=0, layers=None, cells=engine=espeak",
        "steps=5, layers=[0, 1], cells=engine=espeak",
        "steps=5, layers=None, cells=engine=espeak",
    ]
    assert list(found.values())[1] == {
        "training.steps": 0, "subspaces.speaker.layers": None, "cells": "engine=espeak",
    }  # fmt: skip
    twice = parse_vary(["subspaces.speaker.dim=2", "subspaces.content.dim=3"])
    assert list(twice) == ["subspaces.speaker.dim=2, subspaces.content.dim=3"]
    assert parse_vary([]) == {}


@pytest.mark.parametrize(
    "option", ["training.steps", "training.steps=", "=3", "loss.denominator=[all", "a={"]
)
def test_an_option_of_another_form_is_refused(option: str) -> None:
    with pytest.raises(IntervoxError, match="FIELD=VALUE"):
        parse_vary([option])


def test_a_field_is_varied_once() -> None:
    with pytest.raises(IntervoxError, match=r"training\.steps is given twice"):
        parse_vary(["training.steps=1", "training.steps=2"])


def test_overrides_reach_the_recipe_and_nothing_else_does(corpus: Setting) -> None:
    recipe = small_recipe(sweep={"variants": {"few": {"training.steps": 1, "seed": 7}}})
    further = {"cold": {"subspaces.speaker.temperature": "5e-2", "subspaces.content.layers": [1]}}
    plain, few, cold = choose_variants(recipe, *corpus, further, 1)
    assert (plain.name, plain.recipe) == ("recipe", recipe)
    assert (few.recipe.training.steps, few.recipe.seed) == (1, 7)
    assert few.recipe.model_copy(update={"training": recipe.training, "seed": 0}) == recipe
    assert cold.recipe.subspaces["speaker"].temperature == 0.05
    assert cold.recipe.subspaces["content"].layers == (1,)
    assert plain.mask.sum() == 8 * TEXTS * 2


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ({"backbone": "x"}, "`backbone` can't be varied"),
        ({"corpus.copies": 3}, "`corpus.copies` can't be varied"),
        ({"evaluation.bootstrap": 3}, "`evaluation.bootstrap` can't be varied"),
        ({"loss.denom": "all"}, "unknown field `loss.denom`.*has denominator"),
        ({"subspaces.style.dim": 3}, "unknown field `subspaces.style.dim`"),
        ({"seed.more": 3}, "unknown field `seed.more`"),
        ({"loss.denominator": "most"}, "`loss.denominator` is 'most': it must be 'all' or 'negatives'"),
        ({"training.steps": -1}, "`training.steps` is -1: it must be at least 0"),
        ({"loss": 3}, "`loss` is 3: it must be a mapping"),
        ({"subspaces.speaker.layers": [0, 9]}, r"layers \[0, 9\].*layers 0 to 1"),
        ({"subspaces.speaker.factor": "engine"}, "a speaker and a content subspace"),
        ({"subspaces.speaker.erase": ["mood"]}, "no column 'mood'"),
        ({"loss.within": "mood"}, "no column 'mood'"),
        ({"subspaces.speaker.map": "attentive"}, "reads frames"),
        ({"subspaces.speaker.weight": 0, "subspaces.content.weight": 0}, "every subspace has weight 0"),
        ({"training.validate_every": 5}, "needs validation cells"),
        ({"cells": "dry"}, "write clean or COLUMN=VALUE"),
        ({"cells": "mood=glad"}, "write clean or COLUMN=VALUE"),
        ({"cells": "engine=piper"}, "no training cell has engine 'piper', but espeak, kokoro"),
    ],
)
def test_a_wrong_variant_is_named(overrides: Found, complaint: str, corpus: Setting) -> None:
    with pytest.raises(IntervoxError, match=f"variant 'wrong': .*{complaint}"):
        choose_variants(small_recipe(), *corpus, {"wrong": overrides}, 1)


def test_nothing_to_compare_is_refused_but_seeds_alone_are_something(corpus: Setting) -> None:
    with pytest.raises(IntervoxError, match="nothing to sweep"):
        choose_variants(small_recipe(), *corpus, {}, 1)
    assert [v.name for v in choose_variants(small_recipe(), *corpus, {}, 2)] == ["recipe"]


def test_cells_are_chosen_and_steps_see_as_many_of_them(corpus: Setting) -> None:
    cells, _ = corpus
    further = {"dry": {"cells": "clean"}, "kokoro": {"cells": "engine=kokoro"}}
    _, dry, kokoro = choose_variants(small_recipe(), *corpus, further, 1)
    condition, engine = (np.array(cells[name].to_pylist()) for name in ("condition", "engine"))
    assert set(condition[dry.mask]) == {"clean"}
    assert dry.mask.sum() == 8 * TEXTS
    assert dry.recipe.training.blocks_per_step == 4
    assert set(engine[kokoro.mask]) == {"kokoro"}
    assert not kokoro.mask[-1]
    assert kokoro.recipe.training.blocks_per_step == 8
    split = np.array(train_on(cells, dry.mask)["split"].to_pylist())
    assert set(split[dry.mask]) == {"train"}
    assert split[-1] == "test"
    assert (split == "unused").sum() == 8 * TEXTS


def test_measures_are_those_of_the_evaluation(world: World) -> None:
    test_set = world.test_set("people", range(10), 0.8)
    settings = small_recipe().evaluation
    spaces = {
        "speaker": Representation("speaker", lambda means: np.asarray(means[:, 0])),
        "content": Representation("content", lambda means: np.asarray(means[:, 1])),
    }
    found = measure(spaces, [with_content_trials(test_set, 2000)], settings, MEASURES)
    assert set(found) == {
        "people clean different_text", "people clean same_text_impostors", "people clean one_shot",
        "people clean content_eer", "people clean speaker_leak", "people cross_condition different_text",
        "people cross_condition content_eer",
    }  # fmt: skip
    vectors = {condition: spaces["speaker"].vectors(test_set, condition) for condition in test_set.whole}
    verified = verify(vectors, test_set.trials, test_set.clips, settings.bootstrap, EVALUATION_SEED)
    for condition, strata in verified.conditions.items():
        samples = np.array(found[f"people {condition} different_text"])
        expected = strata["different_text"]
        assert samples[0] == pytest.approx(expected.eer, abs=1e-5)
        assert np.quantile(samples[1:], [0.025, 0.975]) == pytest.approx(expected.eer_interval, abs=1e-5)
    # The second layer knows the text alone: it tells words, and voices by chance.
    assert found["people clean content_eer"][0] < 0.2
    assert found["people clean speaker_leak"][0] == pytest.approx(0.5, abs=0.08)
    worse = measure({**spaces, "content": spaces["speaker"]}, [with_content_trials(test_set, 2000)],
                    settings, ["content_eer"])  # fmt: skip
    assert worse["people clean content_eer"][0] == pytest.approx(0.5, abs=0.08)


def test_content_trials_cross_speakers(world: World) -> None:
    test_set = with_content_trials(world.test_set("people", range(4), 0.1), 2000)
    clips, trials = test_set.clips, test_set.trials["content"]
    for pairs, same in ((trials.targets, True), (trials.impostors, False)):
        first, second = pairs.T
        assert (clips.speakers[first] != clips.speakers[second]).all()
        assert ((clips.contents[first] == clips.contents[second]) == same).all()
    alone = replace(test_set.clips, labels={**clips.labels, "content": clips.speakers})
    assert "content" not in with_content_trials(replace(test_set, clips=alone, trials={}), 2000).trials


def test_seeds_and_speakers_are_resampled_together() -> None:
    random = np.random.default_rng(0)
    one = random.normal(size=(1, 50))
    assert (sweep._over_seeds(one) == one[0]).all()
    # Seeds without any spread over speakers: the deviation is that of their mean, s / √n.
    for values in ([1.0, 5.0], [1.0, 2.0, 6.0], [0.0, 1.0, 2.0, 9.0]):
        joint = sweep._over_seeds(np.repeat(np.array(values)[:, None], 40_001, axis=1))
        assert joint[0] == np.mean(values)
        assert joint[1:].std() == pytest.approx(np.std(values, ddof=1) / np.sqrt(len(values)), rel=0.02)
    assert sweep._over_seeds(np.array([[1.0], [2.0]])).tolist() == [1.5]
    # Speakers without any spread over seeds: theirs alone is left.
    speakers = random.normal(size=4_000)
    same = sweep._over_seeds(np.stack([speakers, speakers]))
    assert same == pytest.approx(speakers)
    # Two variants draw the same seeds: a constant difference has no spread.
    noisy = random.normal(size=(3, 200))
    assert sweep._over_seeds(noisy + 0.25) - sweep._over_seeds(noisy) == pytest.approx(np.full(200, 0.25))


@pytest.fixture
def sets(world: World) -> list[Prepared]:
    return [world.test_set(HELD_OUT, range(8, 13), 0.6), world.test_set("people", range(13, 18), 0.9)]


VARIANTS: Found = {
    "none": {"training.steps": 0},
    "start": {"training.steps": 0, "training.initialisation": "lda"},
}


def compared(corpus: Setting, sets: list[Prepared], folder: Path, seeds: int = 2) -> Sweep:
    recipe = small_recipe()
    variants = choose_variants(recipe, *corpus, VARIANTS, seeds)
    return compare_variants(*corpus, sets, recipe, variants, seeds, folder)


def test_variants_are_compared_with_the_recipe(corpus: Setting, sets: list[Prepared], tmp_path: Path) -> None:
    found = compared(corpus, sets, tmp_path / "sweep")
    assert Sweep.model_validate(json.loads(json.dumps(found.dump()))) == found
    rows = {row.name: row for row in found.variants}
    assert list(rows) == ["recipe", "none", "start"]
    assert [row.steps for row in found.variants] == [[3, 3], [0, 0], [0, 0]]
    assert all(row.seeds == [0, 1] for row in found.variants)
    column = "people clean different_text"
    for row in found.variants:
        figure = row.figures[column]
        assert figure.value == pytest.approx(np.mean(figure.by_seed), abs=1e-5)
        gap = figure.value - rows["recipe"].figures[column].value
        assert figure.difference.value == pytest.approx(gap, abs=2e-5)
        low, high = ends(figure.interval)
        assert low <= figure.value <= high
    assert rows["recipe"].figures[column].difference == Difference(value=0.0, interval="all resamples equal")
    # A random projection depends on its seed, LDA does not; and LDA is much the better.
    assert len(set(rows["none"].figures[column].by_seed)) == 2
    assert len(set(rows["start"].figures[column].by_seed)) == 1
    better = rows["start"].figures[column].difference.interval
    assert ends(better)[1] < 0
    assert found.selected is not None
    assert found.selected.variant == "start"
    # Voices are in the first layer and texts in the second, which the held-out cells show.
    mean, best = found.baselines
    assert (mean.layers, best.layers) == (None, {"speaker": 0, "content": 1})
    assert best.figures[column].value < mean.figures[column].value


def test_the_choice_reads_no_human_column(corpus: Setting, sets: list[Prepared], tmp_path: Path) -> None:
    held, human = sets
    chosen = compared(corpus, sets, tmp_path / "both", 1).selected
    shuffled = np.random.default_rng(0).permutation(len(human.clips))
    reversed_labels = {name: values[shuffled] for name, values in human.clips.labels.items()}
    other = replace(human, clips=replace(human.clips, labels=reversed_labels))
    assert compared(corpus, [held, other], tmp_path / "other", 1).selected == chosen
    assert compared(corpus, [held], tmp_path / "alone", 1).selected == chosen
    without = compared(corpus, [human], tmp_path / "human", 1)
    assert without.selected is None
    assert [row.name for row in without.baselines] == ["raw, mean over layers"]
    with pytest.raises(IntervoxError, match="nothing to measure on"):
        compared(corpus, [], tmp_path / "none", 1)


def test_an_interrupted_sweep_goes_on(
    corpus: Setting, sets: list[Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = compared(corpus, sets, tmp_path / "whole")
    trained: list[tuple[int, int]] = []

    def limited(limit: int) -> Callable[..., Any]:
        def call(cells: Any, features: Any, recipe: Recipe, folder: Path) -> Any:
            if len(trained) == limit:
                raise KeyboardInterrupt
            trained.append((recipe.training.steps, recipe.seed))
            return refine(cells, features, recipe, folder)

        return call

    monkeypatch.setattr(sweep, "refine", limited(3))
    with pytest.raises(KeyboardInterrupt):
        compared(corpus, sets, tmp_path / "cut")
    monkeypatch.setattr(sweep, "refine", limited(100))
    resumed = compared(corpus, sets, tmp_path / "cut")
    assert trained == [(3, 0), (3, 1), (0, 0), (0, 1), (0, 0), (0, 1)]

    def timeless(found: Sweep) -> Sweep:
        rows = [row.model_copy(update={"seconds": []}) for row in found.variants]
        return found.model_copy(update={"variants": rows})

    assert timeless(resumed) == timeless(whole)
    assert compared(corpus, sets, tmp_path / "cut") == resumed
    assert len(trained) == 6
    # Other speech is measured anew with the models that are there.
    compared(corpus, sets[:1], tmp_path / "cut")
    assert len(trained) == 12
    assert len(list((tmp_path / "cut").glob("*/model"))) == 6


def test_held_out_cells_are_those_of_validation_where_there_are_some(tmp_path: Path) -> None:
    rows = tone_rows()
    tested = held_out(Corpus(write_corpus(tmp_path / "tested", rows)))
    assert tested is not None
    assert (tested.name, len(tested.clips)) == ("synthetic", 8)
    for row in rows:
        row["split"] = "validation" if row["block"] == 1 else row["split"]
    validated = held_out(Corpus(write_corpus(tmp_path / "validated", rows)))
    assert validated is not None
    assert (validated.name, len(validated.clips)) == ("validation", 8)
    assert set(validated.clips.speakers) == {"espeak:a", "espeak:b"}
    assert (validated.clips.duration > 0).all()
    for row in rows:
        row["split"] = "train"
    assert held_out(Corpus(write_corpus(tmp_path / "trained", rows))) is None


def test_what_is_not_measured_is_not_extracted() -> None:
    settings = light(EvaluationSettings())
    assert (settings.severities.disturbances, settings.running_minutes, settings.separation) == ((), 0, False)
    assert settings.bootstrap == EvaluationSettings().bootstrap


def test_the_papers_comparison_can_be_trained(tmp_path: Path) -> None:
    recipe = load_recipe("paper")
    conditions = recipe.corpus.conditions
    assert (recipe.corpus.dry_copy, recipe.corpus.copies, conditions.clean) == (True, 2, 0)
    assert all(s.combine == "sum" and s.layers is None for s in recipe.subspaces.values())
    cells, _ = plan()
    write_features(
        tmp_path / "shard-00000.arrow", [0], np.zeros((1, 6, 384), np.float32), np.ones(1, np.int64), [None]
    )
    about = {"backbone": recipe.backbone, "layers": 6, "dim": 384, "clips": 1, "frames": False}
    write_json(tmp_path / "features.json", about)
    variants: list[Variant] = choose_variants(recipe, cells, Features(tmp_path), {}, 1)
    assert len(variants) == 9
    unlike = {(v.recipe.model_dump_json(), v.mask.tobytes()) for v in variants}
    assert len(unlike) == len(variants)


@pytest.mark.long  # the docs' pages sweep a smaller run
@pytest.mark.slow
@pytest.mark.end_to_end
def test_the_command_sweeps_a_run(
    mini_run: Path, command: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    run = tmp_path / "mini"
    shutil.copytree(mini_run, run)
    words = ("mini", "--folder", str(run))
    refused = command("sweep", *words, "--vary", "training.steps=0,-2")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("error: variant 'steps=-2': `training.steps`")
    assert not (run / "sweep").exists()
    done = command("sweep", *words, "--vary", "training.steps=0", "--vary", "cells=clean", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((run / "sweep.json").read_text())
    assert (run / "sweep.svg").read_text().count("<svg") == 1
    assert [row["name"] for row in found["variants"]] == ["recipe", "steps=0, cells=clean"]
    assert 0 < found["variants"][1]["cells"] < found["variants"][0]["cells"]
    # The recipe's own variant is the run's model, measured on the same cells and trials.
    verification = json.loads((run / "metrics.json").read_text())["verification"]
    own = verification["synthetic"]["speaker"]["clean"]["different_text"]["eer"]
    figures = found["variants"][0]["figures"]
    assert figures["held-out clean different_text"]["value"] == pytest.approx(own, abs=1e-5)
    page = tmp_path / "page.md"
    page.write_text("<!-- tables: begin -->\n<!-- tables: end -->\n")
    assert command("tables", str(run), "--of", "sweep", "--into", str(page)).returncode == 0
    assert "Sweep on held-out: recipe mini" in page.read_text()
