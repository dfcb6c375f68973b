"""A refined model of a corpus of tones, to be adapted."""

from dataclasses import dataclass
from pathlib import Path

from intervox.training.adaptation import (
    adapt,
)

from intervox.clips.corpus import Corpus
from intervox.features.store import Features
from intervox.recipe import Recipe
from intervox.recipe.training import AdaptationSettings

STEPS = 12


SETTINGS = AdaptationSettings(
    rank=4, blocks=(0, 2), steps=STEPS, learning_rate=1e-2, warmup_steps=2, checkpoint_every=5
)


@dataclass
class World:
    """A refined model of a corpus of tones."""

    corpus: Corpus
    features: Features
    recipe: Recipe
    model: Path

    def adapt(self, folder: Path, **settings: object) -> Path:
        changed = self.recipe.adaptation.model_copy(update=settings)
        recipe = self.recipe.model_copy(update={"adaptation": changed})
        adapt(self.corpus, self.features, recipe, self.model, folder)
        return folder
