import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from intervox.errors import IntervoxError
from intervox.features.store import Features, write_features
from intervox.recipe import Recipe
from intervox.recipe_training import LossSettings, SubspaceSettings, TrainingSettings
from intervox.storage import write_json
from intervox.subspaces import training
from intervox.subspaces.lda import fit_lda
from intervox.subspaces.losses import UNLABELLED
from intervox.subspaces.model import SubspaceModel
from intervox.subspaces.sampler import BlockSampler, ObservationalSampler
from intervox.subspaces.training import refine, training_cells

SPEAKERS, CONTENTS, LAYERS, DIM = 12, 10, 3, 16


@pytest.fixture
def world(tmp_path: Path) -> tuple[pa.Table, Features]:
    """Make crossed cells whose means are speaker + content + noise, in three blocks."""
    random = np.random.default_rng(0)
    voices = random.normal(size=(SPEAKERS, LAYERS, DIM))
    texts = random.normal(size=(CONTENTS, LAYERS, DIM))
    rows: list[dict[str, object]] = []
    means = []
    for speaker in range(SPEAKERS):
        for content in range(CONTENTS):
            rows.append(
                {
                    "cell_id": len(rows),
                    "block": speaker // 4,
                    "split": "train",
                    "speaker": f"s{speaker}",
                    "content": f"c{content}",
                    "style": "" if content % 2 else f"x{content % 4}",
                }
            )
            means.append(voices[speaker] + texts[content] + 0.1 * random.normal(size=(LAYERS, DIM)))
    folder = tmp_path / "features"
    stacked = np.asarray(means, np.float32)
    count = len(rows)
    write_features(
        folder / "shard-00000.arrow", list(range(count)), stacked, np.full(count, 50), [None] * count
    )
    write_json(
        folder / "features.json",
        {
            "key": "k",
            "backbone": "none",
            "fingerprint": "f",
            "layers": LAYERS,
            "dim": DIM,
            "window_seconds": 4.0,
            "clips": count,
        },
    )
    return pa.Table.from_pylist(rows), Features(folder)


def recipe(steps: int = 30, **subspace: object) -> Recipe:
    settings = {"dim": 8, **subspace}
    return Recipe(
        subspaces={
            name: SubspaceSettings.model_validate({"factor": name, **settings})
            for name in ("speaker", "content")
        },
        training=TrainingSettings(steps=steps, blocks_per_step=2, learning_rate=3e-3, checkpoint_every=10,
                                  initialisation="random"),
    )  # fmt: skip


def accuracy(vectors: np.ndarray, labels: list[str]) -> float:
    """Share of cells whose nearest other cell has their label."""
    scores = vectors @ vectors.T - 2 * np.eye(len(vectors))
    nearest = np.asarray(labels)[scores.argmax(axis=1)]
    return float(np.mean(nearest == np.asarray(labels)))


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("combine", ["sum", "concat"])
def test_training_separates_the_factors(
    world: tuple[pa.Table, Features], tmp_path: Path, kind: str, combine: str
) -> None:
    cells, features = world
    model = refine(cells, features, recipe(120, map=kind, combine=combine), tmp_path / "model")
    spaces = model.project(features.rows())
    for space, other in (("speaker", "content"), ("content", "speaker")):
        assert accuracy(spaces[space], cells[space].to_pylist()) > 0.95
        assert accuracy(spaces[space], cells[other].to_pylist()) < 0.3
        np.testing.assert_allclose(np.linalg.norm(spaces[space], axis=1), 1, atol=1e-5)
        weights = model.layer_weights()[space]
        assert sum(weights.values()) == pytest.approx(1)
    history = json.loads((tmp_path / "model" / "training.json").read_text())["history"]
    assert history[-1]["total"] < history[0]["total"]


def test_a_third_factor_with_missing_labels_needs_no_code(
    world: tuple[pa.Table, Features], tmp_path: Path
) -> None:
    cells, features = world
    plan = recipe(20)
    style = SubspaceSettings(factor="style", dim=4)
    plan = plan.model_copy(update={"subspaces": {**plan.subspaces, "style": style}})
    model = refine(cells, features, plan, tmp_path / "model")
    assert model.project(features.rows())["style"].shape == (len(features), 4)
    chosen = training_cells(cells, features, {"style"})
    assert set(chosen.labels["style"][1::2]) == {-1}
    with pytest.raises(IntervoxError, match="no column 'mood'"):
        training_cells(cells, features, {"mood"})


def test_the_start_is_the_closed_form(world: tuple[pa.Table, Features], tmp_path: Path) -> None:
    cells, features = world
    plan = recipe(0, reliability=0)
    plan = plan.model_copy(update={"training": plan.training.model_copy(update={"initialisation": "lda"})})
    model = refine(cells, features, plan, tmp_path / "model")
    means = features.rows()
    standard = model.standardise(torch.from_numpy(means)).numpy().reshape(len(means), -1)
    labels = np.unique(cells["speaker"].to_pylist(), return_inverse=True)[1]
    lda = fit_lda(standard, labels, 8, 0.1)
    expected = standard @ lda.weight.T + lda.bias
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(model.project(means)["speaker"], expected, atol=1e-4)


def test_lda_agrees_with_scikit_learn() -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    random = np.random.default_rng(1)
    labels = np.repeat(np.arange(6), 30)
    inputs = (random.normal(size=(6, 10))[labels] + random.normal(size=(180, 10))).astype(np.float32)
    ours = fit_lda(inputs, labels, 5, 0.0)
    theirs = LinearDiscriminantAnalysis(solver="eigen").fit(inputs, labels)
    a = inputs @ ours.weight.T + ours.bias
    b = (inputs - inputs.mean(axis=0)) @ theirs.scalings_[:, :5]
    np.testing.assert_allclose(np.abs(a), np.abs(b), rtol=2e-3, atol=2e-3)
    assert np.all(np.diff(ours.reliability) <= 1e-6)
    assert ours.reliability.max() < 1
    few = fit_lda(inputs, labels, 100, 0.0)
    assert few.weight.shape == (5, 10)


def test_a_killed_training_ends_in_the_same_bytes(
    world: tuple[pa.Table, Features], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, features = world
    refine(cells, features, recipe(), tmp_path / "whole")
    calls = 0
    real = training._loss

    def fails_late(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 24:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "_loss", fails_late)
    with pytest.raises(KeyboardInterrupt):
        refine(cells, features, recipe(), tmp_path / "cut")
    assert (tmp_path / "cut" / "checkpoint.safetensors").exists()
    monkeypatch.setattr(training, "_loss", real)
    refine(cells, features, recipe(), tmp_path / "cut")
    for name in ("model.safetensors", "training.json", "config.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "cut" / "checkpoint.safetensors").exists()


def test_blocks_follow_from_seed_and_step() -> None:
    blocks = np.repeat(np.arange(7), 5)
    labels = {"speaker": np.arange(35) % 5}

    def cells(step: int, seed: int = 0) -> np.ndarray:
        return BlockSampler(blocks, labels, 3, seed).batch(step)[0]

    seen = [set(blocks[cells(step)].tolist()) for step in range(14)]
    assert all(len(step) in (2, 3) for step in seen)  # two only where an epoch ends inside a step
    counts = np.bincount([block for step in seen for block in step], minlength=7)
    assert counts.min() >= 5
    np.testing.assert_array_equal(cells(9), cells(9))
    assert any(not np.array_equal(cells(s), cells(s, seed=1)) for s in range(5))
    batch, known = BlockSampler(blocks, labels, 3, 0).batch(4)
    np.testing.assert_array_equal(known["speaker"], labels["speaker"][batch])


def grid(blocks: int = 6, speakers: int = 3, contents: int = 4, copies: int = 2) -> dict[str, np.ndarray]:
    """Labels of fully crossed blocks that share no speaker and no text."""
    axes = np.meshgrid(*(np.arange(n) for n in (blocks, speakers, contents, copies)), indexing="ij")
    block, speaker, content, _ = (axis.ravel() for axis in axes)
    return {"block": block, "speaker": block * speakers + speaker, "content": block * contents + content}


def test_observational_batches_cross_nothing() -> None:
    cells = grid()
    labels = {factor: cells[factor] for factor in ("speaker", "content")}
    sampler = ObservationalSampler(cells["block"], labels, 1, seed=0)
    crossed = BlockSampler(cells["block"], labels, 1, seed=0).batch(0)[1]
    for step in range(5):
        batch, known = sampler.batch(step)
        np.testing.assert_array_equal(batch, sampler.batch(step)[0])
        for factor, other in (("speaker", "content"), ("content", "speaker")):
            part = known[factor] != UNLABELLED
            np.testing.assert_array_equal(known[factor][part], labels[factor][batch[part]])
            # As many cells, classes and positives as a crossed batch has...
            assert part.sum() == len(crossed[factor])
            assert sorted(np.unique(known[factor][part], return_counts=True)[1]) == sorted(
                np.unique(crossed[factor], return_counts=True)[1]
            )
            # ...and no negative that shares the other factor.
            held = labels[other][batch[part]]
            negative = known[factor][part][:, None] != known[factor][part]
            assert not (negative & (held[:, None] == held)).any()
        assert not ((known["speaker"] != UNLABELLED) & (known["content"] != UNLABELLED)).any()


def test_observational_batches_leave_unlabelled_cells_out() -> None:
    cells = grid()
    style = np.where(cells["block"] < 2, cells["speaker"] % 2, UNLABELLED)
    sampler = ObservationalSampler(cells["block"], {"style": style, "mood": style * 0 - 1}, 3, seed=0)
    batch, known = sampler.batch(0)
    assert set(cells["block"][batch].tolist()) == {0, 1}
    assert UNLABELLED not in known["style"]
    assert set(known["mood"].tolist()) == {UNLABELLED}


def test_layers_beyond_the_backbone_and_mlp_from_lda_say_so() -> None:
    with pytest.raises(IntervoxError, match="layers 0 to 2"):
        SubspaceModel("none", 3, 4, {"speaker": {"factor": "speaker", "layers": [3]}})
    model = SubspaceModel("none", 3, 4, {"speaker": {"factor": "speaker", "map": "mlp"}})
    lda = fit_lda(np.eye(6, 12, dtype=np.float32), np.arange(6) % 3, 2, 0.5)
    with pytest.raises(IntervoxError, match="initialisation to random"):
        model.initialise("speaker", lda)


def test_loss_settings_reach_the_loss(world: tuple[pa.Table, Features], tmp_path: Path) -> None:
    cells, features = world
    plan = recipe(1).model_copy(update={"loss": LossSettings(cross_covariance=0)})
    refine(cells, features, plan, tmp_path / "model")
    record = json.loads((tmp_path / "model" / "training.json").read_text())["history"][0]
    assert "cross_covariance" not in record
    assert record["total"] == pytest.approx(record["speaker"] + record["content"], rel=1e-5)
