from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from intervox.errors import IntervoxError
from intervox.features.store import Features
from intervox.metrics import detection
from intervox.metrics.vectors import Vectors
from intervox.training import loop
from intervox.training.checkpoint import LossRecord, Measurement, Progress, TrainingRecord
from intervox.training.loop import Step
from intervox.training.refine import refine
from intervox.training.validation import Validation
from tests.support.crossed import crossed_corpus, crossed_recipe

World = tuple[pa.Table, Features]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return crossed_corpus(tmp_path / "features", held_out=4)


def test_the_figures_are_those_of_all_pairs(world: World, tmp_path: Path) -> None:
    cells, features = world
    model = refine(cells, features, crossed_recipe({"steps": 40, "validate_every": 20}), tmp_path / "model")
    record = TrainingRecord.read(tmp_path / "model")
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
    best = next(m for m in record.validation if m.step == record.best_step)
    assert [best.rates["speaker"], best.rates["content"]] == pytest.approx(rates, abs=2e-6)
    assert best.mean == pytest.approx(np.mean(rates), abs=2e-6)
    assert [m.step for m in record.validation] == [0, 20, 40]
    assert record.validation[0].mean > best.mean


def scripted(monkeypatch: pytest.MonkeyPatch, figures: list[float]) -> list[dict[str, np.ndarray]]:
    """Let validation give these figures; returns the states that it measures."""
    seen: list[dict[str, np.ndarray]] = []

    def measure(_self: Validation, embed: partial[dict[str, Vectors]]) -> dict[str, float]:
        step: Step = embed.func.__self__  # type: ignore[attr-defined]
        seen.append({name: tensor.numpy().copy() for name, tensor in step.model.state_dict().items()})
        return {"speaker": figures[len(seen) - 1], "content": figures[len(seen) - 1]}

    monkeypatch.setattr(Validation, "measure", measure)
    return seen


def test_the_best_weights_are_kept(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells, features = world
    seen = scripted(monkeypatch, [0.5, 0.3, 0.2, 0.2, 0.4])
    model = refine(cells, features, crossed_recipe({"steps": 12, "validate_every": 3}), tmp_path / "model")
    # An equal figure is no better one.
    assert len(seen) == 5
    assert TrainingRecord.read(tmp_path / "model").best_step == 6
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), seen[2][name])
    weight = "subspaces.speaker.map.weight"
    assert not np.array_equal(seen[3][weight], seen[2][weight])


def test_all_steps_are_taken_and_the_end_is_measured(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, features = world
    seen = scripted(monkeypatch, [0.1, 0.2, 0.3, 0.05])
    refine(cells, features, crossed_recipe({"steps": 7, "validate_every": 3}), tmp_path / "model")
    assert len(seen) == 4
    assert TrainingRecord.read(tmp_path / "model").best_step == 7


def test_killed_while_measuring_goes_on_before_the_measurement(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, features = world
    plan = crossed_recipe({"steps": 12, "validate_every": 5, "checkpoint_every": 5})
    scripted(monkeypatch, [0.5, 0.3])
    with pytest.raises(IndexError):
        refine(cells, features, plan, tmp_path / "model")
    # The checkpoint of step 10 has the figures of 0 and 5; those of 10 and of the end are left.
    scripted(monkeypatch, [0.4, 0.35])
    refine(cells, features, plan, tmp_path / "model")
    found = TrainingRecord.read(tmp_path / "model")
    assert [(m.step, m.mean) for m in found.validation] == [(0, 0.5), (5, 0.3), (10, 0.4), (12, 0.35)]
    assert found.best_step == 5


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
    parts = {"speaker": 1.0, "content": 2.0}
    done = Progress(
        step=21,
        history=[LossRecord(step=20, total=3.0, parts=parts, dropped={"speaker": 0})],
        validation=[
            Measurement(step=step, rates={"speaker": rate})
            for step, rate in ((0, 0.3), (10, 0.125), (20, 0.2))
        ],
    )
    assert loop._note(done) == (
        "total 3.000 · speaker 1.000 · content 2.000 · best held-out EER 12.50 % at 10"
    )
    done.validation.clear()
    assert loop._note(done) == "loss 3.000"
