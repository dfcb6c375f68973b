"""Runs side by side: their headline figures, and paired differences on the trials that they share."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from intervox.errors import IntervoxError
from intervox.evaluation.results import METRICS
from intervox.metrics.bootstrap import compare_systems
from intervox.metrics.trials import usual_stratum
from intervox.reporting.claim import claim
from intervox.reporting.formats import render
from intervox.reporting.table import (
    NOTHING,
    Table,
    condition_title,
    in_percent,
    p_value,
    share,
    spaces_of,
    stratum_title,
)
from intervox.reporting.trials import read_trials, stratum_scores, stratum_trials, trial_path
from intervox.seeds import rng
from intervox.storage import read_json, write_bytes

REPEATS = 500
SEED = 1_234
HEADLINES = (
    ("clean", "different_text"),
    ("clean", "same_text_impostors"),
    ("cross_condition", "different_text"),
    ("clean", "all"),
)
"""Condition and stratum of the error rates that are compared; ``all`` only where texts are not known."""


def compare(runs: Sequence[Path], repeats: int = REPEATS, seed: int = SEED) -> dict[str, Any]:
    """Put the headline figures of runs side by side, and test each run against the first.

    Parameters
    ----------
    runs
        Folders with ``metrics.json`` and, for the differences, ``trials/``.
    repeats, seed
        Of the bootstrap over speakers.

    Returns
    -------
    dict
        ``runs``: of each ``name``, ``recipe``, ``seed``, ``backbone`` and its ``claim``.
        ``figures``: a list of ``protocol``, ``figure`` and ``values``, one a run: ``value`` and
        ``interval``, or None. ``differences``: a list of ``run``, ``protocol``, ``figure``,
        ``difference`` (EER of the run less EER of the first, negative is better), ``interval``,
        ``p``, and ``note``, which says why the last two are None where they are.

    Raises
    ------
    IntervoxError
        Fewer than two runs, or one without readable metrics.
    """
    if len(runs) < 2:
        raise IntervoxError("there is nothing to compare: name two runs or more")
    metrics = [read_json(run / METRICS, "protocols", "verification") for run in runs]
    return {
        "runs": [
            {
                "name": str(run),
                "recipe": found.get("recipe"),
                "seed": found.get("seed"),
                "backbone": (found.get("backbone") or {}).get("name"),
                "claim": claim(found).headline,
            }
            for run, found in zip(runs, metrics, strict=True)
        ],
        "figures": _figures(metrics),
        "differences": [
            difference
            for run, found in zip(runs[1:], metrics[1:], strict=True)
            for difference in _differences((runs[0], metrics[0]), (run, found), repeats, seed)
        ],
    }


def comparison_tables(found: dict[str, Any]) -> list[Table]:
    """Build the tables from what ``compare`` returned."""
    names = [run["name"] for run in found["runs"]]
    figures = [
        [row["protocol"], row["figure"], *(_value(value, row["figure"]) for value in row["values"])]
        for row in found["figures"]
    ]
    differences = [
        [
            row["protocol"],
            row["figure"],
            row["run"],
            in_percent(row["difference"], row["interval"]),
            p_value(row["p"]),
            row["note"] or NOTHING,
        ]
        for row in found["differences"]
    ]
    tables = [
        Table(
            "Runs: side by side",
            "EER in %, lower is better except from the content subspace; accuracies between 0 and 1; in "
            "brackets the 95 % interval.",
            ["protocol", "figure", *names],
            figures,
        ),
        Table(
            f"Differences: from {names[0]}",
            f"EER of the run less that of {names[0]} in points, negative is better; interval and p by a "
            "bootstrap over speakers on the trials of both.",
            ["protocol", "figure", "run", "difference", "p", "note"],
            differences,
            3,
        ),
    ]
    return [table for table in tables if table.rows]


def write_comparison(path: Path, found: dict[str, Any]) -> None:
    """Write what ``compare`` returned as a page that looks like the report."""
    page = render("compare.html.jinja", runs=found["runs"], tables=comparison_tables(found))
    write_bytes(path, page.encode())


def _figures(metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Headline figures of every protocol that any run has, in the order of the first that has it."""
    protocols = dict.fromkeys(protocol for found in metrics for protocol in found["protocols"])
    rows = []
    for protocol in protocols:
        by_run = [dict(_headline(found, protocol)) for found in metrics]
        for figure in dict.fromkeys(name for figures in by_run for name in figures):
            values = [figures.get(figure) for figures in by_run]
            rows.append({"protocol": protocol, "figure": figure, "values": values})
    return rows


def _headline(metrics: dict[str, Any], protocol: str) -> Iterator[tuple[str, dict[str, Any]]]:
    verification = metrics["verification"].get(protocol, {})
    speakers = spaces_of(metrics, "speaker")[:1]
    for space in speakers:
        for condition, stratum in _measured(verification.get(space, {})):
            result = verification[space][condition][stratum]
            yield _title(condition, stratum), _of(result["eer"], result.get("eer_interval"))
    for space in spaces_of(metrics, "content")[:1]:
        strata = verification.get(space, {}).get("clean", {})
        result = strata.get(usual_stratum(strata))
        if result and space not in speakers:
            yield "EER of the speaker from content", _of(result["eer"], result.get("eer_interval"))
        keywords = metrics.get("keywords", {}).get(protocol, {}).get(space, {})
        for condition, results in keywords.items():
            if shot := results.get("shot_1"):
                title = f"one-shot keywords, {condition_title(condition)}"
                yield title, _of(shot["accuracy"], shot.get("interval"))
    for space in speakers:
        keywords = metrics.get("keywords", {}).get(protocol, {}).get(space, {}).get("clean", {})
        if keywords.get("probe") is not None:
            title = "keyword probe from the speaker"
            yield title, _of(keywords["probe"], keywords.get("probe_interval"))


def _differences(
    first: tuple[Path, dict[str, Any]], other: tuple[Path, dict[str, Any]], repeats: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Paired differences of the first speaker space of each run."""
    names = [next(iter(spaces_of(metrics, "speaker")), "") for _, metrics in (first, other)]
    strata = [metrics["verification"] for _, metrics in (first, other)]
    for protocol in (name for name in strata[0] if name in strata[1]):
        of_both = [found[protocol].get(name, {}) for found, name in zip(strata, names, strict=True)]
        shared = set(_measured(of_both[1]))
        for condition, stratum in (key for key in _measured(of_both[0]) if key in shared):
            before, after = (found[condition][stratum]["eer"] for found in of_both)
            row = {"run": str(other[0]), "protocol": protocol, "figure": _title(condition, stratum)}
            row |= {"difference": round(after - before, 5), "interval": None, "p": None, "note": ""}
            tables = [_trials(run, protocol, condition) for run, _ in (other, first)]
            if tables[0] is None or tables[1] is None:
                yield row | {"note": "no trial files"}
            elif not _same_trials(tables[0], tables[1], stratum):
                yield row | {"note": "the trials differ"}
            else:
                trials, speakers = stratum_trials(tables[0], stratum)
                scores = [
                    stratum_scores(table, name, stratum)
                    for table, name in zip(tables, reversed(names), strict=True)
                ]
                random = rng(seed, "bootstrap")
                yield row | asdict(compare_systems(scores[0], scores[1], trials, speakers, repeats, random))


def _measured(conditions: dict[str, Any]) -> list[tuple[str, str]]:
    there = [(c, s) for c, s in HEADLINES if s in conditions.get(c, {})]
    return [(c, s) for c, s in there if s != "all" or (c, "different_text") not in there]


def _trials(run: Path, protocol: str, condition: str) -> pa.Table | None:
    return read_trials(run, protocol, condition) if trial_path(run, protocol, condition).exists() else None


def _same_trials(one: pa.Table, other: pa.Table, stratum: str) -> bool:
    """Whether two runs compared the same recordings in a stratum, in the same order."""
    return all(
        len(a) == len(b) and bool(np.array_equal(a.to_numpy(), b.to_numpy()))
        for a, b in (
            (one.filter(one[stratum])[column], other.filter(other[stratum])[column])
            for column in ("enrol", "test", "target")
        )
    )


def _of(value: float, interval: list[float] | None) -> dict[str, Any]:
    return {"value": value, "interval": interval}


def _title(condition: str, stratum: str) -> str:
    return f"EER, {condition_title(condition)}, {stratum_title(stratum)}"


def _value(value: dict[str, Any] | None, figure: str) -> str:
    if value is None:
        return NOTHING
    return (in_percent if figure.startswith("EER") else share)(value["value"], value["interval"])
