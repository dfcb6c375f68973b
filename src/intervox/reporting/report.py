"""``report.html``: one self-contained page, the claim first, then what it rests on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from intervox.clips.corpus import Corpus
from intervox.clips.labels import Clips
from intervox.evaluation.results import Metrics
from intervox.metrics.detection import error_rates
from intervox.metrics.vectors import Vectors
from intervox.recipe import Recipe, dump_recipe
from intervox.reporting import figures, render
from intervox.reporting.claim import claim
from intervox.reporting.maps import MAP_SIZE, separation_matrix, subspace_maps
from intervox.reporting.tables import table_sections
from intervox.reporting.trials import (
    MAX_SECONDS,
    AudioBudget,
    main_stratum,
    read_trials,
    representations,
    stratum_scores,
    trial_path,
    worst_trials,
)
from intervox.reporting.verdicts import RULES
from intervox.reporting.wording import (
    condition_title,
    human_protocols,
    representation_title,
    running_by_name,
    spaces_of,
)
from intervox.storage import write_bytes
from intervox.training.checkpoint import LossRecord

Drawing = tuple[str, str, str]
"""An SVG element, its caption and a link to its trials."""

WORST = 5
"""Trials of a kind to listen to."""

AUDIO_BYTES = 4_000_000
"""Of the page, at most, are recordings."""

_SECTIONS = {
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
    told = {"speaker": set(metrics.verification), "content": set(metrics.keywords)}
    drawn = {
        "severity": [
            (protocol, figures.severity_curves(spaces[speaker]))
            for protocol, spaces in metrics.severity.items()
            if spaces.get(speaker)
        ],
        "reliability": _drawn_by_protocol(
            {p: {s: fit.bins for s, fit in fits.items()} for p, fits in metrics.calibration.items()},
            metrics,
            figures.reliability,
        ),
        "running": _drawn_by_protocol(
            {
                p: {s: found.curve for s, found in running_by_name(spaces).items()}
                for p, spaces in metrics.running.items()
            },
            metrics,
            figures.running_curves,
        ),
        "det": {
            protocol: drawings
            for protocol in metrics.protocols
            if (drawings := _det(trials.get(protocol, {}), metrics, protocol, speaker))
        },
        "worst": _worst(trials, metrics, speaker),
        "maps": {
            source.name: subspace_maps(source.clips, source.vectors, factors)
            for source in sources
            if (factors := [factor for factor, where in told.items() if source.name in where])
        },
    }
    tables = table_sections(metrics)
    matrices = {p: m for p in metrics.protocols if (m := separation_matrix(metrics, p))}
    said = claim(metrics)
    there = {name for name, value in (tables | drawn).items() if value}
    there |= {"verdicts"} if said.verdicts else set()
    there |= {"separation"} if matrices else set()
    there |= {"training", "recipe"} if made else set()
    page = render(
        "report.html.jinja",
        sections={name: title for name, title in _SECTIONS.items() if name in there},
        metrics=metrics,
        claim=said,
        rules=RULES,
        tables=tables,
        matrices=matrices,
        files=files,
        speaker_space=speaker,
        cut=MAX_SECONDS if embed_audio else 0,
        audio=AudioBudget(AUDIO_BYTES if embed_audio else 0),
        map_size=MAP_SIZE,
        **drawn,
        **_making(made),
    )
    write_bytes(path, page.encode())


def _read_all(run: Path, metrics: Metrics) -> dict[str, dict[str, pa.Table]]:
    """Read the trials of every protocol and condition that have a file."""
    result: dict[str, dict[str, pa.Table]] = {}
    for protocol in metrics.protocols:
        for condition in ("clean", "cross_condition"):
            if trial_path(run, protocol, condition).exists():
                result.setdefault(protocol, {})[condition] = read_trials(run, protocol, condition)
    return result


def _drawn_by_protocol(
    curves: Mapping[str, Mapping[str, Sequence[Sequence[float]]]],
    metrics: Metrics,
    draw: Callable[[Mapping[str, Sequence[Sequence[float]]]], str],
) -> list[tuple[str, str]]:
    """Draw one figure a protocol, with a line a space that has a curve."""
    named = {
        protocol: {representation_title(s, metrics.spaces): curve for s, curve in by_space.items() if curve}
        for protocol, by_space in curves.items()
    }
    return [(protocol, draw(lines)) for protocol, lines in named.items() if lines]


def _det(by_condition: dict[str, pa.Table], metrics: Metrics, protocol: str, speaker: str) -> list[Drawing]:
    """DET curves under each condition and of the open set, and histograms of clean scores."""
    drawings = []
    for condition, table in by_condition.items():
        stratum = main_stratum(table)
        curves = {
            representation_title(name, metrics.spaces): error_rates(*stratum_scores(table, name, stratum))
            for name in representations(table)
        }
        link = str(trial_path(Path(), protocol, condition))
        caption = f"DET, {condition_title(condition)}."
        drawings.append((figures.det_curves(curves), caption, link))
    if open_set := _open_set_rates(metrics, protocol):
        drawings.append((figures.det_curves(open_set), "Open set, clean.", ""))
    clean = by_condition.get("clean")
    if clean is not None and speaker in representations(clean):
        scores: dict[str, NDArray[np.float32]] = {}
        for stratum, words in (("different_text", "different text"), ("same_text_impostors", "same text")):
            if stratum in clean.column_names:
                targets, impostors = stratum_scores(clean, speaker, stratum)
                scores.setdefault("same speaker, different text", targets)
                scores[f"impostor, {words}"] = impostors
        if scores:
            link = str(trial_path(Path(), protocol, "clean"))
            drawings.append((figures.score_histograms(scores, speaker), "Scores, clean.", link))
    return drawings


def _open_set_rates(metrics: Metrics, protocol: str) -> dict[str, figures.Rates]:
    """Error rates of keywords among unknown words: of the content subspaces, and of raw layers."""
    found = metrics.keywords.get(protocol)
    if found is None:
        return {}
    shown = {space: found.own[space] for space in spaces_of(metrics, "content") if space in found.own}
    if raw := found.raw:
        best = raw.best_layer["clean"]
        shown |= {f"raw.{best}": raw.layers[best], "raw.mean": raw.mean}
    rates = {}
    for name, by_condition in shown.items():
        if open_set := by_condition["clean"].open_set:
            accept, reject = np.asarray(open_set.curve, np.float64).T
            rates[representation_title(name, metrics.spaces)] = accept, reject
    return rates


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
        "recipe_yaml": dump_recipe(made.recipe),
        "cells": _count_cells(made.corpus),
        "weights": figures.layer_weights(made.layer_weights),
        "losses": figures.training_curves(made.history) if made.history else "",
    }


def _count_cells(corpus: Corpus) -> dict[str, dict[str, int]]:
    """Cells, speakers, contents and blocks of each split."""
    counts = {}
    for split in ("train", "test"):
        cells = corpus.cells.filter(pc.equal(corpus.cells["split"], split))
        distinct = {f"{name}s": len(cells[name].unique()) for name in ("speaker", "content", "block")}
        counts[split] = {"cells": cells.num_rows} | distinct
    return counts
