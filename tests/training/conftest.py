"""Models with a tiny encoder that was trained with them, each made once."""

import shutil
from pathlib import Path

import pytest

from tests.support.encoders import FULL, LORA, World, make_world


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("blocks"))


@pytest.fixture(scope="package")
def lora(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model whose encoder was trained by LoRA."""
    return world.train(tmp_path_factory.mktemp("lora") / "model", world.varied(**LORA))


@pytest.fixture(scope="package")
def full(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model whose encoder was trained in full."""
    return world.train(tmp_path_factory.mktemp("full") / "model", world.varied(**FULL))


@pytest.fixture
def lora_copy(lora: Path, tmp_path: Path) -> Path:
    """Copy the backbone that was trained by LoRA, to be broken."""
    return Path(shutil.copytree(lora / "backbone", tmp_path / "copy"))


@pytest.fixture
def full_copy(full: Path, tmp_path: Path) -> Path:
    """Copy the backbone that was trained in full, to be broken."""
    return Path(shutil.copytree(full / "backbone", tmp_path / "copy"))
