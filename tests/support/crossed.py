"""A crossed corpus without audio: its plan, and layer means that are speaker + content + noise."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from intervox.features.store import Features, frames_path, write_features
from intervox.recipe import Recipe
from intervox.recipe.training import LossSettings, SubspaceSettings, TrainingSettings
from intervox.storage import growing_npy, write_json

SPEAKERS, CONTENTS, LAYERS, DIM = 12, 10, 3, 16


def crossed_corpus(folder: Path, held_out: int = 0) -> tuple[pa.Table, Features]:
    """Make three training blocks of four speakers, engine ``a``, and one of more held-out speakers, ``b``.

    A clip has 3 to 9 frames, which deviate from its mean.
    """
    random = np.random.default_rng(0)
    voices = random.normal(size=(SPEAKERS + held_out, LAYERS, DIM))
    texts = random.normal(size=(CONTENTS, LAYERS, DIM))
    rows: list[dict[str, object]] = []
    means = []
    for speaker in range(SPEAKERS + held_out):
        for content in range(CONTENTS):
            training = speaker < SPEAKERS
            rows.append(
                {
                    "cell_id": len(rows),
                    "block": speaker // 4,
                    "split": "train" if training else "validation",
                    "engine": "a" if training else "b",
                    "speaker": f"s{speaker}",
                    "content": f"c{content}",
                    "condition": f"d{(speaker + content) % 3}",
                    "style": "" if content % 2 else f"x{content % 4}",
                }
            )
            means.append(voices[speaker] + texts[content] + 0.1 * random.normal(size=(LAYERS, DIM)))
    count = len(rows)
    stacked = np.asarray(means, np.float32)
    lengths = random.integers(3, 10, count)
    with growing_npy(frames_path(folder, 0), (LAYERS, DIM), np.float16) as append:
        for mean, length in zip(stacked, lengths, strict=True):
            noise = random.normal(size=(length, LAYERS, DIM))
            append((mean + noise - noise.mean(axis=0)).astype(np.float32))
    write_features(folder / "shard-00000.arrow", list(range(count)), stacked, lengths, [None] * count)
    write_json(
        folder / "features.json",
        {
            "key": "k",
            "backbone": "none",
            "fingerprint": "f",
            "layers": LAYERS,
            "dim": DIM,
            "window_seconds": 4.0,
            "clips": count,
            "frames": True,
        },
    )
    return pa.Table.from_pylist(rows), Features(folder)


def crossed_recipe(
    training: Mapping[str, object] | None = None,
    loss: Mapping[str, object] | None = None,
    **subspace: object,
) -> Recipe:
    """Two subspaces of 8 dims, started at random; what is given replaces the small defaults.

    A map that pools frames is trained at depth ``frames``.
    """
    depth = "frames" if subspace.get("map") == "attentive" else "map"
    small = {"steps": 30, "blocks_per_step": 2, "learning_rate": 3e-3, "checkpoint_every": 10}
    return Recipe(
        subspaces={
            name: SubspaceSettings.model_validate({"factor": name, "dim": 8, **subspace})
            for name in ("speaker", "content")
        },
        loss=LossSettings.model_validate(loss or {}),
        training=TrainingSettings.model_validate(
            small | {"initialisation": "random", "depth": depth} | dict(training or {})
        ),
    )
