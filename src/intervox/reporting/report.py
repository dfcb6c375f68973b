"""``report.html``: one self-contained page, the claim first, then what it rests on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from intervox.clips.corpus import Corpus
from intervox.clips.labels import Clips
from intervox.evaluation.results import Metrics
from intervox.metrics.vectors import Vectors
from intervox.recipe import Recipe, dump_recipe
from intervox.reporting import figures, render
from intervox.reporting.claim import claim
from intervox.reporting.drawings import (
    Drawing,
    error_drawings,
    reliability_drawings,
    running_drawings,
    severity_drawings,
)
from intervox.reporting.maps import MAP_SIZE, Map, separation_matrix, subspace_maps
from intervox.reporting.opening import common_scale, kept_picture, speaker_panels, word_panels
from intervox.reporting.tables import table_sections
from intervox.reporting.trials import (
    MAX_SECONDS,
    embed_recordings,
    main_stratum,
    read_trials,
    representations,
    trial_path,
    worst_trials,
)
from intervox.reporting.verdicts import RULES, verdict_grid
from intervox.reporting.wording import condition_title, human_protocols, spaces_of
from intervox.storage import write_bytes
from intervox.training.checkpoint import LossRecord

WORST = 3
"""Trials of a kind to listen to."""

PAGE_BYTES = 1_900_000
"""Of the page, beyond which it holds no more recordings."""

_SECTIONS = {
    "kept": "What each subspace keeps",
    "errors": "How often it errs",
    "verdicts": "Verdicts",
    "tested": "Who was tested",
    "verification": "Speaker verification",
    "keywords": "Keywords",
    "separation": "Separation",
    "baselines": "Baselines",
    "severity": "Severity",
    "calibration": "Calibration",
    "det": "DET curves",
    "maps": "Maps",
    "worst": "Worst errors",
    "training": "Training",
    "recipe": "Recipe",
}


@dataclass(frozen=True)
class MapSource:
    """What the maps of a protocol are drawn from.

    Attributes
    ----------
    vectors
        Subspace to unit vectors of the clean clips, shape (clips, dim).
    """

    name: str
    clips: Clips
    vectors: Mapping[str, Vectors]


@dataclass(frozen=True)
class Made:
    """How the model came to be.

    Attributes
    ----------
    layer_weights
        Subspace to layer to learned weight.
    history
        Of ``TrainingRecord``; may be empty.
    """

    recipe: Recipe
    corpus: Corpus
    layer_weights: Mapping[str, Mapping[int, float]]
    history: Sequence[LossRecord]


def write_report(
    path: Path,
    metrics: Metrics,
    sources: Sequence[MapSource] = (),
    made: Made | None = None,
    embed_audio: bool = True,
) -> None:
    """Draw the figures and write the page.

    Parameters
    ----------
    path
        Of the page, in the folder of the run: the trials of the figures are read from ``trials/``
        beside it. What has no trials there has no DET curves and no worst errors.
    metrics
        What it does not hold is not on the page.
    sources
        For the maps; protocols that are not among them have none.
    made
        Unknown where vectors from elsewhere are evaluated.
    embed_audio
        Whether the page holds the recordings of the worst errors.
    """
    trials = _read_all(path.parent, metrics)
    files = {
        protocol: {condition_title(c): str(trial_path(Path(), protocol, c)) for c in conditions}
        for protocol, conditions in trials.items()
    }
    speaker = next(iter(spaces_of(metrics, "speaker")), "")
    drawn: dict[str, Mapping[str, Any]] = {
        "severity": severity_drawings(metrics, speaker),
        "reliability": reliability_drawings(metrics),
        "running": running_drawings(metrics),
        "det": {
            protocol: drawings
            for protocol in [*human_protocols(metrics), *metrics.protocols]
            if (drawings := error_drawings(trials.get(protocol, {}), metrics, protocol, speaker))
        },
        "worst": _worst(trials, metrics, speaker),
        "maps": _maps(metrics, sources),
    }
    tables = table_sections(metrics)
    said = claim(metrics)
    matrix = separation_matrix(metrics)
    picture = kept_picture(metrics)
    panels = {"speakers": speaker_panels(metrics), "words": word_panels(metrics)}
    there = {name for name, value in (tables | drawn).items() if value}
    there |= {"kept"} if picture else set()
    there |= {"errors"} if any(panels.values()) else set()
    there |= {"verdicts"} if said.verdicts else set()
    there |= {"separation"} if matrix.rows else set()
    there |= {"training", "recipe"} if made else set()
    fill = partial(
        render,
        "report.html.jinja",
        sections={name: title for name, title in _SECTIONS.items() if name in there},
        metrics=metrics,
        claim=said,
        picture=picture,
        panels=panels,
        most={group: common_scale(shown) for group, shown in panels.items()},
        verdict_grid=verdict_grid(said.verdicts),
        rules=RULES,
        tables=tables,
        matrix=matrix,
        files=files,
        speaker_space=speaker,
        cut=MAX_SECONDS if embed_audio else 0,
        map_size=MAP_SIZE,
        **drawn,
        **_making(made),
    )
    page = fill(sounds={})
    if embed_audio:
        page = fill(sounds=embed_recordings(_heard(drawn["worst"]), PAGE_BYTES - len(page.encode())))
    write_bytes(path, page.encode())


def _heard(worst: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> Iterator[str]:
    """Paths of the recordings of the worst errors, in turn from each protocol and kind."""
    groups = [trials for kinds in worst.values() for trials in kinds.values()]
    for turn in zip_longest(*groups):
        for trial in filter(None, turn):
            yield from (trial["enrol"], trial["test"])


def _maps(metrics: Metrics, sources: Sequence[MapSource]) -> dict[str, list[Map]]:
    """Draw the maps of each source, coloured by the factors that can be told on it."""
    told = {"speaker": set(metrics.verification), "content": set(metrics.keywords)}
    return {
        source.name: subspace_maps(source.clips, source.vectors, factors)
        for source in sources
        if (factors := [factor for factor, where in told.items() if source.name in where])
    }


def _read_all(run: Path, metrics: Metrics) -> dict[str, dict[str, pa.Table]]:
    """Read the trials of every protocol and condition that have a file."""
    result: dict[str, dict[str, pa.Table]] = {}
    for protocol in metrics.protocols:
        for condition in ("clean", "cross_condition"):
            if trial_path(run, protocol, condition).exists():
                result.setdefault(protocol, {})[condition] = read_trials(run, protocol, condition)
    return result


def _worst(
    trials: dict[str, dict[str, pa.Table]], metrics: Metrics, speaker: str
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The worst errors on each protocol of human speech: title to rows of the trials."""
    result = {}
    for protocol in human_protocols(metrics):
        table = trials.get(protocol, {}).get("clean")
        if table is None or speaker not in representations(table):
            continue
        chosen = table.filter(table[main_stratum(table)])
        result[protocol] = {
            "Different people, highest scores": worst_trials(chosen, speaker, WORST, False).to_pylist(),
            "One person, lowest scores": worst_trials(chosen, speaker, WORST, True).to_pylist(),
        }
    return result


def _making(made: Made | None) -> dict[str, Any]:
    if made is None:
        return {"made": None}
    return {
        "made": made,
        "recipe_yaml": dump_recipe(made.recipe, but=["sweep"]),
        "cells": _count_cells(made.corpus),
        "weights": Drawing(figures.layer_weights(made.layer_weights), "Learned weight of each layer."),
        "losses": Drawing(figures.training_curves(made.history), "Parts of the loss.")
        if made.history
        else None,
    }


def _count_cells(corpus: Corpus) -> dict[str, dict[str, int]]:
    """Cells, speakers, contents and blocks of each split."""
    counts = {}
    for split in ("train", "test"):
        cells = corpus.cells.filter(pc.equal(corpus.cells["split"], split))
        distinct = {f"{name}s": len(cells[name].unique()) for name in ("speaker", "content", "block")}
        counts[split] = {"cells": cells.num_rows} | distinct
    return counts
