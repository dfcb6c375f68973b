"""Clips of which one layer is a voice and another a text, and the plan of their cells."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from intervox.clips.labels import Clips
from intervox.evaluation.representations import BACKBONE, FROZEN
from intervox.evaluation.test_sets import CLEAN, CROSS_CONDITION, EVALUATION_SEED, View
from intervox.evaluation.test_sets import TestSet as Prepared
from intervox.features.store import Features, write_features
from intervox.recipe import Recipe
from intervox.storage import write_json
from tests.support.trials import drawn

LAYERS, DIM = 2, 12
PEOPLE, TEXTS = 18, 8


Found = dict[str, Any]


class World:
    """Clips whose first layer is a voice and whose second is a text, and the cells of a plan."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        random = np.random.default_rng(3)
        self.voices, self.texts = random.normal(size=(PEOPLE, DIM)), random.normal(size=(TEXTS, DIM))
        self.random = random

    def features(self, name: str, grid: list[tuple[int, int]], noise: float) -> Features:
        means = np.array([[self.voices[s], self.texts[c]] for s, c in grid])
        means = np.asarray(means + noise * self.random.normal(size=means.shape), np.float32)
        count = len(grid)
        write_features(
            self.folder / name / "shard-00000.arrow",
            list(range(count)),
            means,
            np.full(count, 50),
            [None] * count,
        )
        about = {"key": name, "backbone": "none", "fingerprint": "f", "window_seconds": 4.0}
        shape = {"layers": LAYERS, "dim": DIM, "clips": count, "frames": False}
        write_json(self.folder / name / "features.json", about | shape)
        return Features(self.folder / name)

    def test_set(self, name: str, people: range, noise: float) -> Prepared:
        grid = [(s, c) for s in people for c in range(TEXTS) for _ in range(2)]
        labels = {
            "speaker": np.array([f"s{s:02d}" for s, _ in grid]),
            "content": np.array([f"t{c}" for _, c in grid]),
        }
        count = len(grid)
        clips = Clips(
            np.array([f"{name} {i}" for i in range(count)]), labels, np.ones(count), np.full(count, "")
        )
        rows = np.arange(count)
        views = {}
        for condition, more in ((CLEAN, 1.0), (CROSS_CONDITION, 1.5)):
            features = self.features(f"{name}-{condition}", grid, more * noise)
            views[condition] = View(rows, {BACKBONE: features, FROZEN: features}, rows)
        return Prepared(name, "none", clips, views, drawn(clips, 2000, EVALUATION_SEED))


def small_recipe(**changes: Any) -> Recipe:
    fields = {
        "name": "small",
        "subspaces": {name: {"factor": name, "dim": 6} for name in ("speaker", "content")},
        "training": {"steps": 3, "blocks_per_step": 2, "warmup_steps": 1, "initialisation": "random"},
        "evaluation": {"bootstrap": 40, "episodes": 5, "max_trials": 2000},
    }
    return Recipe.model_validate(fields | changes)


def plan(people: int = 8) -> tuple[pa.Table, list[tuple[int, int]]]:
    """Make two blocks of half of the people each, every text under two copies, and a test block."""
    rows: list[Found] = []
    grid = []
    for person in range(people):
        for text in range(TEXTS):
            for copy in range(2):
                rows.append(
                    {
                        "cell_id": len(rows),
                        "split": "train",
                        "block": person * 2 // people,
                        "speaker": f"s{person:02d}",
                        "content": f"t{text}",
                        "engine": "espeak" if person % 4 else "kokoro",
                        "condition": "noise" if copy else "clean",
                        "copy": copy,
                    }
                )
                grid.append((person, text))
    rows.append(rows[-1] | {"cell_id": len(rows), "split": "test", "block": 2})
    return pa.Table.from_pylist(rows), [*grid, grid[-1]]


Setting = tuple[pa.Table, Features]
