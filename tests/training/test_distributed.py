"""Several gloo processes on this machine against one: the same gradients, the same weights."""

import multiprocessing
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch.multiprocessing.spawn import start_processes

from intervox.model.model import SubspaceModel
from intervox.recipe import Recipe
from intervox.training.cells import make_sampler, training_cells
from intervox.training.checkpoint import TrainingRecord
from intervox.training.inputs import AudioStretches
from intervox.training.loop import Step, share
from intervox.training.losses import MultiPart
from intervox.training.refine import refine
from tests.conftest import Speech
from tests.support.crossed import DIM, LAYERS, crossed_corpus, crossed_recipe
from tests.support.encoders import FULL, LORA, World, a_step, open_world

ALL_PARTS = {"adversary": 0.3, "hard_negatives": 0.5, "chunk": 30}
COLUMNS = {"speaker", "content"}


def small_recipe() -> Recipe:
    """Three steps of 80 cells with every part, of which one subspace reads frames."""
    training = {"steps": 3, "validate_every": 2, "crop_seconds": 0.1}
    recipe = crossed_recipe(training, ALL_PARTS, map="attentive")
    linear = recipe.subspaces["speaker"].model_copy(update={"map": "linear"})
    return recipe.model_copy(update={"subspaces": {**recipe.subspaces, "speaker": linear}})


def gradients(folder: Path, recipe: Recipe) -> dict[str, NDArray[np.float64]]:
    """Take one step's gradients in fp64, of 73 cells: no number of processes divides them."""
    cells, features = crossed_corpus(folder, held_out=4)
    accelerator = Accelerator(mixed_precision="no")
    torch.manual_seed(0)
    spaces = {name: settings.model_dump(mode="json") for name, settings in recipe.subspaces.items()}
    model = SubspaceModel("none", LAYERS, DIM, spaces)
    step = Step(model, MultiPart(recipe.subspaces, recipe.loss), None).double()
    prepared = accelerator.prepare(step)
    chosen = training_cells(cells, features, COLUMNS)
    batch = make_sampler(chosen, ["speaker", "content"], recipe.training, 0).batch(0)
    kept = np.arange(len(batch.cells) - 7)
    labels = {name: torch.from_numpy(values[kept]) for name, values in batch.labels.items()}
    rows = chosen.rows[batch.cells[kept]][share(len(kept))]
    states, mask = (torch.from_numpy(part) for part in features.states(rows))
    total = prepared((states.double(), mask), labels).total
    accelerator.backward(total)
    found = {name: p.grad.numpy() for name, p in step.named_parameters() if p.grad is not None}
    return found | {"total": total.detach().numpy()}


ENCODERS: dict[str, dict[str, Any]] = {"lora": LORA | {"warp": 0.5}, "full": FULL | {"graph_seconds": 0.01}}
"""With all activations kept, and with activations computed again."""


def encoder_gradients(home: Path, settings: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    """Take one step's gradients at depth ``blocks``, of 15 cells."""
    world = open_world(home)
    recipe = world.varied(**settings)
    accelerator = Accelerator(mixed_precision="no")
    step = a_step(world, recipe)
    prepared = accelerator.prepare(step)
    chosen = training_cells(world.corpus.cells, world.features, COLUMNS)
    batch = make_sampler(chosen, ["speaker", "content"], recipe.training, 0).batch(0)
    labels = {name: torch.from_numpy(values) for name, values in batch.labels.items()}
    places = share(len(batch.cells))
    speakers = np.unique(np.asarray(world.corpus.cells["speaker"].to_pylist()), return_inverse=True)[1]
    inputs = AudioStretches(world.waves, speakers, recipe.training, recipe.encoder, None, 0)
    given = inputs.drawn(chosen.rows[batch.cells[places]], 0, places.tolist())
    total = prepared(given, labels).total
    accelerator.backward(total)
    found = {name: p.grad.numpy() for name, p in step.named_parameters() if p.grad is not None}
    return found | {"total": total.detach().numpy()}


def deep_recipe(world: World) -> Recipe:
    """A few steps of the encoder in full, with validation."""
    return world.varied({"steps": 3, "validate_every": 2}, **FULL | {"learning_rate": 1e-4})


def work(rank: int, processes: int, port: int, folder: Path, home: Path | None) -> None:
    """Do in one of several processes what the test does alone, with the world of an encoder or without."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
    }
    torch.set_num_threads(1)
    if home is None:
        recipe = small_recipe()
        found = gradients(folder / f"features-{rank}", recipe)
        cells, features = crossed_corpus(folder / f"features-{rank}", held_out=4)
        refine(cells, features, recipe, folder / "model")
        save_file(found, folder / f"gradients-{rank}.safetensors")
    else:
        for name, settings in ENCODERS.items():
            save_file(encoder_gradients(home, settings), folder / f"{name}-{rank}.safetensors")
        world = open_world(home)
        world.train(folder / "deep", deep_recipe(world))
    torch.distributed.destroy_process_group()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, NDArray[np.float64]], Path]:
    folder = tmp_path_factory.mktemp("alone")
    recipe = small_recipe()
    found = gradients(folder / "features", recipe)
    refine(*crossed_corpus(folder / "features", held_out=4), recipe, folder / "model")
    return found, folder / "model"


def start(processes: int, folder: Path, home: Path | None) -> None:
    # The server imports torch once for all.
    multiprocessing.get_context("forkserver").set_forkserver_preload(["intervox.training.refine"])
    arguments = (processes, free_port(), folder, home)
    start_processes(work, arguments, nprocs=processes, start_method="forkserver")  # type: ignore[no-untyped-call]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.long)])
def test_processes_have_the_gradients_and_weights_of_one(
    alone: tuple[Mapping[str, NDArray[np.float64]], Path], tmp_path: Path, processes: int
) -> None:
    expected, model = alone
    start(processes, tmp_path, None)
    for rank in range(processes):
        found = load_file(tmp_path / f"gradients-{rank}.safetensors")
        assert set(found) == set(expected)
        for name, gradient in expected.items():
            np.testing.assert_allclose(found[name], gradient, rtol=1e-9, atol=1e-12, err_msg=name)
    assert any("adversary" in name for name in expected)
    one, several = (SubspaceModel.from_pretrained(path).state_dict() for path in (model, tmp_path / "model"))
    for name, tensor in one.items():
        torch.testing.assert_close(several[name], tensor, rtol=0, atol=2e-6, msg=name)
    assert not list((tmp_path / "model").rglob("*.tmp"))


@pytest.mark.slow
def test_processes_have_the_gradients_and_vectors_of_one_at_depth_blocks(
    world: World, tmp_path: Path, speech: Speech
) -> None:
    home = Path(world.recipe.backbone).parent
    start(2, tmp_path, home)
    for name, settings in ENCODERS.items():
        expected = encoder_gradients(home, settings)
        assert any(key.startswith("encoder.") for key in expected)
        for rank in range(2):
            found = load_file(tmp_path / f"{name}-{rank}.safetensors")
            assert set(found) == set(expected)
            for key, gradient in expected.items():
                scale = max(1e-3, float(np.abs(gradient).max()))
                np.testing.assert_allclose(found[key], gradient, rtol=0, atol=1e-4 * scale, err_msg=key)
    one = SubspaceModel.from_pretrained(world.train(tmp_path / "one", deep_recipe(world)))
    several = SubspaceModel.from_pretrained(tmp_path / "deep")
    clips = [speech(0.4, 0), speech(0.9, 1)]
    for space, vectors in one.encode(clips).items():
        np.testing.assert_allclose(several.encode(clips)[space], vectors, atol=1e-3)
    rates = [TrainingRecord.read(tmp_path / path).validation for path in ("one", "deep")]
    assert [m.step for m in rates[1]] == [m.step for m in rates[0]] == [0, 2, 3]


def test_shares_are_equal_and_complete() -> None:
    assert share(5).tolist() == [0, 1, 2, 3, 4]
