"""Measure models on the people whom a run's training never hears: its validation cells, whole clips.

    python benchmarks/held_out.py runs/neural default runs/neural/model-maps runs/neural

The first argument is a run whose corpus has a validation split and whose `extract` is done; the others are
models. All have the same trials. Prints each subspace's equal error rate, in %.
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intervox.features.waves import Waves, decode
from intervox.metrics.vectors import Vectors
from intervox.model.model import SubspaceModel
from intervox.recipe import load_recipe
from intervox.runs import Run, open_features
from intervox.tables import Table, print_tables
from intervox.training.cells import validation_cells
from intervox.training.validation import Validation


def embed(model: SubspaceModel, waves: Waves, rows: NDArray[np.int64]) -> dict[str, Vectors]:
    """Embed cells of the corpus, whole."""
    return model.encode([waves.read(int(row)) for row in rows])


def main(folder: Path, models: list[str]) -> None:
    """Print the table."""
    run = Run(load_recipe(folder / "recipe.yaml"), folder)
    corpus, features = open_features(run)
    factors = {name: settings.factor for name, settings in run.recipe.subspaces.items()}
    cells = validation_cells(corpus.cells, features, set(factors.values()))
    validation = Validation(cells, factors, run.recipe.seed)
    waves = decode(corpus, run.waves_folder)
    rows = []
    for name in models:
        rates = validation.measure(partial(embed, SubspaceModel.from_pretrained(name), waves))
        rows.append([name, *(f"{100 * rates[space]:.1f}" for space in factors)])
    print_tables([Table(f"{len(cells.rows)} held-out cells", "EER in %.", ["model", *factors], rows)])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
