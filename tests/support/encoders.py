"""A corpus of tones and a tiny encoder, to be trained at depth ``blocks``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from intervox.backbones.load import load_backbone
from intervox.clips.corpus import Corpus
from intervox.features.extraction import extract
from intervox.features.store import Features
from intervox.features.waves import Waves, decode
from intervox.recipe import FeatureSettings, Recipe
from intervox.recipe.training import EncoderSettings, SubspaceSettings, TrainingSettings
from intervox.training.encoder import TrainableEncoder
from intervox.training.loop import Step
from intervox.training.losses import MultiPart
from intervox.training.refine import refine
from intervox.training.start import bare_model
from tests.backbones.test_backbones import save_family
from tests.support.corpora import Row, tone_rows, write_corpus

STEPS = 12

LORA: dict[str, Any] = {"method": "lora", "rank": 4, "blocks": (0, 2)}
FULL: dict[str, Any] = {"method": "full", "blocks": (1,), "learning_rate": 1e-3}


def _rows() -> list[Row]:
    """Make the tones' test block a validation block, of an engine that training never hears."""
    rows = tone_rows()
    for row in rows:
        if row["split"] == "test":
            row |= {"split": "validation", "engine": "kokoro"}
    return rows


@dataclass
class World:
    """Everything that a training reads."""

    corpus: Corpus
    features: Features
    waves: Waves
    recipe: Recipe

    def varied(self, training: dict[str, Any] | None = None, **encoder: Any) -> Recipe:
        """The recipe with other settings of training and encoder."""
        settings = self.recipe.training.model_copy(update=training or {})
        changed = self.recipe.encoder.model_copy(update=encoder)
        return self.recipe.model_copy(update={"training": settings, "encoder": changed})

    def train(self, folder: Path, recipe: Recipe | None = None) -> Path:
        """Refine; returns the model's folder."""
        refine(self.corpus.cells, self.features, recipe or self.recipe, folder, self.waves)
        return folder


def make_world(home: Path) -> World:
    """Write a corpus of tones and a random Whisper, its features and the audio."""
    corpus = Corpus(write_corpus(home / "corpus", _rows()))
    backbone = load_backbone(str(save_family("whisper", home / "base")))
    extract(corpus, backbone, _recipe(home).features, home / "features")
    decode(corpus, home / "waves")
    return open_world(home)


def open_world(home: Path) -> World:
    """Open what ``make_world`` wrote."""
    return World(Corpus(home / "corpus"), Features(home / "features"), Waves(home / "waves"), _recipe(home))


def _recipe(home: Path) -> Recipe:
    return Recipe(
        backbone=str(home / "base"),
        features=FeatureSettings(batch_seconds=1.0, window_seconds=0.5),
        subspaces={
            "speaker": SubspaceSettings(factor="speaker", dim=6, layers=(0, 1, 3)),
            "content": SubspaceSettings(factor="content", dim=6, layers=(2, 3)),
        },
        training=TrainingSettings(
            depth="blocks", steps=STEPS, warmup_steps=2, learning_rate=1e-2, checkpoint_every=5,
            blocks_per_step=2, initialisation="random",
        ),
        encoder=EncoderSettings(learning_rate=1e-2, map_steps=0),
    )  # fmt: skip


def a_step(world: World, recipe: Recipe) -> Step:
    """Put the recipe's maps on its encoder, both away from their start."""
    torch.manual_seed(0)
    encoder = TrainableEncoder(load_backbone(recipe.backbone), recipe)
    step = Step(bare_model(world.features, recipe), MultiPart(recipe.subspaces, recipe.loss), encoder)
    moved(encoder, 0.1)
    return step


def moved(encoder: TrainableEncoder, by: float) -> None:
    """Add noise to every weight that is trained."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in encoder.weights:
            weight += by * torch.randn(weight.shape, generator=random)
