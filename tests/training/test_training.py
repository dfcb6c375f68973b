from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from intervox.clips.labels import UNLABELLED
from intervox.errors import IntervoxError
from intervox.features.store import Features
from intervox.model.closed_form import fit_lda
from intervox.model.model import SubspaceModel
from intervox.recipe import Recipe
from intervox.recipe.training import TrainingSettings
from intervox.training import loop
from intervox.training import start as training
from intervox.training.cells import training_cells
from intervox.training.checkpoint import TrainingRecord
from intervox.training.loop import Step
from intervox.training.losses import MultiPart
from intervox.training.refine import check_settings, refine, training_key
from intervox.training.schedule import schedule
from intervox.training.start import mean_and_deviation
from tests.support.crossed import crossed_corpus
from tests.support.crossed import crossed_recipe as recipe

World = tuple[pa.Table, Features]
WEIGHT = "subspaces.speaker.map.weight"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return crossed_corpus(tmp_path / "features")


@pytest.fixture
def held_out_world(tmp_path: Path) -> World:
    return crossed_corpus(tmp_path / "features", held_out=4)


def accuracy(vectors: np.ndarray, labels: list[str]) -> float:
    """Share of cells whose nearest other cell has their label."""
    scores = vectors @ vectors.T - 2 * np.eye(len(vectors))
    nearest = np.asarray(labels)[scores.argmax(axis=1)]
    return float(np.mean(nearest == np.asarray(labels)))


@pytest.mark.parametrize(
    ("kind", "combine"),
    [(kind, "concat") for kind in ("linear", "mlp", "attentive")] + [("linear", "sum"), ("attentive", "sum")],
)
def test_training_separates_the_factors(world: World, tmp_path: Path, kind: str, combine: str) -> None:
    cells, features = world
    model = refine(cells, features, recipe({"steps": 120}, map=kind, combine=combine), tmp_path / "model")
    spaces = model.project(features.rows())
    for space, other in (("speaker", "content"), ("content", "speaker")):
        assert accuracy(spaces[space], cells[space].to_pylist()) > 0.95
        assert accuracy(spaces[space], cells[other].to_pylist()) < 0.3
        np.testing.assert_allclose(np.linalg.norm(spaces[space], axis=1), 1, atol=1e-5)
        weights = model.layer_weights()[space]
        assert sum(weights.values()) == pytest.approx(1)
    history = TrainingRecord.read(tmp_path / "model").history
    assert history[-1].total < history[0].total


def test_a_third_factor_with_missing_labels_needs_no_code(world: World, tmp_path: Path) -> None:
    cells, features = world
    plan = recipe({"steps": 20})
    style = plan.subspaces["speaker"].model_copy(update={"factor": "style", "dim": 4})
    plan = plan.model_copy(update={"subspaces": {**plan.subspaces, "style": style}})
    model = refine(cells, features, plan, tmp_path / "model")
    assert model.project(features.rows())["style"].shape == (len(features), 4)
    chosen = training_cells(cells, features, {"style"})
    assert set(chosen.labels["style"][1::2]) == {-1}
    with pytest.raises(IntervoxError, match="no column 'mood'"):
        training_cells(cells, features, {"mood"})


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"loss": {"within": "mood"}}, "no column 'mood'"),
        ({"subspaces": {"speaker": {"factor": "speaker", "layers": [9]}}}, "layers 0 to 5"),
        ({"subspaces": {"training": {"factor": "speaker"}}}, "'training' can't be a name"),
        ({"subspaces": {"speaker": {"factor": "speaker", "weight": 0}}}, "every subspace has weight 0"),
    ],
)
def test_what_would_stop_a_training_is_found_without_its_cells(
    fields: dict[str, object], complaint: str
) -> None:
    plan = ["speaker", "content", "engine"]
    check_settings(Recipe(), 6, 8, plan)
    with pytest.raises(IntervoxError, match=complaint):
        check_settings(Recipe.model_validate(fields), 6, 8, plan)


def test_the_start_is_the_closed_form(world: World, tmp_path: Path) -> None:
    cells, features = world
    plan = recipe({"steps": 0, "initialisation": "lda"}, reliability=0)
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


EVERYTHING = (
    {"validate_every": 4, "clip_gradient": 0.5, "checkpoint_every": 7, "crop_seconds": 0.1},
    {"adversary": 0.3, "within": "engine", "hard_negatives": 0.5, "chunk": 16},
)


@pytest.mark.slow
@pytest.mark.parametrize("call", [1, 8, 30])
@pytest.mark.parametrize("settings", [({}, {}), EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("kind", ["linear", "attentive"])
def test_a_killed_training_ends_in_the_same_bytes(
    held_out_world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: tuple[dict[str, object], dict[str, object]],
    kind: str,
    call: int,
) -> None:
    cells, features = held_out_world
    plan = recipe(*settings, map=kind)
    refine(cells, features, plan, tmp_path / "whole")
    calls = 0
    real = schedule

    def fails_late(step: int, settings: TrainingSettings) -> float:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KeyboardInterrupt
        return real(step, settings)

    monkeypatch.setattr(loop, "schedule", fails_late)
    with pytest.raises(KeyboardInterrupt):
        refine(cells, features, plan, tmp_path / "cut")
    assert (tmp_path / "cut" / "checkpoint.safetensors").exists() == (call > plan.training.checkpoint_every)
    monkeypatch.setattr(loop, "schedule", real)
    refine(cells, features, plan, tmp_path / "cut")
    for name in ("model.safetensors", "training.json", "config.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "cut" / "checkpoint.safetensors").exists()


def test_layers_beyond_the_backbone_and_mlp_from_lda_say_so() -> None:
    with pytest.raises(IntervoxError, match="layers 0 to 2"):
        SubspaceModel("none", 3, 4, {"speaker": {"factor": "speaker", "layers": [3]}})
    model = SubspaceModel("none", 3, 4, {"speaker": {"factor": "speaker", "map": "mlp"}})
    lda = fit_lda(np.eye(6, 12, dtype=np.float32), np.arange(6) % 3, 2, 0.5)
    with pytest.raises(IntervoxError, match="initialisation to random"):
        model.initialise("speaker", lda)


def test_loss_settings_reach_the_loss(world: World, tmp_path: Path) -> None:
    cells, features = world
    refine(cells, features, recipe({"steps": 1}, {"cross_covariance": 0}), tmp_path / "model")
    first = TrainingRecord.read(tmp_path / "model").history[0]
    assert first.parts.keys() == {"speaker", "content"}
    assert first.total == pytest.approx(sum(first.parts.values()), rel=1e-5)


def test_standardisation_is_exact_in_chunks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _, features = world
    monkeypatch.setattr(training, "_ROWS_AT_ONCE", 7)
    rows = np.arange(5, 100)
    mean, deviation = mean_and_deviation(features, rows)
    exact = features.rows(rows).astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=0, atol=1e-12)
    np.testing.assert_allclose(deviation, exact.std(axis=0, ddof=1), rtol=1e-12)


def test_the_learning_rate_warms_up_and_falls_by_half_a_cosine() -> None:
    settings = TrainingSettings(steps=12, warmup_steps=2)
    rates = [schedule(step, settings) for step in (0, 1, 2, 7, 11)]
    # 0.5 (1 + cos(0.9 π))
    assert rates == pytest.approx([0.5, 1, 1, 0.5, 0.02447174])


def test_gradients_are_clipped_together(world: World, tmp_path: Path) -> None:
    cells, features = world
    # One step of Adam has the length of its gradient's signs; momentum shows what came before it.
    loud = refine(cells, features, recipe({"steps": 3}), tmp_path / "loud").state_dict()
    same = refine(cells, features, recipe({"steps": 3, "clip_gradient": 1e6}), tmp_path / "same").state_dict()
    clipped = refine(
        cells, features, recipe({"steps": 3, "clip_gradient": 0.01}), tmp_path / "c"
    ).state_dict()
    assert torch.equal(loud[WEIGHT], same[WEIGHT])
    assert not torch.equal(loud[WEIGHT], clipped[WEIGHT])


def test_a_loss_that_is_not_finite_says_what_to_do(world: World, tmp_path: Path) -> None:
    cells, features = world
    with pytest.raises(IntervoxError, match=r"lower training\.learning_rate"):
        refine(cells, features, recipe(temperature=1e-39), tmp_path / "model")


def test_what_does_not_change_the_weights_is_not_in_the_key(world: World) -> None:
    _, features = world
    key = training_key(features, recipe())
    assert training_key(features, recipe({"checkpoint_every": 3, "tensorboard": True})) == key
    assert training_key(features, recipe({"clip_gradient": 0.5})) != key


def test_tensorboard_is_an_extra(world: World, tmp_path: Path) -> None:
    cells, features = world
    plan = recipe({"tensorboard": True, "steps": 11})
    if find_spec("tensorboard") is None:
        with pytest.raises(IntervoxError, match=r"pip install .*\[tensorboard\]"):
            refine(cells, features, plan, tmp_path / "model")
        return
    refine(cells, features, plan, tmp_path / "model")
    reading = import_module("tensorboard.backend.event_processing.event_accumulator")
    log = reading.EventAccumulator(str(tmp_path / "model" / "tensorboard")).Reload()
    history = TrainingRecord.read(tmp_path / "model").history
    shown = [(event.step, event.value) for event in log.Scalars("loss/total")]
    assert shown == [(record.step, pytest.approx(record.total)) for record in history]


@pytest.mark.parametrize("kind", ["linear", "mlp", "attentive"])
def test_every_parameter_has_a_gradient_whatever_the_batch(world: World, kind: str) -> None:
    """Several processes would wait for the ones that have none."""
    _, features = world
    plan = recipe(loss=EVERYTHING[1], map=kind)
    spaces = {name: settings.model_dump(mode="json") for name, settings in plan.subspaces.items()}
    model = SubspaceModel("none", features.layers, features.dim, spaces)
    step = Step(model, MultiPart(plan.subspaces, plan.loss), None)
    labels = {name: torch.full((6,), UNLABELLED) for name in ("speaker", "content", "condition", "engine")}
    states, mask = (torch.from_numpy(part) for part in features.states(np.arange(6)))
    step((states, mask), labels).total.backward()
    assert [name for name, p in step.named_parameters() if p.requires_grad and p.grad is None] == []


def test_erasure_is_fitted_before_the_start(world: World, tmp_path: Path) -> None:
    cells, features = world
    plan = recipe({"steps": 0, "initialisation": "lda"})
    speaker = plan.subspaces["speaker"].model_copy(update={"erase": ("content",)})
    plan = plan.model_copy(update={"subspaces": {**plan.subspaces, "speaker": speaker}})
    model = refine(cells, features, plan, tmp_path / "model")
    vectors = model.project(features.rows())
    assert accuracy(vectors["speaker"], cells["speaker"].to_pylist()) == 1
    assert accuracy(vectors["content"], cells["content"].to_pylist()) == 1
    standard = model.standardise(torch.from_numpy(features.rows()))
    erased = model.erased("speaker", standard)
    content = np.unique(cells["content"].to_pylist(), return_inverse=True)[1]

    def spread(states: torch.Tensor) -> float:
        return float(torch.stack([states[content == c].mean(dim=0) for c in range(10)]).square().mean())

    assert spread(erased) < 0.05 * spread(standard)
