import json
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from intervox.clips.labels import Clips
from intervox.errors import IntervoxError
from intervox.evaluation.findings import ProbedFactor
from intervox.evaluation.representations import (
    linear_spaces,
    principal_angles,
    projected,
    raw_space,
    rejected,
    subspace_basis,
)
from intervox.evaluation.separation import (
    FactorData,
    factor_data,
    geometry,
    linear_readings,
    separation_matrix,
)
from intervox.metrics.information import BlockScores, block_scores
from intervox.metrics.vectors import unit
from intervox.model.model import SubspaceModel
from tests.support.intervals import ends


def crossed_clips(speakers: int, contents: int, repeats: int) -> Clips:
    cells = [(s, c) for s in range(speakers) for c in range(contents) for _ in range(repeats)]
    labels = {
        "speaker": np.array([f"s{s:02}" for s, _ in cells]),
        "content": np.array([f"c{c:02}" for _, c in cells]),
        "gender": np.array(["", "f", "m"])[[s % 3 for s, _ in cells]],
        "session": np.array([f"on the day of s{s}" for s, _ in cells]),
    }
    empty = np.full(len(cells), "")
    return Clips(empty, labels, np.zeros(len(cells)), empty)


def codes(clips: Clips, dim: int = 24) -> dict[str, NDArray[np.float64]]:
    """A random code a speaker and a content, with some variation from clip to clip."""
    random = np.random.default_rng(0)
    result = {}
    for factor in ("speaker", "content"):
        names, number = np.unique(clips.labels[factor], return_inverse=True)
        each = random.normal(size=(len(names), dim))[number]
        result[factor] = each + 0.5 * random.normal(size=each.shape)
    return result


def test_a_planted_leak_is_found_and_grows_with_its_share() -> None:
    clips = crossed_clips(10, 8, 4)
    code = codes(clips)
    shares = (0.0, 0.2, 0.4, 0.7, 1.0)
    spaces = {f"{a}": unit(code["content"] + a * code["speaker"]) for a in shares}
    data = {"speaker": factor_data(clips, {"clean": spaces})["speaker"]}
    found = separation_matrix(data, 200)["speaker"]
    cells = [found[f"{a}"] for a in shares]
    for read in ([getattr(cell, kind).accuracy for cell in cells] for kind in ("linear", "mlp")):
        assert read[0] < 0.15
        assert read[1] > 0.15
        assert read[-1] > 0.9
        assert all(np.diff(read) >= -0.01)
    bits = [cell.information.bits for cell in cells]
    assert abs(bits[0]) < 0.05
    assert all(np.diff(bits) > 0)
    assert bits[-1] == pytest.approx(np.log2(10), abs=0.3)
    controls = [probe for cell in cells for probe in (cell.linear, cell.mlp)]
    at_chance = [
        low <= 0.1 <= high for low, high in (ends(control.shuffled_interval) for control in controls)
    ]
    assert sum(at_chance) >= 8  # of ten 95 % intervals
    assert np.mean([control.shuffled for control in controls]) == pytest.approx(0.1, abs=0.02)
    assert {cell.chance for cell in cells} == {0.1}


def test_what_is_kept_is_a_share_of_what_raw_layers_know() -> None:
    clips = crossed_clips(10, 8, 4)
    code = codes(clips)
    both = unit(code["content"] + code["speaker"])
    spaces = {"raw": both, "all": both, "half": unit(code["content"] + 0.45 * code["speaker"])}
    spaces["none"] = unit(code["content"])
    found = separation_matrix({"speaker": factor_data(clips, {"clean": spaces})["speaker"]}, 200)["speaker"]
    kept = {space: cell.kept for space, cell in found.items() if cell.kept}
    assert set(kept) == set(spaces)
    # The same vectors on both sides: every resample has the same ratio.
    assert (kept["all"].share, kept["all"].interval) == (1.0, "all resamples equal")
    better = {space: max(cell.information.bits, cell.information.mlp_bits) for space, cell in found.items()}
    for space in ("half", "none"):
        assert kept[space].share == pytest.approx(better[space] / better["raw"], abs=1e-4)
    low, high = ends(kept["half"].interval)
    assert 0 < low < kept["half"].share < high < 1
    assert kept["none"].share < 0.05


def test_nothing_is_kept_of_what_raw_layers_are_not_shown_to_know() -> None:
    clips = crossed_clips(10, 8, 4)
    code = codes(clips)
    spaces = {"raw": unit(code["content"]), "own": unit(code["speaker"])}
    data = {"speaker": factor_data(clips, {"clean": spaces})["speaker"]}
    assert {cell.kept for cell in separation_matrix(data, 100)["speaker"].values()} == {None}
    del spaces["raw"]
    data = {"speaker": factor_data(clips, {"clean": spaces})["speaker"]}
    assert separation_matrix(data, 100)["speaker"]["own"].kept is None


def test_the_matrix_has_every_factor_that_can_be_probed_on_unseen_groups() -> None:
    clips = crossed_clips(9, 6, 2)
    code = codes(clips)
    spaces = {"speaker": unit(code["speaker"]), "content": unit(code["content"])}
    loud = {space: unit(vectors + np.float32(0.5)) for space, vectors in spaces.items()}
    data = factor_data(clips, {"clean": spaces, "cross_condition": loud})
    matrix = separation_matrix(data, 50, workers=2)
    # A session is of one speaker: no probe on unseen speakers could know it.
    assert set(matrix) == {"speaker", "content", "gender", "condition"}
    cell = matrix["speaker"]["speaker"]
    written = json.loads(json.dumps(cell.model_dump(mode="json"), allow_nan=False))
    assert ProbedFactor.model_validate(written) == cell
    assert (cell.classes, cell.clips) == (9, 108)
    assert (matrix["gender"]["speaker"].clips, matrix["condition"]["content"].clips) == (72, 216)
    assert matrix["condition"]["content"].linear.accuracy > 0.9
    assert matrix["content"]["content"].linear.accuracy > 0.9
    assert matrix["content"]["speaker"].linear.accuracy < 0.35


def a_model(**maps: Any) -> SubspaceModel:
    """Three layers of five dims with random weights everywhere."""
    torch.manual_seed(0)
    model = SubspaceModel("none", 3, 5, maps)
    for parameter in (*model.parameters(), model.mean):
        torch.nn.init.normal_(parameter)
    return model


SPEAKER = {"factor": "speaker", "dim": 3, "layers": [0, 1]}
CONTENT = {"factor": "content", "dim": 2, "layers": [1, 2]}


@pytest.mark.parametrize("combine", ["concat", "sum"])
def test_a_subspace_is_blind_to_what_its_basis_rejects(combine: str) -> None:
    model = a_model(speaker=SPEAKER | {"combine": combine}, content=CONTENT)
    basis = subspace_basis(model, "speaker")
    assert basis.shape == (15, 3)
    assert basis.T @ basis == pytest.approx(np.eye(3), abs=1e-9)
    means = torch.randn(20, 3, 5)
    inside = torch.from_numpy((basis @ basis.T).astype(np.float32))
    kept = ((means - model.mean).flatten(1) @ inside).reshape(-1, 3, 5) + model.mean
    speaker = model.project(means.numpy())["speaker"]
    assert model.project(kept.numpy())["speaker"] == pytest.approx(speaker, abs=1e-4)
    assert subspace_basis(model, "speaker", "content").shape == (15, 5)


def test_rejection_takes_out_what_projection_keeps() -> None:
    model = a_model(speaker=SPEAKER, content=CONTENT)
    means = torch.randn(200, 3, 5).numpy()
    rest, only, everything = (
        rejected(model, linear_spaces(model), means)(means),
        projected(model, "speaker")(means),
        raw_space(model, means)(means),
    )
    assert [space.shape[1] for space in (rest, only, everything)] == [15, 3, 15]
    # Ten dims are left of fifteen once five are taken out.
    assert np.linalg.matrix_rank(rest - rest.mean(axis=0), tol=1e-3) == 10
    for space in (rest, only, everything):
        assert np.linalg.norm(space, axis=1) == pytest.approx(1)


def set_weight(model: SubspaceModel, name: str, weight: torch.Tensor) -> None:
    layer = model.subspaces[name].map
    assert isinstance(layer, torch.nn.Linear)
    with torch.no_grad():
        layer.weight.copy_(weight)


def test_readings_find_what_is_left_of_a_factor_outside_a_subspace() -> None:
    """Four speakers are planted in two directions that the subspace reads, and in two that it does not."""
    clips = crossed_clips(4, 30, 2)
    number = np.unique(clips.speakers, return_inverse=True)[1]
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])[number]
    model = SubspaceModel("none", 1, 6, {"speaker": {"factor": "speaker", "dim": 2}})
    set_weight(model, "speaker", torch.eye(2, 6))
    random = np.random.default_rng(0)
    for leak, left in ((0, 0.25), (4, 1.0)):
        means = random.normal(size=(len(clips), 1, 6)).astype(np.float32)
        means[:, 0, :2] += 4 * corners
        means[:, 0, 4:] += leak * corners
        spaces = {"without": rejected(model, ["speaker"], means), "only": projected(model, "speaker")}
        data = factor_data(clips, {"clean": {name: embed(means) for name, embed in spaces.items()}})
        found = linear_readings({"speaker": data["speaker"]}, 50)["speaker"]
        assert found["only"].accuracy > 0.97
        assert found["without"].accuracy == pytest.approx(left, abs=0.08)
        assert found["without"].chance == 0.25


def test_an_mlp_map_has_no_subspace_to_take_out() -> None:
    model = a_model(speaker=SPEAKER, content=CONTENT | {"map": "mlp"})
    assert linear_spaces(model) == ["speaker"]
    assert principal_angles(model, 0) == {}
    with pytest.raises(IntervoxError, match="'content' has an MLP map"):
        subspace_basis(model, "content")


def test_principal_angles_by_hand() -> None:
    plane = {"dim": 2, "layers": [0]}
    spaces = {"a": {"factor": "speaker"} | plane, "b": {"factor": "content"} | plane}
    model = SubspaceModel("none", 1, 4, spaces)
    turn = np.deg2rad(30)
    set_weight(model, "a", torch.eye(2, 4))
    set_weight(model, "b", torch.tensor([[np.cos(turn), 0, np.sin(turn), 0], [0, 0, 0, 3.0]]))
    angles = principal_angles(model, 0)["a-b"]
    assert (angles.mean, angles.min) == pytest.approx((60, 30))
    assert 0 < angles.random_min < angles.random_mean < 90


def test_dependence_tells_alike_from_unrelated_spaces() -> None:
    random = np.random.default_rng(0)
    first = random.normal(size=(600, 6)).astype(np.float32)
    turned = (first @ np.linalg.qr(random.normal(size=(6, 6)))[0]).astype(np.float32)
    other = random.normal(size=(600, 4)).astype(np.float32)
    speakers = random.integers(20, size=600)
    found = geometry({"a": first, "turned": turned, "other": other}, speakers.astype(str), None)
    assert found["a-turned"].cross_covariance == pytest.approx(1, abs=1e-5)
    assert found["a-turned"].shared_bits > 5
    unrelated = found["a-other"]
    assert unrelated.cross_covariance == pytest.approx(unrelated.cross_covariance_by_chance, abs=0.01)
    assert unrelated.shared_bits < 0.02


def test_block_scores_by_hand() -> None:
    assert block_scores(np.eye(2)) == BlockScores(1.0, 1.0, 1.0, 1.0)
    assert block_scores(np.full((2, 2), 0.5)) == BlockScores(0.0, 0.0, 0.5, 0.0)
    # The first space knows the speaker fully and a quarter of the content, the second three quarters of it.
    partly = block_scores(np.array([[1, 0.25], [0, 0.75]]))
    assert partly is not None
    purity = 1 + 0.8 * np.log2(0.8) + 0.2 * np.log2(0.2)
    assert partly.disentanglement == pytest.approx(1.25 / 2 * purity + 0.75 / 2, abs=1e-4)
    spread = 1 + 0.25 * np.log2(0.25) + 0.75 * np.log2(0.75)
    assert partly.completeness == pytest.approx((1 + spread) / 2, abs=1e-4)
    assert partly.mig == pytest.approx((1 + 0.5) / 2)
    assert block_scores(np.zeros((2, 2))) is None
    assert block_scores(np.ones((1, 2))) is None


def test_factor_data_sets_groups_by_factor() -> None:
    clips = crossed_clips(3, 3, 1)
    spaces = {"x": np.zeros((9, 2), np.float32)}
    data = factor_data(clips, {"clean": spaces, "noisy": spaces})
    assert isinstance(data["speaker"], FactorData)
    assert (data["speaker"].groups == clips.contents).all()
    assert (data["content"].groups == clips.speakers).all()
    assert data["condition"].labels.tolist() == ["clean"] * 9 + ["noisy"] * 9
    assert "condition" not in factor_data(clips, {"clean": spaces})
