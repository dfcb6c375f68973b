"""``report.html``: one self-contained page, the claim first, then what it rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from intervox.clips.corpus import Corpus
from intervox.clips.labels import Clips
from intervox.metrics.detection import error_rates
from intervox.metrics.vectors import Vectors
from intervox.recipe import Recipe, dump_recipe
from intervox.reporting import figures
from intervox.reporting.claim import RULES, claim
from intervox.reporting.formats import render
from intervox.reporting.maps import MAP_SIZE, Map, separation_matrix, subspace_maps
from intervox.reporting.table import condition_title, human_protocols, representation_title, spaces_of
from intervox.reporting.tables import table_sections
from intervox.reporting.trials import (
    MAX_SECONDS,
    AudioBudget,
    listen,
    main_stratum,
    read_trials,
    representations,
    stratum_scores,
    trial_path,
    worst_impostors,
    worst_targets,
)
from intervox.storage import write_bytes
from intervox.training.checkpoint import LossRecord

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
    metrics: dict[str, Any],
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
        The content of ``metrics.json``. What it does not hold is not on the page.
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
    drawn = {
        "severity": [
            (protocol, figures.severity_curves(spaces[speaker]))
            for protocol, spaces in metrics.get("severity", {}).items()
            if spaces.get(speaker)
        ],
        "reliability": _by_protocol(metrics, "calibration", "bins", figures.reliability),
        "running": _by_protocol(metrics, "running", "curve", figures.running_curves),
        "det": {
            protocol: drawings
            for protocol in metrics["protocols"]
            if (drawings := _det(trials.get(protocol, {}), metrics, protocol, speaker))
        },
        "worst": _worst(trials, metrics, speaker, AudioBudget(AUDIO_BYTES if embed_audio else 0)),
        "maps": {source.name: _maps(source, metrics) for source in sources},
    }
    tables = table_sections(metrics)
    matrices = {p: m for p in metrics["protocols"] if (m := separation_matrix(metrics, p))}
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
        map_size=MAP_SIZE,
        **drawn,
        **_making(made),
    )
    write_bytes(path, page.encode())


def _read_all(run: Path, metrics: dict[str, Any]) -> dict[str, dict[str, pa.Table]]:
    """Read the trials of every protocol and condition that have a file."""
    result: dict[str, dict[str, pa.Table]] = {}
    for protocol in metrics["protocols"]:
        for condition in ("clean", "cross_condition"):
            if trial_path(run, protocol, condition).exists():
                result.setdefault(protocol, {})[condition] = read_trials(run, protocol, condition)
    return result


def _by_protocol(metrics: dict[str, Any], kind: str, part: str, draw: Any) -> list[tuple[str, str]]:
    """Draw one figure a protocol, with a line a space that has the part."""
    drawings = []
    for protocol, spaces in metrics.get(kind, {}).items():
        lines = {
            representation_title(
                f"{space}.{found['layer']}" if "layer" in found else space, metrics["spaces"]
            ): found[part]
            for space, found in spaces.items()
            if found.get(part)
        }
        if lines:
            drawings.append((protocol, draw(lines)))
    return drawings


def _det(
    by_condition: dict[str, pa.Table], metrics: dict[str, Any], protocol: str, speaker: str
) -> list[dict[str, str]]:
    """DET curves under each condition and of the open set, and histograms of clean scores."""
    drawings = []
    for condition, table in by_condition.items():
        stratum = main_stratum(table)
        curves = {
            representation_title(name, metrics["spaces"]): error_rates(*stratum_scores(table, name, stratum))
            for name in representations(table)
        }
        link = str(trial_path(Path(), protocol, condition))
        caption = f"DET, {condition_title(condition)}."
        drawings.append({"drawing": figures.det_curves(curves), "caption": caption, "link": link})
    if open_set := _open_set_rates(metrics, protocol):
        caption = "Open set, clean."
        drawings.append({"drawing": figures.det_curves(open_set), "caption": caption, "link": ""})
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
            drawing = figures.score_histograms(scores, speaker)
            drawings.append({"drawing": drawing, "caption": "Scores, clean.", "link": link})
    return drawings


def _open_set_rates(metrics: dict[str, Any], protocol: str) -> dict[str, figures.Rates]:
    """Error rates of keywords among unknown words: of the content subspaces, and of raw layers."""
    found = metrics.get("keywords", {}).get(protocol, {})
    shown = {space: found[space] for space in spaces_of(metrics, "content") if space in found}
    if raw := found.get("raw"):
        best = raw["best_layer"]["clean"]
        shown |= {f"raw.{best}": raw["layers"][best], "raw.mean": raw["mean"]}
    rates = {}
    for name, by_condition in shown.items():
        if curve := (by_condition["clean"].get("open_set") or {}).get("curve"):
            accept, reject = np.asarray(curve, np.float64).T
            rates[representation_title(name, metrics["spaces"])] = accept, reject
    return rates


def _worst(
    trials: dict[str, dict[str, pa.Table]], metrics: dict[str, Any], speaker: str, audio: AudioBudget
) -> list[dict[str, Any]]:
    """The worst errors on human speech, ready to listen to."""
    result = []
    for protocol in human_protocols(metrics):
        table = trials.get(protocol, {}).get("clean")
        if table is None or speaker not in representations(table):
            continue
        chosen = table.filter(table[main_stratum(table)])
        groups = [
            ("Different people, highest scores", worst_impostors(chosen, speaker, WORST)),
            ("One person, lowest scores", worst_targets(chosen, speaker, WORST)),
        ]
        result.append(
            {
                "protocol": protocol,
                "licence": metrics["protocols"][protocol].get("licence"),
                "link": str(trial_path(Path(), protocol, "clean")),
                "groups": [(title, listen(rows, speaker, audio)) for title, rows in groups],
            }
        )
    return result


def _maps(source: MapSource, metrics: dict[str, Any]) -> list[Map]:
    factors = ["speaker", "content"] if source.name in metrics.get("keywords", {}) else ["speaker"]
    return subspace_maps(source.clips, source.vectors, factors)


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
        cells = corpus.cells.filter([value == split for value in corpus.cells["split"].to_pylist()])
        columns = ("speaker", "content", "block")
        counts[split] = {"cells": cells.num_rows} | {
            f"{column}s": len(set(cells[column].to_pylist())) for column in columns
        }
    return counts
