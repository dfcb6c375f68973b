"""The shape of ``metrics.json``: own spaces, raw layers and baselines, each in its place."""

from collections.abc import Mapping, Sequence
from typing import Any

from intervox.evaluation.representations import Representation
from intervox.evaluation.results import RAW
from intervox.evaluation.test_sets import CLEAN
from intervox.metrics.trials import usual_stratum

KINDS = ("verification", "gaps", "severity", "calibration", "keywords", "running")

Result = dict[str, Any]


def arrange(
    results: Mapping[str, Mapping[str, Result]],
    representations: Sequence[Representation],
    spaces: Mapping[str, str],
    about: Mapping[str, str],
) -> Result:
    """Arrange what was measured as ``metrics.json`` has it; see ``docs/formats.md``.

    Parameters
    ----------
    results
        Name of a representation to test set to kind to what was found.
    spaces
        Own space to its factor.
    about
        Baseline or peer to one clause that says what it is.
    """
    metrics: Result = {kind: {} for kind in (*KINDS, "scoring", "baselines")}
    metrics["spaces"] = dict(spaces)
    for representation in representations:
        for name, result in results[representation.name].items():
            system, space = representation.system, representation.space
            for kind, value in result.items():
                if kind == "scoring":
                    metrics[kind].setdefault(name, {})[space] = value
                elif kind == "against":
                    _baseline(metrics, about, system).setdefault(kind, {})[name] = value
                elif not system:
                    metrics[kind].setdefault(name, {})[space] = value
                elif system != RAW:
                    into = _baseline(metrics, about, system).setdefault(kind, {})
                    into.setdefault(name, {})[space] = value
    raw = {name.split(".")[1]: found for name, found in results.items() if name.startswith(f"{RAW}.")}
    for name in next(iter(raw.values()), ()):
        here = {space: found[name] for space, found in raw.items()}
        for kind in ("verification", "keywords", "running"):
            if kind in here["mean"]:
                metrics[kind].setdefault(name, {})[RAW] = _raw(here, kind)
    return {kind: value for kind, value in metrics.items() if value or kind in ("verification", "baselines")}


def _baseline(metrics: Result, about: Mapping[str, str], system: str) -> Result:
    found: Result = metrics["baselines"].setdefault(system, {"about": about.get(system, "")})
    return found


def _raw(by_space: Mapping[str, Result], kind: str) -> Result:
    """Report the mean over layers, every layer, and the best one, chosen on the test set itself."""
    layers = {space: found[kind] for space, found in by_space.items() if space != "mean"}
    if kind == "running":
        best = max(layers, key=lambda layer: float(layers[layer]["average_precision"]))
        return {"layer": best, **layers[best]}
    best_layer = {}
    for condition in by_space["mean"][kind]:
        if kind == "verification":
            stratum = usual_stratum(layers["0"][condition])
            best_layer[condition] = min(layers, key=lambda layer: layers[layer][condition][stratum]["eer"])
        else:
            best_layer[condition] = max(layers, key=lambda layer: _keyword_score(layers[layer], condition))
    return {"mean": by_space["mean"][kind], "best_layer": best_layer, "layers": layers}


def _keyword_score(keywords: Result, condition: str) -> float:
    """One-shot accuracy, or the clean probe's where no speaker has enough examples."""
    shots = keywords[condition]["shot_1"]
    return float(shots["accuracy"] if shots else keywords[CLEAN]["probe"])


def headline(metrics: Result, name: str, spaces: Mapping[str, str]) -> Result:
    """Say in single figures what each subspace holds of the other's factor."""
    result: Result = {}
    for space, factor in spaces.items():
        strata = metrics["verification"][name][space][CLEAN]
        if factor == "content" and "different_text" in strata:
            result.setdefault("speaker_eer_from", {})[space] = strata["different_text"]["eer"]
        other_text = strata.get("different_text", {"eer": 0})["eer"]
        if factor == "speaker" and "same_text_impostors" in strata and other_text:
            ratio = strata["same_text_impostors"]["eer"] / other_text
            result.setdefault("same_text_cost_of", {})[space] = round(ratio, 3)
        if factor == "speaker" and name in metrics.get("keywords", {}):
            keywords = metrics["keywords"][name][space][CLEAN]
            result.setdefault("keyword_probe_from", {})[space] = keywords["probe"]
            result["keyword_chance"] = keywords["chance"]
    return result
