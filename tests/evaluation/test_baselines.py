import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from intervox.clips.labels import UNLABELLED
from intervox.errors import IntervoxError
from intervox.evaluation.baselines import ABOUT, CLOSED_FORM, fit_baselines, observational_representations
from intervox.evaluation.baselines.closed_form import Affine, Task, within
from intervox.evaluation.representations import FROZEN
from intervox.features.store import Features, write_features
from intervox.model.model import SubspaceModel
from intervox.recipe import EvaluationSettings, Recipe
from intervox.recipe.training import SubspaceSettings, TrainingSettings
from intervox.storage import write_json
from intervox.training.cells import TrainingCells
from intervox.training.refine import refine

BLOCKS, SIZE, LAYERS, DIM = 6, 5, 2, 30
Labels = NDArray[np.int64]


def crossed() -> tuple[Labels, Labels, Labels]:
    """Blocks, speakers and contents of crossed blocks, two cells a pair; a speaker is in two blocks."""
    axes = np.meshgrid(np.arange(BLOCKS), np.arange(SIZE), np.arange(SIZE), np.arange(2), indexing="ij")
    block, speaker, content, _ = (axis.ravel() for axis in axes)
    return block, block // 2 * SIZE + speaker, block * SIZE + content


def speech_like(rank: int = 3, noise: float = 0.2) -> NDArray[np.float32]:
    """Make layer means (cells, layers, dim): speaker and content each in a few directions, and noise."""
    random = np.random.default_rng(0)
    block, speaker, content = crossed()
    width = LAYERS * DIM
    bases = np.linalg.qr(random.normal(size=(width, 2 * rank)))[0]
    who = random.normal(size=(speaker.max() + 1, rank)) @ bases[:, :rank].T
    what = 2 * random.normal(size=(content.max() + 1, rank)) @ bases[:, rank:].T
    means = who[speaker] + what[content] + noise * random.normal(size=(len(block), width))
    return np.asarray(means.reshape(-1, LAYERS, DIM), np.float32)


def task(dim: int = 4) -> Task:
    block, speaker, content = crossed()
    inputs = speech_like().reshape(len(block), -1)
    return Task(inputs, block, speaker, (content,), dim, 0.1, 0)


def nearest(vectors: NDArray[np.floating], labels: Labels) -> float:
    """Share of cells whose nearest other cell, by cosine, has their label."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = units @ units.T - 2 * np.eye(len(units))
    return float(np.mean(labels[scores.argmax(axis=1)] == labels))


def class_means(vectors: NDArray[np.floating], labels: Labels) -> NDArray[np.floating]:
    return np.stack([vectors[labels == label].mean(axis=0) for label in np.unique(labels)])


def needs(name: str) -> None:
    if name == "leace":
        pytest.importorskip("concept_erasure", reason="the extra baselines is not installed")


@pytest.mark.parametrize("name", CLOSED_FORM)
def test_every_baseline_gives_the_dims_asked_for(name: str) -> None:
    needs(name)
    given = CLOSED_FORM[name].fit(task())(task().inputs)
    assert given.shape == (len(task().inputs), 4)
    assert given.dtype == np.float32
    assert np.isfinite(given).all()
    assert name in ABOUT


def test_random_projection_follows_the_seed() -> None:
    fit = CLOSED_FORM["random"].fit
    np.testing.assert_array_equal(fit(task()).weight, fit(task()).weight)
    assert not np.array_equal(fit(task()).weight, fit(replace(task(), seed=1)).weight)


def test_pca_and_whitening_have_the_variances_of_the_covariance() -> None:
    inputs = task().inputs
    largest = np.linalg.eigvalsh(np.cov(inputs.T))[::-1][:4]
    np.testing.assert_allclose(CLOSED_FORM["pca"].fit(task())(inputs).var(axis=0, ddof=1), largest, rtol=1e-3)
    white = CLOSED_FORM["whitening"].fit(task())(inputs)
    np.testing.assert_allclose(np.cov(white.T), np.eye(4), atol=2e-3)


def test_lda_is_that_of_scikit_learn_and_skips_unlabelled_cells() -> None:
    given = replace(task(), shrinkage=0.0)
    given.labels[::7] = UNLABELLED
    known = given.labels != UNLABELLED
    ours = CLOSED_FORM["lda"].fit(given)(given.inputs)
    theirs = LinearDiscriminantAnalysis(solver="eigen").fit(given.inputs[known], given.labels[known])
    expected = (given.inputs - given.inputs[known].mean(axis=0)) @ theirs.scalings_[:, :4]
    np.testing.assert_allclose(np.abs(ours), np.abs(expected), rtol=5e-3, atol=5e-3)


def test_leace_leaves_no_linear_trace_of_the_content() -> None:
    needs("leace")
    inputs, content = task().inputs, task().others[0]
    erased = CLOSED_FORM["leace"].fit(task(LAYERS * DIM))(inputs)
    scores = [LogisticRegression(max_iter=300).fit(x, content).score(x, content) for x in (inputs, erased)]
    assert scores[0] > 0.9
    # Of the block something is left, as the block is known from its speakers; 1/5 is chance within it.
    assert scores[1] < 0.25
    assert nearest(erased[:, :4], task().labels) > 0.6


def test_collapse_takes_out_just_the_directions_of_the_class_means() -> None:
    width = LAYERS * DIM
    kept = CLOSED_FORM["collapse"].fit(task(width))
    means = class_means(task().inputs, task().others[0])
    spread, left = (np.square(m - m.mean(axis=0)).sum() for m in (means, kept(means.astype(np.float32))))
    assert left < 0.05 * spread
    # The content was put into three directions: so many are gone, and the others untouched.
    singular = np.linalg.svd(kept.weight, compute_uv=False)
    np.testing.assert_allclose(singular[: width - 3], 1, atol=1e-4)
    np.testing.assert_allclose(singular[width - 3 :], 0, atol=1e-4)


def test_svd_finds_the_codes_that_contents_share() -> None:
    given = replace(task(3), shrinkage=1e-6)
    codes = CLOSED_FORM["svd"].fit(given)(given.inputs)
    pca = CLOSED_FORM["pca"].fit(given)(given.inputs)
    assert nearest(codes, given.labels) > 0.6 > 0.3 > nearest(pca, given.labels)
    # Without noise the factorisation is exact: codes do not depend on what is said.
    block, speaker, _ = crossed()
    exact = replace(given, inputs=speech_like(noise=1e-4).reshape(len(block), -1), shrinkage=1e-9)
    codes = CLOSED_FORM["svd"].fit(exact)(exact.inputs)
    spread = codes - class_means(codes, speaker)[speaker]
    assert spread.std() < 0.01 * codes.std()


@pytest.mark.parametrize("name", ["leace", "collapse"])
def test_several_factors_are_all_removed(name: str) -> None:
    needs(name)
    random = np.random.default_rng(1)
    given = task(LAYERS * DIM)
    style = random.integers(3, size=len(given.inputs))
    style[:40] = UNLABELLED
    inputs = given.inputs + random.normal(size=(4, LAYERS * DIM))[style].astype(np.float32)
    both = replace(given, inputs=inputs, others=(*given.others, style))
    kept = CLOSED_FORM[name].fit(both)(inputs)
    for labels in both.others:
        known = labels != UNLABELLED
        before, after = (
            class_means(within(v, given.blocks)[known], labels[known]).var() / v.var() for v in (inputs, kept)
        )
        assert after < 0.1 * before
    alone = replace(given, others=())
    pca = CLOSED_FORM["pca"].fit(alone)(given.inputs)
    np.testing.assert_allclose(np.abs(CLOSED_FORM[name].fit(alone)(given.inputs)), np.abs(pca), atol=1e-4)


def test_affine_maps_compose() -> None:
    random = np.random.default_rng(0)
    first = Affine(random.normal(size=(3, 5)), random.normal(size=3))
    second = Affine(random.normal(size=(2, 3)), random.normal(size=2))
    inputs = random.normal(size=(4, 5)).astype(np.float32)
    np.testing.assert_allclose(first.then(second)(inputs), second(first(inputs)), atol=1e-5)


@pytest.fixture
def world(tmp_path: Path) -> tuple[pa.Table, Features]:
    """Make the plan and the features of the crossed cells."""
    block, speaker, content = crossed()
    means = speech_like()
    count = len(means)
    folder = tmp_path / "features"
    frames = np.full(count, 50)
    write_features(folder / "shard-00000.arrow", list(range(count)), means, frames, [None] * count)
    about = {"key": "k", "backbone": "none", "fingerprint": "f", "layers": LAYERS, "dim": DIM}
    write_json(folder / "features.json", about | {"window_seconds": 4.0, "clips": count, "frames": False})
    plan = pa.table(
        {
            "block": block,
            "split": ["train"] * count,
            "speaker": [f"s{value}" for value in speaker],
            "content": [f"c{value}" for value in content],
        }
    )
    return plan, Features(folder)


def recipe() -> Recipe:
    return Recipe(
        subspaces={
            "speaker": SubspaceSettings(factor="speaker", dim=4, layers=(0,)),
            "content": SubspaceSettings(factor="content", dim=3, combine="sum"),
        },
        training=TrainingSettings(steps=12, blocks_per_step=2, checkpoint_every=5),
    )


def fitted(names: list[str], plan: Recipe) -> tuple[SubspaceModel, list[NDArray[np.float32]], list[str]]:
    block, speaker, content = crossed()
    means = speech_like()
    settings = {name: s.model_dump() for name, s in plan.subspaces.items()}
    model = SubspaceModel("none", LAYERS, DIM, settings)
    model.set_standardisation(*map(torch.from_numpy, (means.mean(axis=0), means.std(axis=0, ddof=1))))
    labels = {"speaker": speaker, "content": content}
    chosen = TrainingCells(np.arange(len(means)), block, labels)
    found = fit_baselines(names, model, plan, means, chosen)
    assert {r.encoder for r in found} == {FROZEN}
    return model, [r.embed(means[:9]) for r in found], [r.name for r in found]


def test_baselines_have_the_layers_and_dims_of_their_subspace() -> None:
    model, vectors, names = fitted(["pca", "lda"], recipe())
    assert names == ["pca.speaker", "lda.speaker", "pca.content", "lda.content"]
    assert [v.shape for v in vectors] == [(9, 4), (9, 4), (9, 3), (9, 3)]
    for v in vectors:
        np.testing.assert_allclose(np.linalg.norm(v, axis=1), 1, atol=1e-5)
    means = speech_like()
    low = model.standardise(torch.from_numpy(means)).numpy()[:, 0]
    expected = CLOSED_FORM["pca"].fit(replace(task(), inputs=low))(low[:9])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors[0], expected, atol=1e-4)


def test_a_recipe_can_ask_for_every_closed_form() -> None:
    assert EvaluationSettings.model_validate({"baselines": list(CLOSED_FORM)}).baselines == tuple(CLOSED_FORM)


def test_a_baseline_that_is_listed_twice_is_fitted_once() -> None:
    assert fitted(["pca", "lda", "pca"], recipe())[2] == fitted(["pca", "lda"], recipe())[2]


def test_unknown_and_missing_baselines_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IntervoxError, match="there is no baseline 'ica': choose from random, pca"):
        fitted(["ica"], recipe())
    monkeypatch.setitem(sys.modules, "concept_erasure", None)
    with pytest.raises(IntervoxError, match=r"pip install .*\[baselines\]"):
        fitted(["leace"], recipe())


def test_observational_training_differs_by_its_batches_alone(
    world: tuple[pa.Table, Features], tmp_path: Path
) -> None:
    cells, features = world
    found = observational_representations(cells, features, recipe(), tmp_path / "observational")
    assert sorted(r.name for r in found) == ["observational.content", "observational.speaker"]
    means = features.rows()
    crossed_model = refine(cells, features, recipe(), tmp_path / "model").project(means)
    still = recipe().training.model_copy(update={"steps": 0})
    starts = []
    for batches in ("crossed", "observational"):
        training = still.model_copy(update={"batches": batches})
        plan = recipe().model_copy(update={"training": training})
        starts.append(refine(cells, features, plan, tmp_path / batches / "start").project(means)["speaker"])
    np.testing.assert_array_equal(starts[0], starts[1])
    ours = next(r for r in found if r.name == "observational.speaker").embed(means)
    assert not np.allclose(ours, crossed_model["speaker"], atol=1e-4)
    again = observational_representations(cells, features, recipe(), tmp_path / "observational")
    np.testing.assert_array_equal(next(r for r in again if r.name.endswith("speaker")).embed(means), ours)
