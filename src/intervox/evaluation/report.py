"""``report.html``: one self-contained page that says what was done and what came out."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from intervox import __version__
from intervox.corpus.store import Corpus
from intervox.evaluation import figures
from intervox.evaluation.evaluate import SYNTHETIC, TestSet
from intervox.evaluation.representations import Representation
from intervox.evaluation.tables import metric_tables
from intervox.recipe import Recipe, dump_recipe
from intervox.storage import read_json, write_bytes
from intervox.subspaces.model import SubspaceModel


def write_report(
    path: Path,
    recipe: Recipe,
    metrics: dict[str, Any],
    model: SubspaceModel,
    corpus: Corpus,
    representations: list[Representation],
    test_sets: list[TestSet],
    training: Path,
) -> None:
    """Draw the figures and write the page.

    Parameters
    ----------
    path
        Of the page.
    training
        ``training.json`` of the model.
    """
    history = read_json(training)["history"]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = files("intervox.evaluation").joinpath("report.html.jinja").read_text(encoding="utf-8")
    page = environment.from_string(template).render(
        version=__version__,
        recipe=recipe,
        recipe_yaml=dump_recipe(recipe),
        metrics=metrics,
        corpus=corpus.about,
        cells=_count_cells(corpus),
        tables=metric_tables(metrics),
        weights=figures.svg(figures.layer_weights(model.layer_weights())),
        training=figures.svg(figures.training_curves(history)) if history else "",
        protocols=[
            _protocol_figures(test_set, representations, metrics, list(model.subspaces))
            for test_set in test_sets
        ],
    )
    write_bytes(path, page.encode())


def _count_cells(corpus: Corpus) -> dict[str, dict[str, int]]:
    """Cells, speakers, contents and blocks of each split."""
    counts = {}
    for split in ("train", "test"):
        cells = corpus.cells.filter([value == split for value in corpus.cells["split"].to_pylist()])
        columns = ("speaker", "content", "block")
        counts[split] = {"cells": cells.num_rows} | {
            f"{column}s": len(set(cells[column].to_pylist())) for column in columns
        }
    return counts


def _protocol_figures(
    test_set: TestSet,
    representations: list[Representation],
    metrics: dict[str, Any],
    spaces: list[str],
) -> dict[str, Any]:
    """DET curves under both conditions, score histograms, and maps of the subspaces."""
    by_name = {representation.name: representation for representation in representations}
    raw = metrics["verification"][test_set.name]["raw"]["best_layer"]
    shown: dict[str, Any] = {"name": test_set.name, "synthetic": test_set.name == SYNTHETIC, "det": {}}
    stratum = "different_text" if "different_text" in test_set.trials else "all"
    for condition, means in test_set.means.items():
        wanted = {
            "speaker subspace": "speaker",
            "LDA": "lda.speaker",
            f"raw layer {raw[condition]}": f"raw.{raw[condition]}",
        }
        vectors = {title: by_name[name].embed(means) for title, name in wanted.items() if name in by_name}
        shown["det"][condition.replace("_", " ")] = figures.svg(
            figures.det_curves(vectors, test_set.trials[stratum])
        )
    clean = test_set.means["clean"]
    subspaces = {name: by_name[name].embed(clean) for name in spaces}
    if "different_text" in test_set.trials and "speaker" in subspaces:
        histogram = figures.score_histograms(subspaces["speaker"], test_set.trials)
        shown["histogram"] = figures.svg(histogram)
    labels = {"speaker": test_set.speakers}
    if test_set.has_keywords:
        labels["content"] = test_set.contents
    shown["map"] = figures.svg(figures.subspace_maps(subspaces, labels))
    return shown
