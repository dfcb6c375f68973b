"""The report's plots, a list for each test set: which are worth drawing, and from what."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from intervox.evaluation.results import Metrics
from intervox.metrics.detection import error_rates
from intervox.reporting import figures
from intervox.reporting.trials import main_stratum, representations, stratum_scores
from intervox.reporting.wording import representation_title, running_by_name, spaces_of

LEAST_POINTS = 3
"""Of a curve that is drawn; fewer are told better by the table."""


@dataclass(frozen=True)
class Drawing:
    """An SVG element and its caption."""

    svg: str
    caption: str


def severity_drawings(metrics: Metrics, speaker: str) -> dict[str, Drawing]:
    """EER over the severity of one disturbance at a time, on one scale."""
    measured = {
        protocol: {name: curve for name, curve in spaces[speaker].items() if len(curve) >= LEAST_POINTS}
        for protocol, spaces in metrics.severity.items()
        if speaker in spaces
    }
    shown = {protocol: curves for protocol, curves in measured.items() if curves}
    rates = [rate for curves in shown.values() for curve in curves.values() for rate in curve.values()]
    tops = [rate.eer_interval[1] if isinstance(rate.eer_interval, tuple) else rate.eer for rate in rates]
    most = 10 * np.ceil(10 * max(tops, default=0.5))
    drawn = {}
    for protocol, curves in shown.items():
        bands = " Bands: 95 % intervals." if figures.has_bands(curves) else ""
        label = f"EER of the {speaker} subspace on {protocol} from the lowest to the highest severity"
        svg = figures.severity_curves(curves, most, label)
        drawn[protocol] = Drawing(svg, f"{protocol}.{bands}")
    return drawn


def reliability_drawings(metrics: Metrics) -> dict[str, Drawing]:
    """Probabilities of the speaker subspaces against how often they come true."""
    drawn = {}
    for protocol, fits in metrics.calibration.items():
        bins = {
            representation_title(space, metrics.spaces): fits[space].bins
            for space in spaces_of(metrics, "speaker")
            if space in fits and len(fits[space].bins) >= LEAST_POINTS
        }
        if bins:
            svg = figures.reliability(bins, f"Reliability on {protocol}")
            drawn[protocol] = Drawing(svg, f"{protocol}.")
    return drawn


def running_drawings(metrics: Metrics) -> dict[str, Drawing]:
    """Keywords missed in running speech over false alarms."""
    drawn = {}
    for protocol, spaces in metrics.running.items():
        curves = {
            representation_title(name, metrics.spaces): found.curve
            for name, found in running_by_name(spaces).items()
            if len(found.curve) >= LEAST_POINTS
        }
        if curves:
            svg = figures.running_curves(curves, f"Keywords missed in running speech of {protocol}")
            drawn[protocol] = Drawing(svg, f"{protocol}: keywords missed in running speech.")
    return drawn


def error_drawings(
    by_condition: Mapping[str, pa.Table], metrics: Metrics, protocol: str, speaker: str
) -> list[Drawing]:
    """DET curves under both conditions and of the open set, and histograms of clean scores."""
    drawings = []
    curves = {condition: _rates(table, metrics) for condition, table in by_condition.items()}
    if clean := curves.get("clean"):
        dashed = curves.get("cross_condition", {})
        svg = figures.det_curves(clean, dashed, f"DET curves of {protocol}")
        caption = "Speakers: DET curves." + (" Dashed: every clip degraded." if dashed else "")
        drawings.append(Drawing(svg, caption))
    if open_set := _open_set_rates(metrics, protocol):
        svg = figures.det_curves(open_set, {}, f"Open set of keywords of {protocol}")
        drawings.append(Drawing(svg, "Keywords: open set, clean clips."))
    scores = _scores(by_condition.get("clean"), speaker)
    if scores:
        svg = figures.score_histograms(scores, speaker, f"Histograms of scores on {protocol}")
        drawings.append(Drawing(svg, "Speakers: scores of clean clips."))
    return drawings


def _rates(table: pa.Table, metrics: Metrics) -> dict[str, figures.Rates]:
    stratum = main_stratum(table)
    return {
        representation_title(name, metrics.spaces): error_rates(*stratum_scores(table, name, stratum))
        for name in representations(table)
    }


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


def _scores(clean: pa.Table | None, speaker: str) -> dict[str, NDArray[np.float32]]:
    """Cosines of targets and of both kinds of impostor, where texts are known."""
    scores: dict[str, NDArray[np.float32]] = {}
    if clean is None or speaker not in representations(clean):
        return scores
    for stratum, words in (("different_text", "different text"), ("same_text_impostors", "same text")):
        if stratum in clean.column_names:
            targets, impostors = stratum_scores(clean, speaker, stratum)
            scores.setdefault("same speaker, different text", targets)
            scores[f"impostor, {words}"] = impostors
    return scores
