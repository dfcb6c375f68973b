"""Draw docs/kept.svg: what the raw model and each subspace know of the speaker and of the content.

On every human corpus that is found, of the model in the package or of another:

    python benchmarks/kept.py runs/quickstart
    python benchmarks/kept.py runs/quickstart runs/quickstart/model

The run's `extract` has to be done: its cells standardise the raw layers, and its folder keeps the features.
"""

import sys
from dataclasses import replace
from pathlib import Path

from intervox.evaluation.representations import subspace_representations
from intervox.evaluation.results import Metrics
from intervox.evaluation.separation import SpaceEvidence
from intervox.evaluation.studies.sweep import light
from intervox.model.model import SubspaceModel
from intervox.parallel import default_workers
from intervox.recipe import load_recipe
from intervox.reporting.opening import kept_bars, kept_picture, kept_words
from intervox.runs import Run, open_features, open_test_sets
from intervox.training.cells import training_cells

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "kept.svg"


def measure(run: Run, name: str) -> Metrics:
    """Probe a model's subspaces and the raw layers."""
    recipe = run.recipe
    run = replace(run, recipe=recipe.model_copy(update={"evaluation": light(recipe.evaluation)}))
    corpus, features = open_features(run)
    model = SubspaceModel.from_pretrained(name)
    test_sets = open_test_sets(run, model.own_backbone(), model.reads_frames, None)
    means = features.rows(training_cells(corpus.cells, features, set(model.factors.values())).rows)
    evidence = SpaceEvidence.of_model(model, subspace_representations(model), means, model, means)
    # The picture has no place for what is left of the layers without a subspace.
    evidence = replace(evidence, rejected=(), projected=())
    settings = run.recipe.evaluation
    return Metrics(
        recipe=name,
        seed=recipe.seed,
        protocols={test_set.name: test_set.about() for test_set in test_sets},
        spaces=model.factors,
        verification={},
        separation={
            one.name: evidence.measure(one, settings.bootstrap, settings.seeds, default_workers())
            for one in test_sets
        },
    )


def main(folder: Path, name: str = "default") -> None:
    """Write the picture, and print it in words."""
    found = measure(Run(load_recipe(folder / "recipe.yaml"), folder), name)
    PICTURE.write_text(kept_picture(found, alone=True) + "\n", encoding="utf-8")
    print(kept_words(kept_bars(found)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
