"""Which tables a run has: the same numbers on the terminal, in Markdown, LaTeX, CSV and the report."""

from collections.abc import Callable
from typing import Any

from intervox.metrics.trials import usual_stratum
from intervox.reporting.separation_tables import (
    abx_table,
    blocks_table,
    geometry_table,
    matrix_table,
    rejection_table,
    separation_table,
)
from intervox.reporting.verification_tables import (
    calibration_table,
    gaps_table,
    layers_table,
    scoring_table,
    severity_table,
    strata_table,
    verification_table,
)
from intervox.reporting.wording import (
    accuracy,
    baseline_title,
    condition_title,
    error_rate,
    in_percent,
    number,
    p_value,
    percent,
    representation_title,
    share,
    spaces_of,
    systems,
)
from intervox.tables import NOTHING, Table


def keywords_table(metrics: dict[str, Any]) -> Table:
    """Accuracy of the content subspaces, of what they have to beat, and of the speaker subspaces."""
    rows = []
    for protocol, found in metrics.get("keywords", {}).items():
        plain = [name for name in metrics["baselines"] if name == "lda"]
        compared = list(systems(metrics, "keywords", protocol, "content", plain))
        contents = spaces_of(metrics, "content")
        others = [s for s in spaces_of(metrics, "speaker") if s in found and s not in contents]
        for title, result in [*compared, *((f"{space} subspace", found[space]) for space in others)]:
            clean, cross = result["clean"], result.get("cross_condition", {})
            cells = [share(clean.get("probe"), clean.get("probe_interval"))]
            cells += [accuracy(clean.get(shots)) for shots in ("shot_1", "shot_5", "shot_10")]
            rows.append([protocol, title, *cells, accuracy(cross.get("shot_1"))])
    return Table(
        "Keywords of unseen speakers: accuracy",
        "Higher is better, except for the speaker subspace, which should know no words. Raw layers "
        "are the best at one shot for clean / cross-condition clips, chosen on the test itself; in "
        "brackets the 95 % interval.",
        [
            "protocol",
            "representation",
            "linear probe",
            "one-shot",
            "five-shot",
            "ten-shot",
            "one-shot, cross-condition",
        ],
        rows,
    ).without_empty_columns()


def open_set_table(metrics: dict[str, Any]) -> Table:
    """Known words told from words that were never enrolled."""
    rows = []
    for protocol, spaces in metrics.get("keywords", {}).items():
        for space in metrics["spaces"]:
            for condition, result in spaces.get(space, {}).items():
                if found := result.get("open_set"):
                    rejects = found["false_reject_at_false_accept"]
                    cells = [percent(rejects.get(rate)) for rate in ("0.01", "0.05", "0.10")]
                    names = [protocol, space, condition_title(condition)]
                    counts = [f"{found['known']} / {found['unknown']}", str(found["shots"])]
                    rows.append([*names, error_rate(found), *cells, *counts])
    return Table(
        "Open set: known words against unknown ones",
        "EER in %, by chance n/(n + 1) with n known words, as a word has to be named rightly too; false "
        "rejects in % where 1, 5 and 10 % of the unknown words are accepted.",
        [
            "protocol",
            "space",
            "condition",
            "EER %",
            "rejects at 1 %",
            "at 5 %",
            "at 10 %",
            "words known / unknown",
            "examples",
        ],
        rows,
        3,
    ).without_empty_columns()


def running_table(metrics: dict[str, Any]) -> Table:
    """Keywords spotted in running speech."""
    rows = []
    for protocol, spaces in metrics.get("running", {}).items():
        for space, found in spaces.items():
            bounds = found.get("miss_interval", {})
            missed = [in_percent(found["miss_at"].get(rate), bounds.get(rate)) for rate in ("10", "60")]
            name = f"{space}.{found['layer']}" if "layer" in found else space
            title = representation_title(name, metrics["spaces"])
            amount = [str(len(found["keywords"])), f"{found['events']:,}"]
            precision = share(found.get("average_precision"), found.get("interval"))
            rows.append([protocol, title, precision, *missed, *amount, number(found.get("hours"), 2)])
    return Table(
        "Running speech: keywords found in it",
        "Average precision and misses in % at 10 and at 60 false alarms an hour, with 95 % intervals; the "
        "raw layer is the best, chosen on the test itself.",
        [
            "protocol",
            "representation",
            "average precision",
            "misses at 10/h",
            "misses at 60/h",
            "keywords",
            "occurrences",
            "hours",
        ],
        rows,
    )


def one_shot(metrics: dict[str, Any], by_space: dict[str, Any]) -> str:
    """Write the clean one-shot accuracy of the first content space in ``by_space``, if it has one."""
    found = [by_space[space] for space in spaces_of(metrics, "content") if space in by_space]
    return accuracy(found[0]["clean"].get("shot_1")) if found else NOTHING


def headline_tables(metrics: dict[str, Any]) -> list[Table]:
    """Build the few tables of a README or a model card."""
    return [
        table
        for table in (verification_table(metrics), keywords_table(metrics), separation_table(metrics))
        if table.rows
    ]


def metric_tables(metrics: dict[str, Any]) -> list[Table]:
    """Build every table from the content of ``metrics.json``."""
    return [table for tables in table_sections(metrics).values() for table in tables]


def table_sections(metrics: dict[str, Any]) -> dict[str, list[Table]]:
    """Build every table, by section of the report; tables and sections without rows are left out."""
    sections = {
        section: [table for build in builders if (table := build(metrics)).rows]
        for section, builders in _SECTIONS.items()
    }
    return {section: tables for section, tables in sections.items() if tables}


def protocols_table(metrics: dict[str, Any]) -> Table:
    """Who was tested: speakers, clips, languages, and the licence of the recordings."""
    rows = []
    for protocol, about in metrics["protocols"].items():
        counts = [f"{about[name]:,}" for name in ("speakers", "clips", "contents")]
        failed = str(about["failed"]) if about.get("failed") else NOTHING
        words = [", ".join(filter(None, about.get("languages", ()))), about.get("licence")]
        rows.append(
            [protocol, *(word or NOTHING for word in words), *counts, number(about.get("hours"), 2), failed]
        )
    return Table(
        "Evaluation sets: who was tested",
        "People, except in the synthetic set; hours are of the clips, unreadable ones are left out.",
        ["protocol", "languages", "licence", "speakers", "clips", "contents", "hours", "unreadable"],
        rows,
        3,
    ).without_empty_columns()


def baselines_table(metrics: dict[str, Any]) -> Table:
    """Everything that is compared at equal dimension, with the paired difference from ours."""
    rows = []
    speakers = spaces_of(metrics, "speaker")[:1]
    for protocol, found in metrics["verification"].items():
        for space in speakers:
            if space in found and metrics["baselines"]:
                ours = [_different_text(found[space], c) for c in ("clean", "cross_condition")]
                keywords = one_shot(metrics, metrics.get("keywords", {}).get(protocol, {}))
                rows.append([protocol, f"{space} subspace", *ours, *[NOTHING] * 4, keywords])
        for name, baseline in metrics["baselines"].items():
            by_space = baseline.get("verification", {}).get(protocol, {})
            result: dict[str, Any] = next((by_space[space] for space in speakers if space in by_space), {})
            against = baseline.get("against", {}).get(protocol) or {}
            cells = [_different_text(result, c) for c in ("clean", "cross_condition")]
            for difference in (against, against.get("cross_condition") or {}):
                cells.append(in_percent(difference.get("difference"), difference.get("interval")))
                cells.append(p_value(difference.get("p")))
            cells.append(one_shot(metrics, baseline.get("keywords", {}).get(protocol, {})))
            if any(cell != NOTHING for cell in cells):
                rows.append([protocol, baseline_title(name), *cells])
    about = [
        f"{baseline_title(name)}: {of['about']}"
        for name, of in metrics["baselines"].items()
        if of.get("about")
    ]
    return Table(
        "Baselines: at equal dimension",
        "EER in % of different-text trials; a difference is the baseline's EER less ours in points, "
        "with the interval and p of a bootstrap that draws the same speakers for both."
        + (f" {'; '.join(about)}." if about else ""),
        [
            "protocol",
            "representation",
            "EER, clean",
            "EER, cross-condition",
            "difference, clean",
            "p, clean",
            "difference, cross-condition",
            "p, cross-condition",
            "one-shot keywords",
        ],
        rows,
    ).without_empty_columns()


def _different_text(result: dict[str, Any], condition: str) -> str:
    strata = result.get(condition, {})
    return error_rate(strata.get(usual_stratum(strata)))


_SECTIONS: dict[str, tuple[Callable[[dict[str, Any]], Table], ...]] = {
    "tested": (protocols_table,),
    "verification": (verification_table, strata_table, gaps_table, scoring_table, layers_table),
    "keywords": (keywords_table, open_set_table, running_table),
    "separation": (
        separation_table,
        matrix_table,
        rejection_table,
        geometry_table,
        abx_table,
        blocks_table,
    ),
    "baselines": (baselines_table,),
    "severity": (severity_table,),
    "calibration": (calibration_table,),
}
