import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from intervox.clips.labels import UNLABELLED
from intervox.errors import IntervoxError
from intervox.features.store import Features
from intervox.metrics import detection
from intervox.model.model import SubspaceModel
from intervox.training import loop, validation
from intervox.training.checkpoint import Progress
from intervox.training.refine import refine
from intervox.training.validation import CRITERION, Validation, draw_trials, equal_error_rate
from tests.support.crossed import crossed_corpus, crossed_recipe

World = tuple[pa.Table, Features]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return crossed_corpus(tmp_path / "features", held_out=4)


def record(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "training.json").read_text()))


def test_error_rates_are_those_of_the_evaluation() -> None:
    random = np.random.default_rng(0)
    for shift in (0.0, 0.3, 2.0, 9.0):
        targets = np.round(random.normal(size=400) + shift, 1)
        impostors = np.round(random.normal(size=900), 1)
        expected = detection.equal_error_rate(*detection.error_rates(targets, impostors))
        assert equal_error_rate(targets, impostors) == pytest.approx(expected, abs=1e-12)


def test_trials_differ_in_the_other_factors() -> None:
    """With few cells every pair of the kind is drawn, and no other."""
    speaker = np.array([0, 0, 0, 1, 1, 1, UNLABELLED])
    content = np.array([0, 1, 1, 0, 2, 2, 0])
    trials = draw_trials({"speaker": speaker, "content": content}, "speaker", ["content"], seed=0)
    assert trials.targets.tolist() == [[0, 1], [0, 2], [3, 4], [3, 5]]
    assert trials.impostors.tolist() == [[0, 4], [0, 5], [1, 3], [1, 4], [1, 5], [2, 3], [2, 4], [2, 5]]


def test_a_factor_that_hangs_on_another_is_not_asked_to_differ() -> None:
    speaker = np.repeat(np.arange(4), 3)
    labels = {"speaker": speaker, "language": speaker // 2}
    trials = draw_trials(labels, "speaker", ["language"], seed=0)
    assert len(trials.targets) == 12
    # A language's own targets are of two speakers, though.
    trials = draw_trials(labels, "language", ["speaker"], seed=0)
    assert (speaker[trials.targets[:, 0]] != speaker[trials.targets[:, 1]]).all()


def test_drawn_pairs_are_equally_likely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a class of 30 cells and one of 10, 435 to 45 pairs, as of their numbers."""
    monkeypatch.setattr(validation, "MAX_TRIALS", 100)
    kind = np.repeat([0, 1], [30, 10])
    shares = []
    for seed in range(40):
        trials = draw_trials({"speaker": kind}, "speaker", [], seed)
        assert len(np.unique(trials.targets, axis=0)) == len(trials.targets) == 100
        assert (kind[trials.targets[:, 0]] == kind[trials.targets[:, 1]]).all()
        assert (kind[trials.impostors[:, 0]] != kind[trials.impostors[:, 1]]).all()
        shares.append(np.mean(kind[trials.targets[:, 0]] == 0))
    assert np.mean(shares) == pytest.approx(435 / 480, abs=0.02)
    again = draw_trials({"speaker": kind}, "speaker", [], 39)
    np.testing.assert_array_equal(again.targets, trials.targets)


def test_the_figures_are_those_of_all_pairs(world: World, tmp_path: Path) -> None:
    cells, features = world
    model = refine(cells, features, crossed_recipe({"steps": 40, "validate_every": 20}), tmp_path / "model")
    measured = record(tmp_path / "model")["validation"]
    assert isinstance(measured, list)
    rows = np.flatnonzero(np.asarray(cells["split"].to_pylist()) == "validation")
    spaces = model.project(features.rows(rows))
    labels = {name: np.asarray(cells[name].to_pylist())[rows] for name in ("speaker", "content")}
    first, second = np.triu_indices(len(rows), 1)
    rates = []
    for space, other in (("speaker", "content"), ("content", "speaker")):
        cosines = (spaces[space] @ spaces[space].T)[first, second]
        same = labels[space][first] == labels[space][second]
        crossed = labels[other][first] != labels[other][second]
        rates.append(
            detection.equal_error_rate(
                *detection.error_rates(cosines[same & crossed], cosines[~same & crossed])
            )
        )
    best = next(m for m in measured if m["step"] == record(tmp_path / "model")["best_step"])
    assert [best["speaker"], best["content"]] == pytest.approx(rates, abs=2e-6)
    assert best[CRITERION] == pytest.approx(np.mean(rates), abs=2e-6)
    assert [m["step"] for m in measured] == [0, 20, 40]
    assert measured[0][CRITERION] > best[CRITERION]


def scripted(monkeypatch: pytest.MonkeyPatch, figures: list[float]) -> list[dict[str, np.ndarray]]:
    """Let validation give these figures; returns the states that it measures."""
    seen: list[dict[str, np.ndarray]] = []

    def measure(_self: Validation, model: SubspaceModel, _features: Features) -> dict[str, float]:
        seen.append({name: tensor.numpy().copy() for name, tensor in model.state_dict().items()})
        return {CRITERION: figures[len(seen) - 1]}

    monkeypatch.setattr(Validation, "measure", measure)
    return seen


@pytest.mark.parametrize("ema", [0.0, 0.7])
def test_the_best_weights_are_kept_and_patience_ends(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ema: float
) -> None:
    cells, features = world
    seen = scripted(monkeypatch, [0.5, 0.3, 0.2, 0.2, 0.4, 0.1])
    plan = crossed_recipe({"steps": 90, "validate_every": 3, "patience": 2, "ema": ema})
    model = refine(cells, features, plan, tmp_path / "model")
    # An equal figure is no better one.
    assert len(seen) == 5
    assert record(tmp_path / "model")["best_step"] == 6
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), seen[2][name])
    weight = "subspaces.speaker.map.weight"
    assert not np.array_equal(seen[3][weight], seen[2][weight])


def test_without_patience_all_steps_are_taken_and_the_end_is_measured(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, features = world
    seen = scripted(monkeypatch, [0.1, 0.2, 0.3, 0.05])
    refine(cells, features, crossed_recipe({"steps": 7, "validate_every": 3}), tmp_path / "model")
    assert len(seen) == 4
    assert record(tmp_path / "model")["best_step"] == 7


def test_killed_while_measuring_goes_on_before_the_measurement(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, features = world
    plan = crossed_recipe({"steps": 12, "validate_every": 5, "checkpoint_every": 5, "patience": 1})
    scripted(monkeypatch, [0.5, 0.3])
    with pytest.raises(IndexError):
        refine(cells, features, plan, tmp_path / "model")
    # The checkpoint of step 10 has the figures of 0 and 5; with 0.3 to beat, that of 10 ends it.
    scripted(monkeypatch, [0.4])
    refine(cells, features, plan, tmp_path / "model")
    found = record(tmp_path / "model")
    assert found["validation"] == [
        {"step": 0, CRITERION: 0.5}, {"step": 5, CRITERION: 0.3}, {"step": 10, CRITERION: 0.4}
    ]  # fmt: skip
    assert found["best_step"] == 5


def test_validation_that_would_not_tell_is_refused(world: World, tmp_path: Path) -> None:
    cells, features = world
    plan = crossed_recipe({"validate_every": 5})
    engine = cells.column_names.index("engine")
    heard = cells.set_column(engine, "engine", pa.array(["a"] * len(cells)))
    with pytest.raises(IntervoxError, match="'a' has cells in both splits"):
        refine(heard, features, plan, tmp_path / "model")
    split = cells.column_names.index("split")
    none = cells.set_column(split, "split", pa.array(["train"] * len(cells)))
    with pytest.raises(IntervoxError, match=r"needs validation cells: raise corpus\.validation\.blocks"):
        refine(none, features, plan, tmp_path / "model")
    speaker = cells.column_names.index("speaker")
    alone = cells.set_column(speaker, "speaker", pa.array([f"s{row}" for row in range(len(cells))]))
    lonely = plan.model_copy(update={"subspaces": {"speaker": plan.subspaces["speaker"]}})
    lonely = lonely.model_copy(update={"loss": lonely.loss.model_copy(update={"cross_covariance": 0})})
    with pytest.raises(IntervoxError, match="hold no trials"):
        refine(alone, features, lonely, tmp_path / "model")


def test_the_display_says_how_it_goes() -> None:
    done = Progress(
        step=21,
        history=[{"step": 20, "total": 3.0, "speaker": 1.0, "content": 2.0, "dropped_speaker": 0}],
        validation=[
            {"step": 0, CRITERION: 0.3},
            {"step": 10, CRITERION: 0.125},
            {"step": 20, CRITERION: 0.2},
        ],
    )
    assert loop._note(done) == (
        "total 3.000 · speaker 1.000 · content 2.000 · best held-out EER 12.50 % at 10"
    )
    done.validation.clear()
    assert loop._note(done) == "loss 3.000"
