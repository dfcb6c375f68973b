"""A small corpus whose variants are compared."""

from pathlib import Path

import pytest

from tests.support.variants import Setting, World, plan


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def corpus(world: World) -> Setting:
    cells, grid = plan()
    return cells, world.features("corpus", grid, 0.3)
