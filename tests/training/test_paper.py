"""The recipe ``paper`` against the paper's formulas, written down anew and without a line of ours."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from intervox.corpus.plan.design import plan_cells
from intervox.errors import IntervoxError
from intervox.evaluation.representations import linear_spaces
from intervox.model.heads import Heads
from intervox.model.model import SubspaceModel
from intervox.recipe import Recipe, load_recipe
from intervox.recipe.training import LossSettings, SubspaceSettings, TrainingSettings
from intervox.training import loop
from intervox.training.cells import TrainingCells, make_sampler, training_cells
from intervox.training.checkpoint import TrainingRecord, save_checkpoint
from intervox.training.inputs import Means
from intervox.training.losses import MultiPart
from intervox.training.refine import check_settings, refine
from intervox.training.schedule import momentum, schedule
from intervox.training.start import bare_model
from tests.support.crossed import DIM, LAYERS, crossed_corpus

HALF = DIM // 2


def small_paper(**training: object) -> Recipe:
    """The recipe ``paper`` for a backbone of ``DIM`` numbers and its last layer."""
    fields = load_recipe("paper").model_dump()
    fields["shared"]["width"] = DIM
    for space in fields["subspaces"].values():
        space |= {"layers": [LAYERS - 1], "dim": HALF}
    fields["training"] |= {"cells_per_step": 48, "epochs": 12, "learning_rate": 1e-2} | training
    return Recipe.model_validate(fields)


class Plain:
    """The paper's training in plain PyTorch, fp64, started from a model's weights."""

    def __init__(self, model: SubspaceModel, steps: int) -> None:
        weights = model.state_dict()
        first, second, last = (nn.Linear(DIM, DIM) for _ in range(3))
        self.network = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last).double()
        with torch.no_grad():
            for kind in ("weight", "bias"):
                for place in (0, 2):
                    getattr(self.network[place], kind).copy_(weights[f"shared.{place}.{kind}"])
                halves = [weights[f"subspaces.{name}.map.{kind}"] for name in ("content", "speaker")]
                getattr(self.network[4], kind).copy_(torch.cat(halves))
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-2, weight_decay=0.01)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=1e-2, total_steps=steps, pct_start=0.1, div_factor=25, final_div_factor=1e3
        )

    def step(self, inputs: Tensor, labels: Mapping[str, np.ndarray]) -> float:
        output = self.network(inputs)
        content, speaker = output[:, :HALF], output[:, HALF:]
        content = content / content.norm(dim=1, keepdim=True)
        speaker = speaker / speaker.norm(dim=1, keepdim=True)
        product = speaker.T @ content
        orthogonality = (product**2).sum() / (HALF * HALF)
        total = contrast(content, labels["content"]) + contrast(speaker, labels["speaker"]) + orthogonality
        self.optimizer.zero_grad()
        torch.autograd.backward(total)
        self.optimizer.step()
        self.scheduler.step()
        return float(total.detach())

    def tensors(self, gradients: bool) -> Iterator[Tensor]:
        for parameter in self.network.parameters():
            tensor = parameter.grad if gradients else parameter.detach()
            assert tensor is not None
            yield tensor


def contrast(vectors: Tensor, labels: np.ndarray, temperature: float = 0.1) -> Tensor:
    """Cross entropy over cosines: every other clip in the denominator, the mean over positives."""
    losses = []
    for i in range(len(labels)):
        others = [j for j in range(len(labels)) if j != i]
        positives = [j for j in others if labels[j] == labels[i]]
        if positives:
            logits = {j: vectors[i] @ vectors[j] / temperature for j in others}
            denominator = torch.log(torch.stack([logits[j].exp() for j in others]).sum())
            losses.append(torch.stack([denominator - logits[j] for j in positives]).mean())
    return torch.stack(losses).mean()


def of_ours(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """Join our parameters to those of the plain network, in its order."""
    kinds = ("weight", "bias")
    shared = [tensors[f"shared.{place}.{kind}"] for place in (0, 2) for kind in kinds]
    names = ("content", "speaker")
    return [*shared, *(torch.cat([tensors[f"subspaces.{n}.map.{kind}"] for n in names]) for kind in kinds)]


def test_a_step_of_ours_is_a_step_of_the_papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells, features = crossed_corpus(tmp_path / "features")
    chosen = training_cells(cells, features, {"speaker", "content"})
    recipe = small_paper(checkpoint_every=1, cells_per_step=24, epochs=6)
    recipe = recipe.model_copy(update={"training": recipe.training.over(len(chosen.rows))})
    torch.manual_seed(0)
    model = bare_model(features, recipe).double()
    plain = Plain(model, recipe.training.steps)
    found: list[tuple[list[Tensor], list[Tensor]]] = []

    def keep(_folder: Path, _done: Any, modules: Mapping[str, nn.Module], _optimizer: Any) -> None:
        parameters = dict(modules["model"].named_parameters())
        gradients = {name: one.grad.clone() for name, one in parameters.items() if one.grad is not None}
        weights = {name: one.detach().clone() for name, one in parameters.items()}
        found.append((of_ours(weights), of_ours(gradients)))

    monkeypatch.setattr(loop, "save_checkpoint", keep)
    done = loop.train(
        model, None, Accelerator(cpu=True), chosen, Means(features), None, recipe, tmp_path / "model"
    )
    sampler = make_sampler(chosen, ["content", "speaker"], recipe.training, recipe.seed)
    for step in range(4):
        batch = sampler.batch(step)
        inputs = torch.from_numpy(features.rows(chosen.rows[batch.cells])[:, -1]).double()
        total = plain.step(inputs, batch.labels)
        for gradients, ours in ((False, found[step][0]), (True, found[step][1])):
            for mine, theirs in zip(ours, plain.tensors(gradients), strict=True):
                torch.testing.assert_close(mine, theirs, atol=1e-9, rtol=1e-6)
        if step == 0:
            assert done.history[0].total == pytest.approx(total, abs=1e-6)
            assert set(done.history[0].parts) == {"content", "speaker", "orthogonality"}
    assert len(found) == recipe.training.steps == 30


def test_the_network_of_the_paper_has_1_8_million_weights() -> None:
    half = {"map": "shared", "dim": 384, "layers": [12]}
    spaces = {name: half | {"factor": name} for name in ("content", "speaker")}
    heads = Heads(13, 768, spaces, {"width": 768, "hidden": 2})
    weights = {name: one.numel() for name, one in heads.named_parameters() if "layer_logits" not in name}
    assert sum(weights.values()) == 3 * (768 * 768 + 768) == 1_771_776


@pytest.mark.parametrize("steps", [11, 30, 800, 801])
def test_one_cycle_is_that_of_torch(steps: int) -> None:
    settings = TrainingSettings(steps=steps, schedule="one_cycle")
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1e-4)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1e-4, total_steps=steps, pct_start=0.1, div_factor=25, final_div_factor=1e3
    )
    for step in range(steps):
        group = optimizer.param_groups[0]
        assert 1e-4 * schedule(step, settings) == pytest.approx(group["lr"], rel=1e-9)
        assert momentum(step, settings) == pytest.approx(group["betas"][0], rel=1e-9)
        optimizer.step()
        if step + 1 < steps:
            theirs.step()


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_a_cycle_too_short_to_rise_falls(steps: int) -> None:
    settings = TrainingSettings(steps=steps, schedule="one_cycle")
    rates = [schedule(step, settings) for step in range(steps)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(1 / 25e3)
    assert momentum(steps - 1, TrainingSettings(steps=steps)) == 0.9


def test_shuffled_batches_see_every_cell_once_an_epoch() -> None:
    labels = {"speaker": np.arange(20) % 4, "content": np.arange(20) % 5}
    cells = TrainingCells(np.arange(100, 120), np.zeros(20, np.int64), labels)
    settings = TrainingSettings(batches="shuffled", cells_per_step=4, epochs=3)
    steps = settings.over(20).steps
    assert steps == 15

    def batches(seed: int) -> list[list[int]]:
        sampler = make_sampler(cells, ["speaker", "content"], settings, seed)
        return [sampler.batch(step).cells.tolist() for step in range(steps)]

    first = batches(0)
    epochs = [sorted(np.concatenate(first[start : start + 5])) for start in (0, 5, 10)]
    assert epochs == [list(range(20))] * 3
    assert first == batches(0) != batches(1)
    assert first[:5] != first[5:10]
    batch = make_sampler(cells, ["speaker"], settings, 0).batch(7)
    np.testing.assert_array_equal(batch.labels["content"], labels["content"][batch.cells])


def test_epochs_become_steps() -> None:
    settings = load_recipe("paper").training
    assert (settings.over(8192).steps, settings.over(8192).epochs) == (800, None)
    assert settings.over(100).steps == 50  # a step sees all there are
    assert settings.over(8200).steps == 801
    given = TrainingSettings(steps=7)
    assert given.over(8192) == given


def test_the_papers_training_is_saved_loaded_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, features = crossed_corpus(tmp_path / "features")
    recipe = small_paper(checkpoint_every=7)
    model = refine(cells, features, recipe, tmp_path / "whole")
    assert TrainingRecord.read(tmp_path / "whole").best_step == 30
    assert (model.mean == 0).all()
    assert (model.scale == 1).all()
    assert linear_spaces(model) == []
    assert model.maps() == {}
    found = SubspaceModel.from_pretrained(tmp_path / "whole").project(features.rows())
    output = torch.from_numpy(features.rows())[:, -1]
    assert model.shared is not None
    for name, vectors in found.items():
        expected = model.subspace(name).map(model.shared(output))
        expected = nn.functional.normalize(expected, dim=1).detach().numpy()
        np.testing.assert_allclose(vectors, expected, atol=1e-6)

    def stop(folder: Path, done: Any, *rest: Any) -> None:
        save(folder, done, *rest)
        if done.step == 14:
            raise KeyboardInterrupt

    save = save_checkpoint
    monkeypatch.setattr(loop, "save_checkpoint", stop)
    with pytest.raises(KeyboardInterrupt):
        refine(cells, features, recipe, tmp_path / "killed")
    monkeypatch.setattr(loop, "save_checkpoint", save)
    refine(cells, features, recipe, tmp_path / "killed")
    whole, killed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed


def test_a_start_in_closed_form_needs_no_standardisation(tmp_path: Path) -> None:
    cells, features = crossed_corpus(tmp_path / "features")
    fields = small_paper().model_dump()
    for space in fields["subspaces"].values():
        space["map"] = "linear"
    fields["training"] |= {"initialisation": "lda", "epochs": None, "steps": 0}
    model = refine(cells, features, Recipe.model_validate(fields), tmp_path / "model")
    assert (model.mean == 0).all()
    speaker = model.project(features.rows())["speaker"]
    same = np.asarray(cells["speaker"].to_pylist())
    nearest = (speaker @ speaker.T - 2 * np.eye(len(speaker))).argmax(axis=1)
    assert (same[nearest] == same).mean() > 0.9


def test_the_corpus_of_the_recipe_is_that_of_the_paper() -> None:
    plan = plan_cells(load_recipe("paper").corpus, 0)
    split, speaker, content = (plan[name].to_pylist() for name in ("split", "speaker", "content"))
    grids = Counter(zip(split, speaker, content, strict=True))
    assert set(grids.values()) == {1}
    assert Counter(split) == {"train": 32 * 256, "test": 6 * 256}
    for values, train, test in ((speaker, 32, 6), (content, 256, 256)):
        used = {one: {v for s, v in zip(split, values, strict=True) if s == one} for one in ("train", "test")}
        assert (len(used["train"]), len(used["test"])) == (train, test)
        assert not used["train"] & used["test"]
    assert set(plan["condition"].to_pylist()) == {"clean"}
    assert set(plan["engine"].to_pylist()) == {"kokoro", "espeak"}


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"training": {"epochs": 3}}, "epochs counts passes over shuffled cells"),
        ({"training": {"epochs": 3, "batches": "shuffled", "steps": 5}}, "steps or epochs, not both"),
        ({"subspaces": {"a": {"factor": "speaker", "map": "shared"}}}, "shared can't start from lda"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Recipe.model_validate(fields)


def test_one_network_has_one_input() -> None:
    recipe = load_recipe("paper")
    columns = ["speaker", "content"]
    check_settings(recipe, 6, 384, columns)
    other = recipe.subspaces["speaker"].model_copy(update={"layers": (4,)})
    recipe = recipe.model_copy(update={"subspaces": recipe.subspaces | {"speaker": other}})
    with pytest.raises(IntervoxError, match="content, speaker have map: shared.* the same layers"):
        check_settings(recipe, 6, 384, columns)


def test_orthogonality_needs_two_subspaces() -> None:
    with pytest.raises(IntervoxError, match=r"loss\.orthogonality needs two subspaces"):
        MultiPart({"voice": SubspaceSettings(factor="speaker")}, LossSettings(orthogonality=1))
