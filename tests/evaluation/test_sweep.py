"""How variants are trained and compared, and what is chosen by."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intervox.clips.corpus import Corpus
from intervox.errors import IntervoxError
from intervox.evaluation.results import Difference, Sweep
from intervox.evaluation.studies import trainings
from intervox.evaluation.studies.sweep import HELD_OUT, compare_variants, held_out, light
from intervox.evaluation.studies.variants import Variant, choose_variants
from intervox.evaluation.test_sets import TestSet as Prepared
from intervox.features.store import Features, write_features
from intervox.recipe import EvaluationSettings, Recipe, load_recipe
from intervox.storage import write_json
from intervox.training.refine import refine
from tests.support.corpora import tone_rows, write_corpus
from tests.support.intervals import ends
from tests.support.variants import Found, Setting, World, plan, small_recipe


def test_seeds_and_speakers_are_resampled_together() -> None:
    random = np.random.default_rng(0)
    one = random.normal(size=(1, 50))
    assert (trainings.over_seeds(one) == one[0]).all()
    # Seeds without any spread over speakers: the deviation is that of their mean, s / √n.
    for values in ([1.0, 5.0], [1.0, 2.0, 6.0], [0.0, 1.0, 2.0, 9.0]):
        joint = trainings.over_seeds(np.repeat(np.array(values)[:, None], 40_001, axis=1))
        assert joint[0] == np.mean(values)
        assert joint[1:].std() == pytest.approx(np.std(values, ddof=1) / np.sqrt(len(values)), rel=0.02)
    assert trainings.over_seeds(np.array([[1.0], [2.0]])).tolist() == [1.5]
    # Speakers without any spread over seeds: theirs alone is left.
    speakers = random.normal(size=4_000)
    same = trainings.over_seeds(np.stack([speakers, speakers]))
    assert same == pytest.approx(speakers)
    # Two variants draw the same seeds: a constant difference has no spread.
    noisy = random.normal(size=(3, 200))
    assert trainings.over_seeds(noisy + 0.25) - trainings.over_seeds(noisy) == pytest.approx(
        np.full(200, 0.25)
    )


@pytest.fixture
def sets(world: World) -> list[Prepared]:
    return [world.test_set(HELD_OUT, range(8, 13), 0.6), world.test_set("people", range(13, 18), 0.9)]


VARIANTS: Found = {
    "none": {"training.steps": 0},
    "start": {"training.steps": 0, "training.initialisation": "lda"},
}


def compared(corpus: Setting, sets: list[Prepared], folder: Path, seeds: int = 2) -> Sweep:
    recipe = small_recipe()
    cells, features = corpus
    variants = choose_variants(recipe, cells, lambda *_: features, VARIANTS, seeds)
    return compare_variants(cells, None, lambda *_: sets, recipe, variants, seeds, folder)


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


@pytest.mark.slow
def test_trainings_side_by_side_are_those_of_one_process(
    corpus: Setting, sets: list[Prepared], tmp_path: Path
) -> None:
    recipe = small_recipe()
    cells, features = corpus
    variants = choose_variants(recipe, cells, lambda *_: features, VARIANTS, 2)
    alone, beside = (
        compare_variants(cells, None, lambda *_: sets, recipe, variants, 2, tmp_path / str(workers), workers)
        for workers in (1, 2)
    )
    for one, other in zip(alone.variants, beside.variants, strict=True):
        assert one.steps == other.steps
        for column, figure in one.figures.items():
            assert figure.by_seed == pytest.approx(other.figures[column].by_seed, abs=1e-3)
    homes = [sorted(p.parent.name for p in (tmp_path / name).glob("*/model")) for name in ("1", "2")]
    assert homes[0] == homes[1]


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
        def call(cells: Any, features: Any, recipe: Recipe, folder: Path, waves: Any) -> Any:
            if len(trained) == limit:
                raise KeyboardInterrupt
            trained.append((recipe.training.steps, recipe.seed))
            return refine(cells, features, recipe, folder, waves)

        return call

    monkeypatch.setattr(trainings, "refine", limited(3))
    with pytest.raises(KeyboardInterrupt):
        compared(corpus, sets, tmp_path / "cut")
    monkeypatch.setattr(trainings, "refine", limited(100))
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
    cells, _ = plan()
    write_features(
        tmp_path / "shard-00000.arrow", [0], np.zeros((1, 6, 384), np.float32), np.ones(1, np.int64), [None]
    )
    about = {"backbone": recipe.backbone, "layers": 6, "dim": 384, "clips": 1, "frames": False}
    write_json(tmp_path / "features.json", about)
    variants: list[Variant] = choose_variants(recipe, cells, lambda *_: Features(tmp_path), {}, 1)
    assert len(variants) == 11
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
