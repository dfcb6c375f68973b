"""A tiny adapted backbone, made once."""

import shutil
from pathlib import Path

import pytest

from intervox.backbones.load import load_backbone
from intervox.clips.corpus import Corpus
from intervox.features.extraction import extract
from intervox.recipe import FeatureSettings, Recipe
from intervox.recipe.training import SubspaceSettings, TrainingSettings
from intervox.training.refine import refine
from tests.backbones.test_backbones import save_family
from tests.support.adaptation import SETTINGS, World
from tests.support.corpora import tone_rows, write_corpus


@pytest.fixture(scope="package")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    home = tmp_path_factory.mktemp("adaptation")
    corpus = Corpus(write_corpus(home / "corpus", tone_rows()))
    recipe = Recipe(
        backbone=str(save_family("whisper", home / "base")),
        features=FeatureSettings(batch_seconds=1.0, window_seconds=0.5),
        subspaces={
            "speaker": SubspaceSettings(factor="speaker", dim=6, layers=(0, 1, 3)),
            "content": SubspaceSettings(factor="content", dim=6, layers=(2, 3)),
        },
        training=TrainingSettings(steps=2, initialisation="random"),
        adaptation=SETTINGS,
    )
    features = extract(corpus, load_backbone(recipe.backbone), recipe.features, home / "features")
    refine(corpus.cells, features, recipe, home / "model")
    return World(corpus, features, recipe, home / "model")


@pytest.fixture(scope="package")
def adapted(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.adapt(tmp_path_factory.mktemp("run") / "adapter")


@pytest.fixture
def copy(adapted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapted, tmp_path / "adapter"))
